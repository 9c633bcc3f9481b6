"""The request bodies that a stub sends: each on an HTTP/2 stream of its own, behind its REQUEST on the lane."""

from collections import deque
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from tunnel.core import limits
from tunnel.core.errors import LocalMisuse, PeerViolation
from tunnel.core.identifiers import RequestId
from tunnel.core.session.events import BodyRefused, BodyWanted, StubEvent
from tunnel.core.session.http2 import ErrorCodes, TunnelConnection
from tunnel.core.session.lane import Lane

_POST: Final = [(b":method", b"POST"), (b":scheme", b"https"), (b":authority", b"agent")]


def stream_head(path: bytes) -> list[tuple[bytes, bytes]]:
    """Return the fields that open a stream of the session."""
    return [*_POST, (b":path", path)]


class _Fate(Enum):
    SENDING = auto()
    ENDED = auto()
    BROKEN = auto()


@dataclass(slots=True)
class _Body:
    request: RequestId
    behind: int  # of the lane's bytes: its REQUEST must have left before its stream opens
    stream: int = 0  # 0 while it waits for that
    fate: _Fate = _Fate.SENDING


class OutgoingBodies:
    """The bodies under way in one session.

    Args:
        connection: the session's HTTP/2 connection.
        lane: carries the REQUESTs that announce them.
    """

    __slots__ = ("_bodies", "_connection", "_lane", "_short", "_streams", "_unopened")

    def __init__(self, connection: TunnelConnection, lane: Lane) -> None:
        self._connection = connection
        self._lane = lane
        self._bodies: dict[RequestId, _Body] = {}
        self._streams: dict[int, _Body] = {}
        self._unopened: deque[_Body] = deque()
        self._short = False  # whether a body was told less room because of the connection's own window

    @property
    def left(self) -> int:
        """How many more bodies the session takes now."""
        connection = self._connection
        left = connection.streams_allowed - len(connection.streams)
        never_used = (connection.HIGHEST_ALLOWED_STREAM_ID - connection.highest_outbound_stream_id) // 2
        # Asked for each request; min and max would cost more than all the rest.
        if left > never_used:
            left = never_used
        left -= len(self._unopened)
        return left if left > 0 else 0

    def open(self, request: RequestId) -> None:
        """Open the stream of a body whose REQUEST is on the lane, or as soon as the lane's window has let that out."""
        body = _Body(request, self._lane.sent_bytes + self._lane.waiting_bytes)
        self._bodies[request] = body
        self._unopened.append(body)
        self.open_waiting()

    def open_waiting(self) -> list[StubEvent]:
        """Open the streams whose REQUEST has left; return that their bodies are wanted."""
        events: list[StubEvent] = []
        if self._unopened:
            self._lane.flush()
        while self._unopened and self._lane.sent_bytes >= self._unopened[0].behind:
            body = self._unopened.popleft()
            self._open_stream(body)
            if body.fate is _Fate.SENDING:
                events.append(BodyWanted(body.request))
        return events

    def _open_stream(self, body: _Body) -> None:
        connection = self._connection
        if connection.open_outbound_streams >= connection.remote_settings.max_concurrent_streams:
            raise PeerViolation("the agent allows fewer streams than it did when the body was announced")
        body.stream = connection.get_next_available_stream_id()
        head = stream_head(b"/body/%d" % body.request)
        connection.send_headers(body.stream, head, end_stream=body.fate is _Fate.ENDED)
        self._streams[body.stream] = body
        if body.fate is _Fate.BROKEN:
            self._break(body, ErrorCodes.CANCEL)

    def room(self, request: RequestId) -> int:
        """How many bytes of this body the agent's window takes now; 0 where there is no such body."""
        body = self._bodies.get(request)
        if body is None or body.fate is not _Fate.SENDING:
            return 0
        if self._connection.outbound_flow_control_window < limits.STREAM_WINDOW_MAX_BYTES:
            self._short = True
        return self._connection.room(body.stream)

    def send(self, request: RequestId, data: bytes | memoryview) -> None:
        """Queue part of a body. Raises LocalMisuse where it has no room."""
        if len(data) > self.room(request):
            raise LocalMisuse(f"{len(data)} body bytes for request {request} have no room")
        largest = self._connection.largest_data
        for start in range(0, len(data), largest):
            self._connection.put_data(self._bodies[request].stream, data[start : start + largest])

    def end(self, request: RequestId) -> None:
        """Say that a body is whole. It is forgotten when the agent has said that it knows."""
        body = self._bodies.get(request)
        if body is None or body.fate is not _Fate.SENDING:
            return
        body.fate = _Fate.ENDED
        if self._connection.is_open(body.stream):
            self._connection.end_stream(body.stream)

    def break_off(self, request: RequestId) -> None:
        """Break a body off; one whose stream is not open yet is broken when it opens, so that the agent hears of it."""
        body = self._bodies.get(request)
        if body is None:
            return
        body.fate = _Fate.BROKEN
        if body.stream:
            self._break(body, ErrorCodes.CANCEL)

    def take_window(self, stream: int) -> list[StubEvent]:
        """The agent gave credit to a stream, or (0) to the connection."""
        body = self._streams.get(stream)
        if body is not None and body.fate is _Fate.SENDING:
            return [BodyWanted(body.request)]
        if stream or not self._short:
            # One credit for the connection may wake 10 000 bodies, so it does only where that window had held one back.
            return []
        return self.all_wanted()

    def all_wanted(self) -> list[StubEvent]:
        """Every body may have more room than before."""
        self._short = False
        return [BodyWanted(body.request) for body in self._streams.values() if body.fate is _Fate.SENDING]

    def take_end(self, stream: int) -> list[StubEvent]:
        """The agent reset a stream or ended its side of it."""
        body = self._streams.get(stream)
        if body is None:
            self._connection.forget(stream)
            return []
        if body.fate is _Fate.SENDING:
            # Also where it ended its side politely: who answers before the body is whole wants no more of it.
            body.fate = _Fate.BROKEN
            self._break(body, ErrorCodes.NO_ERROR)
            return [BodyRefused(body.request)]
        self._forget_closed(body)
        return []

    def _break(self, body: _Body, code: ErrorCodes) -> None:
        self._connection.break_stream(body.stream, code)
        self._forget_closed(body)

    def _forget_closed(self, body: _Body) -> None:
        self._connection.forget(body.stream)
        if not self._connection.is_open(body.stream):
            self._streams.pop(body.stream, None)
            self._bodies.pop(body.request, None)
