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
    ResponseReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)

from tunnel.core.errors import LocalMisuse, PeerViolation
from tunnel.core.identifiers import RequestId
from tunnel.core.session.events import BodyRefused, BodyWanted, SessionClosed, StubEvent
from tunnel.core.session.http2 import LANE_STREAM, ErrorCodes, TunnelConnection
from tunnel.core.session.lane import Lane
from tunnel.core.session.liveness import Liveness
from tunnel.core.wire.control import Active, AgentHello, Drain, Reject, Report, StubHello
from tunnel.core.wire.exchange import Cancel, Refused, Request
from tunnel.core.wire.framing import FrameType

_LANE_HEADERS = [
    (b":method", b"POST"),
    (b":scheme", b"https"),
    (b":authority", b"agent"),
    (b":path", b"/lane"),
]


class StubSession:
    """One session's protocol state on the stub's side.

    Args:
        hello: what the stub says of itself, with the token for the session's channels.
        now: the monotonic time in seconds.
    """

    def __init__(self, hello: StubHello, now: float) -> None:
        self._http2 = TunnelConnection(client_side=True)
        self._http2.start()
        self._http2.send_headers(LANE_STREAM, _LANE_HEADERS)
        self._lane = Lane(self._http2)
        self._lane.opened()
        self._lane.queue(hello.encode())
        self._liveness = Liveness(now)
        self._bodies: dict[RequestId, int] = {}
        self._requests: dict[int, RequestId] = {}
        self.agent: AgentHello | None = None

    def receive(self, data: bytes | memoryview, now: float) -> list[StubEvent]:
        """Return what `data` says.

        Raises:
            PeerViolation: the agent broke the protocol; send `output()` and close.
        """
        self._liveness.heard(now)
        events: list[StubEvent] = []
        for event in self._http2.receive(data):
            self._take(event, events)
        return events

    def output(self) -> bytes:
        """Return the bytes to write now; empty where there is nothing."""
        self._lane.flush()
        data: bytes = self._http2.data_to_send()
        return data

    def tick(self, now: float) -> bool:
        """Do what is due at `now`; return whether the agent has to be given up."""
        if self._liveness.lost(now):
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
        """Frames that the agent's lane window does not take."""
        return self._lane.waiting_bytes

    def send_request(self, request: Request) -> None:
        """Queue a request; where its body follows on a stream, open that too."""
        self._lane.queue(request.encode())
        if request.body_stream:
            self._open_body(request.id)

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

    def _open_body(self, request: RequestId) -> None:
        stream = self._http2.get_next_available_stream_id()
        headers = [*_LANE_HEADERS[:3], (b":path", b"/body/%d" % request)]
        # The lane goes first: the agent must know the request before its body.
        self._lane.flush()
        self._http2.send_headers(stream, headers)
        self._bodies[request] = stream
        self._requests[stream] = request

    def body_room(self, request: RequestId) -> int:
        """How many bytes of this body the agent's window takes now."""
        stream = self._bodies.get(request)
        return 0 if stream is None else self._http2.local_flow_control_window(stream)

    def send_body(self, request: RequestId, data: bytes | memoryview) -> None:
        """Queue part of a body, at most `body_room` bytes.

        Raises:
            LocalMisuse: there is no such body, or `data` is longer than its window.
        """
        stream = self._bodies.get(request)
        if stream is None or len(data) > self._http2.local_flow_control_window(stream):
            raise LocalMisuse(f"{len(data)} body bytes for request {request} have no room")
        largest = self._http2.max_outbound_frame_size
        for start in range(0, len(data), largest):
            self._http2.send_data(stream, data[start : start + largest])

    def end_body(self, request: RequestId) -> None:
        """Say that a body is whole."""
        stream = self._bodies.get(request)
        if stream is not None:
            self._http2.end_stream(stream)
            self._close(stream)

    def break_body(self, request: RequestId) -> None:
        """Break a body off; the upstream must see it cut."""
        stream = self._bodies.get(request)
        if stream is not None:
            self._http2.reset_stream(stream, ErrorCodes.CANCEL)
            self._close(stream)

    def _close(self, stream: int) -> None:
        """Forget a body whose stream is closed in both directions."""
        self._http2.forget(stream)
        if stream not in self._http2.streams:
            request = self._requests.pop(stream, None)
            if request is not None:
                del self._bodies[request]

    def _take(self, event: Event, events: list[StubEvent]) -> None:
        match event:
            case DataReceived():
                self._take_data(event, events)
            case WindowUpdated():
                self._take_window(event.stream_id or 0, events)
            case RemoteSettingsChanged():
                events.extend(BodyWanted(request) for request in self._bodies)
            case StreamReset() | StreamEnded():
                self._take_end(event, events)
            case ConnectionTerminated():
                events.append(SessionClosed(f"the agent ended the session (code {event.error_code})"))
            case ResponseReceived() | _:
                pass

    def _take_data(self, event: DataReceived, events: list[StubEvent]) -> None:
        if event.stream_id != LANE_STREAM:
            raise PeerViolation("DATA on a body's stream")
        for kind, payload in self._lane.receive(event.data or b""):
            self._take_frame(kind, payload, events)

    def _take_window(self, stream: int, events: list[StubEvent]) -> None:
        if stream == 0:
            events.extend(BodyWanted(request) for request in self._bodies)
        elif stream in self._requests:
            events.append(BodyWanted(self._requests[stream]))

    def _take_end(self, event: StreamReset | StreamEnded, events: list[StubEvent]) -> None:
        stream = event.stream_id or 0
        if stream == LANE_STREAM:
            events.append(SessionClosed("the agent ended the lane"))
            return
        request = self._requests.get(stream)
        if request is not None and isinstance(event, StreamReset):
            events.append(BodyRefused(request))
        self._close(stream)

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
                events.append(Report.decode(payload))
            case FrameType.DRAIN:
                events.append(Drain.decode(payload))
            case FrameType.REJECT:
                events.append(Reject.decode(payload))
            case _:
                # Frames of a later version are skipped, so that either end can be upgraded first.
                pass
