"""An event loop whose time passes at once: it jumps to the next timer whenever there is nothing else to do."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
Play = Callable[[], Coroutine[Any, Any, None]]


class _Clock:
    now = 1000.0


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self, clock: _Clock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("everything waits, and nothing will ever happen")
        if not ready and timeout is not None and timeout > 0:
            self._clock.now += timeout
        return ready


class SimulatedLoop(asyncio.SelectorEventLoop):
    """The loop; `time` is the simulated time."""

    def __init__(self) -> None:
        self._simulated = _Clock()
        super().__init__(_JumpingSelector(self._simulated))

    def time(self) -> float:
        return self._simulated.now

    def sleep_process(self, seconds: float) -> None:
        """Let time pass while nothing of this process runs, as SIGSTOP does."""
        self._simulated.now += seconds


def simulate(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run `main` on a loop of its own in simulated time."""
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        return runner.run(main())


def now() -> float:
    """The simulated time, as the electors' clock."""
    return asyncio.get_running_loop().time()


def simulated(play: Play) -> Callable[[], None]:
    """Make a test of a coroutine: it runs on a loop in simulated time."""

    def test() -> None:
        simulate(play)

    test.__name__, test.__doc__ = play.__name__, play.__doc__
    return test
