"""What the measuring processes share: commands from standard input, results to standard output, both lines of JSON."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

Command = Callable[..., Awaitable[Mapping[str, object]]]


def say(result: Mapping[str, object]) -> None:
    """Write a line."""
    print(json.dumps(result), flush=True)


async def obey(commands: Mapping[str, Command]) -> None:
    """Carry out one command after the other until standard input ends; `do` names it, the rest are its arguments."""
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        arguments: dict[str, Any] = json.loads(line)
        try:
            say(await commands[arguments.pop("do")](**arguments))
        except (OSError, ValueError, TimeoutError) as error:
            say({"error": f"{type(error).__name__}: {error}"})


def run(main: Awaitable[None]) -> None:
    """Run on uvloop, so that the measuring takes as little of the machine as it can."""
    import uvloop

    uvloop.run(main)  # type: ignore[arg-type]
