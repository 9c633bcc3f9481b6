"""How a connection ends: what each side has said, what its owner is told, and the time a polite close may take."""

import asyncio
from collections.abc import Callable
from enum import Enum
from typing import Final

from tunnel.aio.errors import TruncatedError
from tunnel.core import limits

LINGER_SECONDS: Final = 5.0
"""A polite close whose bytes have all left waits this long for the peer's FIN. Closing a socket while the peer still sends
makes the kernel answer with a reset, which can overtake and destroy our last bytes on the peer's side."""


class Peer(Enum):
    """What the peer has said about its own sending."""

    SENDS = "sends"
    ENDED = "ended"
    TRUNCATED = "truncated"


class Ending:
    """How far a connection has ended.

    Attributes:
        peer: what the peer has said.
        peer_told: whether the owner knows of the peer's end.
        requested: whether our direction is to end, behind what was written.
        sent: whether that end is on its way.
        closing: whether nothing more is delivered.
        aborted: whether what waits is thrown away.
        error: why it broke.
    """

    __slots__ = ("aborted", "closing", "error", "peer", "peer_told", "requested", "sent")

    def __init__(self) -> None:
        self.peer = Peer.SENDS
        self.peer_told = False
        self.requested = self.sent = False
        self.closing = self.aborted = False
        self.error: Exception | None = None

    @property
    def both_ended(self) -> bool:
        """Whether each side knows the other's end, so that nothing is left but to close."""
        return self.sent and self.peer_told and not self.closing

    def fail(self, error: Exception) -> None:
        """It ends at once because of `error`, unless it had a reason before."""
        if self.error is None and not self.aborted:
            self.error = error
        self.closing = True

    def outcome(self, exc: Exception | None) -> Exception | None:
        """Return what `stream_closed` is told.

        Args:
            exc: what the transport says of the connection's end.
        """
        if self.error is not None or self.aborted:
            return self.error
        if exc is not None or self.closing or self.peer is Peer.ENDED:
            return exc
        # uvloop calls connection_lost(None) without eof_received in some cases; nobody said that this was the end.
        return TruncatedError("the connection was lost")


class CloseClock:
    """Breaks off a close that does not end: without loss where all has left, else after `limits.CLOSE_SECONDS`.

    uvloop may never finish a close whose peer keeps sending, so it is broken off in either case.

    Args:
        loop: the running loop.
        waiting: returns how many bytes have not left yet.
        break_off: called once, with the number of bytes that are lost by it.
    """

    __slots__ = ("_break_off", "_deadline", "_loop", "_timer", "_waiting")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        waiting: Callable[[], int],
        break_off: Callable[[int], None],
    ) -> None:
        self._loop = loop
        self._waiting = waiting
        self._break_off = break_off
        self._deadline = loop.time() + limits.CLOSE_SECONDS
        self._timer = loop.call_later(LINGER_SECONDS, self._tick)

    def cancel(self) -> None:
        """The close has ended by itself."""
        self._timer.cancel()

    def _tick(self) -> None:
        waiting = self._waiting()
        if waiting and self._loop.time() < self._deadline:
            self._timer = self._loop.call_later(LINGER_SECONDS, self._tick)
        else:
            self._break_off(waiting)
