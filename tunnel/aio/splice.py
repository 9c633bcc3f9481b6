"""Relays raw bytes between two connections until both have said their end.

An end on one side is passed on; the other direction then drains for a bounded time. Backpressure is TCP's own: what one
side does not take, the other is not read for. What runs inside (SPDY, WebSocket) is nobody's business here.
"""

import asyncio
from collections.abc import Callable

from tunnel.aio.stream import ByteStream
from tunnel.core import limits


class Splice:
    """Two connections joined.

    Args:
        left, right: the connections; their handlers are replaced.
        on_closed: called once, with the bytes relayed from left to right and from right to left and why it ended.
        drain_seconds: how long the other direction may go on once one side has ended.

    Attributes:
        broken: the side that was lost without an end, if one was.
    """

    def __init__(
        self,
        left: ByteStream,
        right: ByteStream,
        on_closed: Callable[[int, int, str], None],
        drain_seconds: float = limits.CLOSE_SECONDS,
    ) -> None:
        self._on_closed = on_closed
        self._drain_seconds = drain_seconds
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self.broken: SpliceEnd | None = None
        self.left = SpliceEnd(self, left)
        self.right = SpliceEnd(self, right)
        self.left.other, self.right.other = self.right, self.left
        left.set_handler(self.left)
        right.set_handler(self.right)

    def abort(self, reason: str) -> None:
        """Break both connections."""
        self.left.stream.abort()
        self.right.stream.abort()
        self.finish(reason)

    def ended(self, end: "SpliceEnd") -> None:
        """One side will send no more."""
        if end.other.has_ended:
            self.left.stream.close()
            self.right.stream.close()
            self.finish("both sides ended")
        else:
            end.other.stream.write_end()
            if self._timer is None:
                self._timer = self._loop.call_later(self._drain_seconds, self._drained)

    def lost(self, end: "SpliceEnd", error: Exception | None) -> None:
        """One side's connection is gone; the other gets what waits for it, and then the same end."""
        if error is None or end.has_ended:
            end.other.stream.close()
        else:
            # What arrived is delivered, an exit status above all; but a reset must not look like a clean end.
            self.broken = end
            end.other.stream.cut()
        self.finish(str(error) if error else "one side closed")

    def _drained(self) -> None:
        self.abort(f"one side ended and the other did not within {self._drain_seconds:g} s")

    def finish(self, reason: str) -> None:
        """Report the end, once."""
        if self._closed:
            return
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._on_closed(self.left.relayed_bytes, self.right.relayed_bytes, reason)


class SpliceEnd:
    """One of the two connections; its handler."""

    __slots__ = ("_splice", "has_ended", "other", "relayed_bytes", "stream")

    other: "SpliceEnd"

    def __init__(self, splice: Splice, stream: ByteStream) -> None:
        self._splice = splice
        self.stream = stream
        self.relayed_bytes = 0
        self.has_ended = False

    def stream_opened(self, stream: ByteStream) -> None:
        raise AssertionError("a splice is made of open connections")

    def stream_received(self, data: memoryview) -> None:
        self.relayed_bytes += len(data)
        self.other.stream.write(data)

    def stream_ended(self) -> None:
        if not self.has_ended:
            self.has_ended = True
            self._splice.ended(self)

    def stream_write_paused(self) -> None:
        self.other.stream.pause_reading()

    def stream_write_resumed(self) -> None:
        self.other.stream.resume_reading()

    def stream_closed(self, error: Exception | None) -> None:
        self._splice.lost(self, error)
