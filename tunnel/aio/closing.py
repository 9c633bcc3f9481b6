"""The time a polite close may take."""

import asyncio
from collections.abc import Callable
from typing import Final

from tunnel.core import limits

LINGER_SECONDS: Final = 5.0
"""A polite close whose bytes have all left waits this long for the peer's FIN. Closing a socket while the peer still sends
makes the kernel answer with a reset, which can overtake and destroy our last bytes on the peer's side."""


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
