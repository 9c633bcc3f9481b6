"""A session as the stub runs it: it sends requests and their bodies, and hears reports and refusals.

session = StubSession(hello, now)
write(session.output())            # preface, settings, lane, HELLO
for event in session.receive(data, now): ...
session.send_request(request); write(session.output())
"""

from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RemoteSettingsChanged,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.settings import SettingCodes

from tunnel.core.errors import LocalMisuse, PeerViolation
from tunnel.core.identifiers import RequestId
from tunnel.core.session.events import SessionClosed, StubEvent
from tunnel.core.session.http2 import LANE_STREAM, TunnelConnection
from tunnel.core.session.lane import Lane
from tunnel.core.session.liveness import Liveness
from tunnel.core.session.outgoing import OutgoingBodies, stream_head
from tunnel.core.wire.control import Active, AgentHello, Drain, Reject, Report, StubHello
from tunnel.core.wire.exchange import Cancel, Refused, Request
from tunnel.core.wire.framing import FrameType


class StubSession:
    """One session's protocol state on the stub's side.

    Args:
        hello: what the stub says of itself, with the token for the session's channels; or why it wants no session, which is all
            that is said then.
        now: the monotonic time in seconds.

    Attributes:
        unread: whether more came than one turn takes.
    """

    def __init__(self, hello: StubHello | Reject, now: float) -> None:
        self._http2 = TunnelConnection(client_side=True)
        self._http2.start()
        self._http2.send_headers(LANE_STREAM, stream_head(b"/lane"))
        self._lane = Lane(self._http2)
        self._lane.opened()
        self._lane.queue(hello.encode())
        self._bodies = OutgoingBodies(self._http2, self._lane)
        self._liveness = Liveness(now)
        self._windows_raised = False
        self.unread = False
        self.agent: AgentHello | None = None

    def receive(self, data: bytes | memoryview, now: float) -> list[StubEvent]:
        """Return what `data` says, as far as one turn goes. Where `unread` says that more came, call it again, with nothing
        or with what arrived meanwhile.

        Raises:
            PeerViolation: the agent broke the protocol; send `output()` and close.
        """
        self._liveness.heard(now)
        if self._lane.waiting_bytes:
            self._lane.flush()  # what was asked must not be overtaken by the answer to a PING behind a DRAIN
        events: list[StubEvent] = []
        if self._lane.unread:
            self._http2.hold(data, now)
            self._take_frames(events)
        else:
            for event in self._http2.receive(data, now):
                self._take(event, events)
        self.unread = self._lane.unread or self._http2.unread != b""
        events += self._bodies.open_waiting()
        if self._windows_raised:
            self._windows_raised = False
            events += self._bodies.all_wanted()
        return events

    def output(self) -> bytearray:
        """Return the bytes to write now; empty where there is nothing."""
        self._lane.flush()
        return self._http2.take_output()

    def tick(self, now: float) -> bool:
        """Do what is due at `now`; return whether the agent has to be given up."""
        if self._http2.ended or self._liveness.lost(now):
            return True
        if self._liveness.ping_is_due(now):
            self._http2.ping(b"\0" * 8)
        return False

    @property
    def next_tick(self) -> float:
        """When to call `tick`, as monotonic time."""
        return self._liveness.next_check

    def doubt(self, now: float) -> None:
        """Let `tick` send a PING at `now`, whenever the last one was."""
        self._liveness.doubt(now)

    @property
    def answering(self) -> bool:
        """Whether no PING is on its way without a sign of life behind it."""
        return self._liveness.answering

    @property
    def lane_waiting_bytes(self) -> int:
        """Frames that the agent's lane window does not take."""
        return self._lane.waiting_bytes

    @property
    def lane_sent_bytes(self) -> int:
        """Bytes of frames that `output` has given out, since the beginning."""
        return self._lane.sent_bytes

    @property
    def body_streams_left(self) -> int:
        """How many more requests with `body_stream` the session takes now."""
        return self._bodies.left

    def send_request(self, request: Request) -> None:
        """Queue a request; where its body follows on a stream, that opens behind it.

        Raises:
            LocalMisuse: `body_streams_left` is 0 and it needs one, or it is larger than a frame; nothing was sent.
        """
        if request.body_stream and not self._bodies.left:
            raise LocalMisuse(f"request {request.id} needs a stream for its body, and none is left")
        self._lane.queue(request.encode())
        if request.body_stream:
            self._bodies.open(request.id)

    def send_cancel(self, request: RequestId) -> None:
        """Say that an answer is no longer wanted."""
        self._lane.queue(Cancel(request).encode())

    def send_active(self, active: Active) -> None:
        """Say that this stub holds the lease."""
        self._lane.queue(active.encode())

    def send_drain(self, reason: str) -> None:
        """Say that no new requests will come and that the agent should look for another stub."""
        self._lane.queue(Drain(reason).encode())

    def send_reject(self, reason: str) -> None:
        """Say why this session is about to be closed."""
        self._lane.queue(Reject(reason).encode())

    def body_room(self, request: RequestId) -> int:
        """How many bytes of this body the agent's window takes now; 0 also where its stream waits behind the lane."""
        return self._bodies.room(request)

    def send_body(self, request: RequestId, data: bytes | memoryview) -> None:
        """Queue part of a body, at most `body_room` bytes.

        Raises:
            LocalMisuse: there is no such body, or `data` is longer than its window.
        """
        self._bodies.send(request, data)

    def end_body(self, request: RequestId) -> None:
        """Say that a body is whole."""
        self._bodies.end(request)

    def break_body(self, request: RequestId) -> None:
        """Break a body off; the upstream must see it cut."""
        self._bodies.break_off(request)

    def _take(self, event: Event, events: list[StubEvent]) -> None:
        match event:
            case DataReceived():
                self._take_data(event, events)
            case WindowUpdated():
                events += self._bodies.take_window(event.stream_id or 0)
            case RemoteSettingsChanged():
                change = event.changed_settings.get(SettingCodes.INITIAL_WINDOW_SIZE)
                self._windows_raised |= change is not None and change.new_value > (change.original_value or 0)
            case StreamReset() | StreamEnded():
                self._take_end(event.stream_id or 0, events)
            case ConnectionTerminated():
                events.append(SessionClosed(f"the agent ended the session (code {event.error_code})"))
            case _:
                pass

    def _take_data(self, event: DataReceived, events: list[StubEvent]) -> None:
        if event.stream_id == LANE_STREAM:
            self._lane.receive(event.data or b"", event.flow_controlled_length or 0)
            self._take_frames(events)
        elif event.data:
            # An empty one ends the stream for HTTP/2 libraries that cannot end it with the head.
            raise PeerViolation("DATA on a body's stream")

    def _take_end(self, stream: int, events: list[StubEvent]) -> None:
        if stream == LANE_STREAM:
            events.append(SessionClosed("the agent ended the lane"))
        else:
            events += self._bodies.take_end(stream)

    def _take_frames(self, events: list[StubEvent]) -> None:
        for kind, payload in self._lane.frames():
            self._take_frame(kind, payload, events)

    def _take_frame(self, kind: int, payload: bytes, events: list[StubEvent]) -> None:
        if self.agent is None and kind not in {FrameType.HELLO, FrameType.REJECT}:
            raise PeerViolation(f"frame of type {kind:#04x} before HELLO")
        match kind:
            case FrameType.HELLO if self.agent is None:
                self.agent = AgentHello.decode(payload)
                events.append(self.agent)
            case FrameType.HELLO:
                raise PeerViolation("a second HELLO")
            case FrameType.REFUSED:
                events.append(Refused.decode(payload))
            case FrameType.REPORT:
                events.append(Report.decode(self._lane.counted(payload)))
            case FrameType.DRAIN:
                events.append(Drain.decode(self._lane.counted(payload)))
            case FrameType.REJECT:
                events.append(Reject.decode(self._lane.counted(payload)))
            case _:
                # Frames of a later version are skipped, so that either end can be upgraded first.
                pass
