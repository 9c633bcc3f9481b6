"""Waiting for whichever of several things happens first."""

import asyncio
from collections.abc import Coroutine
from typing import Any


async def first_of(*contenders: Coroutine[Any, Any, object]) -> None:
    """Return when the first of `contenders` ended; the others are cancelled and have ended too by then.

    Raises:
        Exception: what a contender raised, the earliest in their order.
    """
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(each) for each in contenders]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result
