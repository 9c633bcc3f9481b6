"""A wait that others can shorten."""

import asyncio
import contextlib
from typing import Final

NEVER: Final = float("inf")


class Alarm:
    """Says when something is due; whoever learns a reason brings it forward."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._due = NEVER
        self._changed = asyncio.Event()

    def clear(self) -> None:
        """Nothing is due."""
        self._due = NEVER

    def within(self, seconds: float) -> None:
        """Be due in `seconds` from now, or earlier where it is so already."""
        due = self._loop.time() + seconds
        if due < self._due:
            self._due = due
            self._changed.set()

    def move(self, seconds: float) -> None:
        """Be due in `seconds` from now, earlier or later than it was; what is due already stays so."""
        now = self._loop.time()
        if self._due > now:
            self._due = now + seconds
            self._changed.set()

    async def wait(self) -> None:
        """Return when it is due; what was due stays so until `clear`. Can be cancelled at any time."""
        while self._due > self._loop.time():
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(None if self._due == NEVER else self._due):
                    await self._changed.wait()
