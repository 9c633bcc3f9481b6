"""What an operator may ask of a running stub or agent through its control socket."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from tunnel.kit.sampling import DEFAULT_HERTZ, MAX_HERTZ, Sampler

MAX_PROFILE_SECONDS: Final = 600.0

REPORT_SECONDS: Final = 1.0
"""Between two reports on a drain."""

_log = logging.getLogger(__name__)

Request = Mapping[str, Any]


class Answer(Protocol):
    """How an operation answers."""

    def report(self, **facts: object) -> None:
        """Say how it goes."""

    def done(self, **facts: object) -> None:
        """Say that it is done; the connection closes."""


class Operation(Protocol):
    """What a request has begun."""

    def finish(self) -> None:
        """Answer now: its time is over, or the process has drained and is about to end."""

    def abandon(self) -> None:
        """Nobody waits for the answer any more."""


class Draining:
    """`drain`: as SIGTERM, and reports until it is over. It goes on when nobody listens any more.

    Args:
        answer: hears how many requests and pipes still run.
        stopping: makes the process drain; setting it twice changes nothing.
        running: counts them.
    """

    def __init__(self, answer: Answer, stopping: asyncio.Event, running: Callable[[], int]) -> None:
        self._answer = answer
        self._running = running
        self._loop = asyncio.get_running_loop()
        _log.info("draining on an operator's request")
        stopping.set()
        self._timer = self._loop.call_soon(self._report)

    def _report(self) -> None:
        self._answer.report(running=self._running())
        self._timer = self._loop.call_later(REPORT_SECONDS, self._report)

    def finish(self) -> None:
        self._timer.cancel()
        self._answer.done(running=self._running())

    def abandon(self) -> None:
        self._timer.cancel()


class Profiling:
    """`profile`: samples this process's call stacks for `seconds`, at `hertz`.

    Args:
        answer: gets the profile.
        request: may hold both numbers.

    Raises:
        ValueError: one is out of range.
        CommandFailed: a profile is being taken already.
    """

    def __init__(self, answer: Answer, request: Request) -> None:
        seconds = _number(request, "seconds", 10.0, MAX_PROFILE_SECONDS)
        hertz = _number(request, "hertz", DEFAULT_HERTZ, MAX_HERTZ)
        self._answer = answer
        self._sampler = Sampler(max(int(hertz), 1))
        self._sampler.start()
        _log.info("taking a profile", extra={"seconds": seconds})
        self._timer = asyncio.get_running_loop().call_later(seconds, self.finish)

    def finish(self) -> None:
        self._timer.cancel()
        profile = self._sampler.stop()
        stacks = {";".join(stack): spent for stack, spent in profile.stacks.items()}
        self._answer.done(seconds=profile.seconds, samples=profile.samples, stacks=stacks)

    def abandon(self) -> None:
        self._timer.cancel()
        self._sampler.stop()


def _number(request: Request, name: str, default: float, most: float) -> float:
    value = request.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= most:
        raise ValueError(f"{name} must be a number above 0 and at most {most:g}, not {value!r}")
    return value
