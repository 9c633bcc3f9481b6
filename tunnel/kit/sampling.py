"""A sampling profiler: on which call stacks a process spends its CPU time, for little enough to run in production.

A timer of the kernel that counts the process's CPU time interrupts it by SIGPROF, and Python calls the handler at its next
instruction. A thread that looks at the others would not do: it gets the interpreter's lock only where they give it away, at
system calls and between the loop's callbacks. Of a function that took three quarters of the time on uvloop such a thread saw
nothing in 471 looks; by signal it had 75 % of 595.

Each look charges a thread's stack with the CPU time that this thread has used since the look before, so that threads which
only wait do not count, and what is lost of a timer's tick does not matter. Time in C belongs to the Python function that called.
"""

import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Final

from tunnel.kit.failures import CommandFailed

DEFAULT_HERTZ: Final = 100
MAX_HERTZ: Final = 1000
"""Above the tick of common kernels the timer fires no more often."""

MAX_DEPTH: Final = 128
"""Calls of one stack that are kept, the innermost; ours are about 20 deep."""

Stack = tuple[str, ...]
"""Function names, the outermost first, behind the thread's name."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What a sampler found.

    Attributes:
        seconds: how long it looked.
        samples: how often.
        stacks: CPU time in microseconds by stack.
    """

    seconds: float
    samples: int
    stacks: Mapping[Stack, int]

    @property
    def cpu_seconds(self) -> float:
        """The CPU time that was charged."""
        return sum(self.stacks.values()) / 1e6


# Looking ---------------------------------------------------------------------------------------


class Sampler:
    """Looks at this process's threads between `start` and `stop`, which are called on the main thread.

    Args:
        hertz: looks per second of CPU time, 1 to MAX_HERTZ.
    """

    _running: "Sampler | None" = None

    def __init__(self, hertz: int = DEFAULT_HERTZ) -> None:
        self._interval = 1 / hertz
        self._stacks: Counter[Stack] = Counter()
        self._used: dict[int, int] = {}
        self._samples = 0
        self._began = 0.0

    def start(self) -> None:
        """Begin.

        Raises:
            CommandFailed: another one is running; a process has one such timer.
        """
        if Sampler._running is not None:
            raise CommandFailed("a profile is being taken already; try again when it is done")
        Sampler._running = self
        self._began = time.monotonic()
        for thread in threading.enumerate():
            self._spent(thread)
        signal.signal(signal.SIGPROF, self._look)
        signal.siginterrupt(signal.SIGPROF, False)
        signal.setitimer(signal.ITIMER_PROF, self._interval, self._interval)

    def stop(self) -> Profile:
        """End, and return what was found."""
        signal.setitimer(signal.ITIMER_PROF, 0)
        # A last signal may be under way, and its default is to end the process.
        signal.signal(signal.SIGPROF, _ignore)
        Sampler._running = None
        return Profile(time.monotonic() - self._began, self._samples, dict(self._stacks))

    def _look(self, number: int, frame: FrameType | None) -> None:
        """Charge every thread. It runs between any two instructions of the main thread, so it must not raise."""
        self._samples += 1
        frames = sys._current_frames()
        main = threading.main_thread().ident
        for thread in threading.enumerate():
            spent = self._spent(thread)
            top = frame if thread.ident == main else frames.get(thread.ident or 0)
            if spent and top is not None:
                self._stacks[thread.name, *_calls(top)] += spent

    def _spent(self, thread: threading.Thread) -> int:
        """Return the microseconds of CPU time that a thread has used since this was last asked."""
        if thread.ident is None:
            return 0
        try:
            used = time.clock_gettime_ns(time.pthread_getcpuclockid(thread.ident)) // 1000
        except OSError:
            return 0  # it ended meanwhile
        before = self._used.get(thread.ident, 0)
        self._used[thread.ident] = used
        # Less than before is another thread, to which the system gave the same number.
        return used - before if used >= before else used


def _ignore(number: int, frame: FrameType | None) -> None: ...


def _calls(top: FrameType) -> list[str]:
    names: list[str] = []
    frame: FrameType | None = top
    while frame is not None and len(names) < MAX_DEPTH:
        names.append(f"{frame.f_globals.get('__name__', '?')}:{frame.f_code.co_qualname}")
        frame = frame.f_back
    names.reverse()
    return names


# Showing ---------------------------------------------------------------------------------------


def collapsed(profile: Profile) -> str:
    """Return one line for each stack, `thread;outermost;...;innermost MICROSECONDS`, as flame graph programs read it."""
    return "".join(f"{';'.join(stack)} {spent}\n" for stack, spent in sorted(profile.stacks.items()))


@dataclass(frozen=True, slots=True)
class FunctionCost:
    """What a function cost, in microseconds: in itself, and with all that it called."""

    name: str
    own: int
    total: int


def by_function(profile: Profile) -> list[FunctionCost]:
    """Return the functions, those that cost most in themselves first."""
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for (_, *calls), spent in profile.stacks.items():
        own[calls[-1]] += spent
        for name in set(calls):  # a function that calls itself is charged once
            total[name] += spent
    costs = [FunctionCost(name, own[name], total[name]) for name in total]
    return sorted(costs, key=lambda cost: (-cost.own, -cost.total, cost.name))


def table(profile: Profile, rows: int = 25) -> Iterator[str]:
    """Yield the lines of a table of the costliest functions, in percent of the CPU time.

    Args:
        rows: functions at most; the rest is summed up in one line more.
    """
    everything = profile.cpu_seconds * 1e6 or 1.0
    yield f"{'own %':>7} {'total %':>8}  function"
    costs = by_function(profile)
    for cost in costs[:rows]:
        yield f"{cost.own / everything:>7.1%} {cost.total / everything:>8.1%}  {cost.name}"
    rest = sum(cost.own for cost in costs[rows:])
    if rest:
        yield f"{rest / everything:>7.1%} {'':>8}  {len(costs) - rows} more"
