"""Waiting in tests: for something that happens, never for time to pass."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

SOON: Final = 10.0
"""Seconds until a test gives up; only a failing test takes as long."""

_LOOK_AGAIN: Final = 0.002

T = TypeVar("T")


async def soon(awaitable: Awaitable[T], seconds: float = SOON) -> T:
    """Await within the deadline."""
    async with asyncio.timeout(seconds):
        return await awaitable


async def until(true: Callable[[], object], seconds: float = SOON) -> None:
    """Wait until a condition of state that tells nobody of its changes holds."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(_LOOK_AGAIN)
