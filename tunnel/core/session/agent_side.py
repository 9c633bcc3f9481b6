"""A session as the agent runs it: it hears requests and their bodies, and sends reports and refusals."""

from typing import Final

from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    PingAckReceived,
    RequestReceived,
    StreamEnded,
    StreamReset,
)

from tunnel.core import limits
from tunnel.core.errors import LocalMisuse, PeerViolation
from tunnel.core.identifiers import RequestId
from tunnel.core.session.events import AgentEvent, DrainHeard, SessionClosed
from tunnel.core.session.http2 import LANE_STREAM, TunnelConnection
from tunnel.core.session.incoming import IncomingBodies
from tunnel.core.session.lane import Lane
from tunnel.core.session.liveness import Liveness
from tunnel.core.wire.control import Active, AgentHello, Drain, Reject, Report, StubHello
from tunnel.core.wire.exchange import Cancel, Refused, Request
from tunnel.core.wire.framing import FrameType

_BEHIND_DRAIN: Final = b"\0\0\0DRAIN"
"""What the PING behind a DRAIN carries."""


class AgentSession:
    """One session's protocol state on the agent's side.

    Args:
        now: the monotonic time in seconds.
        window_budget_bytes: what the windows of all bodies may grow by, in sum.

    Attributes:
        unread: whether more came than one turn takes.
    """

    def __init__(self, now: float, window_budget_bytes: int = limits.SESSION_BODY_BYTES) -> None:
        self._http2 = TunnelConnection(client_side=False)
        self._http2.start()
        self._lane = Lane(self._http2)
        self._liveness = Liveness(now)
        self._bodies = IncomingBodies(self._http2, window_budget_bytes)
        self._last_request = RequestId(0)
        self.unread = False
        self.stub: StubHello | None = None

    def receive(self, data: bytes | memoryview, now: float) -> list[AgentEvent]:
        """Return what `data` says, as far as one turn goes. Where `unread` says that more came, call it again, with nothing
        or with what arrived meanwhile.

        Raises:
            PeerViolation: the stub broke the protocol; send `output()` and close.
        """
        self._liveness.heard(now)
        events: list[AgentEvent] = []
        if self._lane.unread:
            self._http2.hold(data, now)
            self._take_frames(events)
        else:
            for event in self._http2.receive(data, now):
                self._take(event, events)
        self.unread = self._lane.unread or self._http2.unread != b""
        return events

    def output(self) -> bytearray:
        """Return the bytes to write now; empty where there is nothing."""
        self._lane.flush()
        return self._http2.take_output()

    def tick(self, now: float) -> bool:
        """Do what is due at `now`; return whether the stub has to be given up."""
        if self._http2.ended or self._liveness.lost(now):
            return True
        if self._liveness.ping_is_due(now):
            self._http2.ping(b"\0" * 8)
        return False

    @property
    def next_tick(self) -> float:
        """When to call `tick`, as monotonic time."""
        return self._liveness.next_check

    @property
    def lane_waiting_bytes(self) -> int:
        """Frames that the stub's lane window does not take, or that wait for the stub to open the lane."""
        return self._lane.waiting_bytes

    def send_hello(self, hello: AgentHello) -> None:
        """Answer the stub's HELLO."""
        if self.stub is None:
            raise LocalMisuse("HELLO before the stub's")
        self._lane.queue(hello.encode())

    def send_report(self, report: Report) -> None:
        """Tell the stub how this agent is."""
        self._lane.queue(report.encode())

    def send_refused(self, refused: Refused) -> None:
        """Answer a request with a Status that the stub writes."""
        self._lane.queue(refused.encode())

    def send_drain(self, reason: str) -> None:
        """Ask for no new requests. `DrainHeard` says when none can come any more."""
        self._lane.queue(Drain(reason).encode())
        if not self._http2.ended:
            self._lane.flush()  # the PING would overtake it
            self._http2.ping(_BEHIND_DRAIN)

    def send_reject(self, reason: str) -> None:
        """Say why this session is about to be closed."""
        self._lane.queue(Reject(reason).encode())

    def body_consumed(self, request: RequestId, amount: int) -> None:
        """Return credit for `amount` bytes that the upstream took, or that were thrown away.

        It is due for every byte of a body, also behind its BodyEnded: until then it counts as memory of this process.

        Raises:
            LocalMisuse: more was consumed than received.
        """
        self._bodies.consumed(request, amount)

    def refuse_body(self, request: RequestId) -> None:
        """Take no more of a body and count what came of it as thrown away; one whose stream is still on its way is refused
        when it comes. Does nothing where there is no such body."""
        self._bodies.refuse(request)

    def _take(self, event: Event, events: list[AgentEvent]) -> None:
        match event:
            case DataReceived():
                self._take_data(event, events)
            case RequestReceived():
                self._take_stream(event)
            case StreamEnded() | StreamReset():
                self._take_end(event, events)
            case PingAckReceived():
                if event.ping_data == _BEHIND_DRAIN:
                    events.append(DrainHeard())
            case ConnectionTerminated():
                events.append(SessionClosed(f"the stub ended the session (code {event.error_code})"))
            case _:
                pass

    def _take_stream(self, event: RequestReceived) -> None:
        """The stub opened a stream: the first is the lane, each other a body that a REQUEST announced."""
        stream = event.stream_id or 0
        if stream == LANE_STREAM:
            self._lane.opened()
            self._http2.answer(LANE_STREAM, end=False)
        else:
            self._bodies.open(stream, dict(event.headers or []).get(b":path", b""))

    def _take_data(self, event: DataReceived, events: list[AgentEvent]) -> None:
        stream, data = event.stream_id or 0, event.data or b""
        flow_controlled = event.flow_controlled_length or 0
        if stream == LANE_STREAM:
            self._lane.receive(data, flow_controlled)
            self._take_frames(events)
        elif (received := self._bodies.receive(stream, data, flow_controlled)) is not None:
            events.append(received)

    def _take_end(self, event: StreamEnded | StreamReset, events: list[AgentEvent]) -> None:
        stream = event.stream_id or 0
        if stream == LANE_STREAM:
            events.append(SessionClosed("the stub ended the lane"))
            return
        ended = isinstance(event, StreamEnded)
        what = self._bodies.end(stream) if ended else self._bodies.broken(stream)
        if what is not None:
            events.append(what)

    def _take_frames(self, events: list[AgentEvent]) -> None:
        for kind, payload in self._lane.frames():
            self._take_frame(kind, payload, events)

    def _take_frame(self, kind: int, payload: bytes, events: list[AgentEvent]) -> None:
        if self.stub is None and kind not in {FrameType.HELLO, FrameType.REJECT}:
            raise PeerViolation(f"frame of type {kind:#04x} before HELLO")
        match kind:
            case FrameType.REQUEST:
                events.append(self._take_request(payload))
            case FrameType.CANCEL:
                events.append(Cancel.decode(payload))
            case FrameType.HELLO if self.stub is None:
                self.stub = StubHello.decode(payload)
                events.append(self.stub)
            case FrameType.HELLO:
                raise PeerViolation("a second HELLO")
            case FrameType.ACTIVE:
                events.append(Active.decode(self._lane.counted(payload)))
            case FrameType.DRAIN:
                events.append(Drain.decode(self._lane.counted(payload)))
            case FrameType.REJECT:
                events.append(Reject.decode(self._lane.counted(payload)))
            case _:
                # Frames of a later version are skipped, so that either end can be upgraded first.
                pass

    def _take_request(self, payload: bytes) -> Request:
        request = Request.decode(payload)
        if request.id <= self._last_request:
            raise PeerViolation(f"request id {request.id} after {self._last_request}")
        self._last_request = request.id
        if request.body_stream:
            self._bodies.announce(request)
        return request
