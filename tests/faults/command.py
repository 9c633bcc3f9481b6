"""`cluster-tunnel` as it is, with two things beside it that only faults need: a look at what it holds, and clocks that are wrong.

    FAULTS_STOCK=FILE FAULTS_WALL_CLOCK=SECONDS python -m tests.faults.command stub ...

SIGUSR2 writes into FILE which tasks there are, and how many blocks of memory Python's objects take. The election's wall clock is ahead by SECONDS (behind, where
negative); SIGUSR1 lets its other clock jump by `ASLEEP_SECONDS`, as it does when the machine was suspended.
"""

import asyncio
import ctypes
import gc
import json
import os
import signal
import sys
import time
from collections import Counter
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from types import FrameType
from typing import Final

from tunnel.cli.main import main

ASLEEP_SECONDS: Final = 60.0


class WrongDate(datetime):
    """A wall clock that is ahead."""

    ahead = timedelta()

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> "WrongDate":
        ahead: WrongDate = super().now(tz) + cls.ahead
        return ahead


class SleepyClock:
    """In place of the module `time`: its clock can jump."""

    asleep_seconds = 0.0

    def clock_gettime(self, clock: int) -> float:
        """Return the seconds on a clock."""
        return time.clock_gettime(clock) + self.asleep_seconds


def take_stock(path: Path) -> None:
    """Write what there is. Where a file `.thorough` stands beside it, garbage is collected before, and libc gives back what is free.

    Tasks are counted by their names without the numbers within them, as of connections. Blocks are those of Python's own allocator:
    unlike resident memory they are fewer again when objects are gone.
    """
    thorough = path.with_suffix(".thorough")
    if thorough.exists():
        gc.collect()
        # glibc keeps what a peak took, in case that there is another one; other libraries have no such function.
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
        thorough.unlink()
    try:
        tasks = asyncio.all_tasks()
    except RuntimeError:
        return  # no loop runs yet, or any more
    names = (task.get_name() for task in tasks)
    counted = Counter("".join(c for c in name if not c.isdigit()) for name in names)
    part = path.with_suffix(".part")
    part.write_text(json.dumps({"tasks": counted, "blocks": sys.getallocatedblocks()}))
    part.rename(path)


def install_clocks(ahead_seconds: float) -> None:
    """Give the election clocks that can be wrong."""
    from stub.election import loop

    WrongDate.ahead = timedelta(seconds=ahead_seconds)
    clock = SleepyClock()
    # Fails where these names are not there any more, instead of testing nothing.
    assert loop.datetime is datetime  # type: ignore[attr-defined]
    assert loop.time is time  # type: ignore[attr-defined]
    loop.datetime = WrongDate  # type: ignore[attr-defined]
    loop.time = clock  # type: ignore[attr-defined, assignment]

    def sleep(number: int, frame: FrameType | None) -> None:
        clock.asleep_seconds += ASLEEP_SECONDS

    signal.signal(signal.SIGUSR1, sleep)


if __name__ == "__main__":
    if "FAULTS_STOCK" in os.environ:
        signal.signal(signal.SIGUSR2, lambda *_: take_stock(Path(os.environ["FAULTS_STOCK"])))
    if "FAULTS_WALL_CLOCK" in os.environ:
        install_clocks(float(os.environ["FAULTS_WALL_CLOCK"]))
    sys.exit(main())
