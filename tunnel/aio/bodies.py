"""Sends the bodies of many uploads over one session, fairly, and never much ahead of the kernel.

A request's frame must not wait behind bodies, so bodies are handed to the session only while little waits in front of
them (`limits.WRITE_HIGH_BYTES`); among the bodies each gets one piece in turn.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from tunnel.aio.session import SessionRunner
from tunnel.core import limits
from tunnel.core.identifiers import RequestId
from tunnel.core.session.events import StubEvent
from tunnel.core.session.stub_side import StubSession


class UploadBody:
    """One request's body on its way into a session.

    Args:
        uploads: the session's scheduler.
        request: whose body it is.
        on_room: called when the source may go on after `write` returned False.
    """

    __slots__ = ("_on_room", "_uploads", "ended", "pieces", "request", "source_paused", "waiting_bytes")

    def __init__(self, uploads: "Uploads", request: RequestId, on_room: Callable[[], None]) -> None:
        self._uploads = uploads
        self._on_room = on_room
        self.request = request
        self.pieces: deque[bytes] = deque()
        self.waiting_bytes = 0
        self.ended = False
        self.source_paused = False

    def write(self, data: bytes) -> bool:
        """Queue a piece; False asks the source to stop until `on_room`."""
        self.pieces.append(data)
        self.waiting_bytes += len(data)
        self._uploads.ready(self)
        self.source_paused = self.waiting_bytes >= limits.WRITE_HIGH_BYTES
        return not self.source_paused

    def end(self) -> None:
        """The body is whole."""
        self.ended = True
        self._uploads.ready(self)

    def break_off(self) -> None:
        """The body will never be whole, or nobody wants it any more."""
        self._uploads.drop(self)

    def room(self) -> None:
        """Let the source go on if it was stopped and little waits."""
        if self.source_paused and self.waiting_bytes < limits.WRITE_HIGH_BYTES // 2:
            self.source_paused = False
            self._on_room()


class Uploads:
    """The bodies of one session.

    Args:
        core: the session's protocol state.
        runner: what writes it.
    """

    def __init__(self, core: StubSession, runner: SessionRunner[StubEvent]) -> None:
        self._core = core
        self._runner = runner
        self._bodies: dict[RequestId, UploadBody] = {}
        self._ready: deque[UploadBody] = deque()
        self._pumping = False
        self._loop = asyncio.get_running_loop()

    def open(self, request: RequestId, on_room: Callable[[], None]) -> UploadBody:
        """Begin a body whose REQUEST was just sent."""
        body = self._bodies[request] = UploadBody(self, request, on_room)
        return body

    def ready(self, body: UploadBody) -> None:
        """`body` has something to send."""
        if body.request in self._bodies and body not in self._ready:
            self._ready.append(body)
            self.pump()

    def wanted(self, request: RequestId) -> None:
        """The agent gave `request`'s body more room."""
        body = self._bodies.get(request)
        if body is not None and (body.pieces or body.ended):
            self.ready(body)

    def drop(self, body: UploadBody) -> None:
        """Break a body off."""
        if self._bodies.pop(body.request, None) is not None:
            body.pieces.clear()
            self._core.break_body(body.request)
            self._runner.flush_soon()

    def forget(self, request: RequestId) -> None:
        """The agent takes no more of this body; what still comes from the client is for the owner to throw away."""
        body = self._bodies.pop(request, None)
        if body is not None:
            body.pieces.clear()
            body.waiting_bytes = 0

    def pump(self) -> None:
        """Send pieces in turn while the session takes them."""
        if self._pumping:
            return
        self._pumping = True
        try:
            while self._ready and not self._runner.congested and not self._runner.closed:
                body = self._ready.popleft()
                if body.request in self._bodies and self._send_piece(body):
                    self._ready.append(body)
        finally:
            self._pumping = False
        if self._ready and not self._runner.write_paused and not self._runner.closed:
            # Full within one turn, of which the stream says nothing yet: it may have left by the next one.
            self._loop.call_soon(self.pump)

    def _send_piece(self, body: UploadBody) -> bool:
        """Send one piece; return whether the body has more and room for it."""
        if body.pieces:
            room = self._core.body_room(body.request)
            if room <= 0:
                return False
            piece = body.pieces.popleft()
            if len(piece) > room:
                body.pieces.appendleft(piece[room:])
                piece = piece[:room]
            body.waiting_bytes -= len(piece)
            self._core.send_body(body.request, piece)
            self._runner.flush()
            body.room()
        if body.pieces:
            return True
        if body.ended:
            del self._bodies[body.request]
            self._core.end_body(body.request)
            self._runner.flush_soon()
        return False
