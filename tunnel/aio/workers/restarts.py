"""When a worker that died is started again, and when no more: arithmetic on a clock that is handed in."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tunnel.kit.backoff import Backoff

DEATHS: Final = 5
WINDOW_SECONDS: Final = 60.0
"""One that has died so often within this would go on dying: whoever runs the process must hear of it."""


@dataclass(frozen=True, slots=True)
class Restart:
    """Start it again.

    Attributes:
        after_seconds: how long to wait before.
    """

    after_seconds: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Start nothing any more, and end.

    Attributes:
        reason: for the operator.
    """

    reason: str


class Restarts:
    """The deaths of one worker.

    Args:
        random: returns a number from 0 up to 1.

    Attributes:
        count: how often it died.
    """

    def __init__(self, random: Callable[[], float]) -> None:
        self._backoff = Backoff(random, fast_tries=1)
        self._deaths: deque[float] = deque(maxlen=DEATHS)
        self.count = 0

    def died(self, now: float) -> Restart | GiveUp:
        """Return what to do about a death at `now`, in seconds on a clock that never goes back."""
        if self._deaths and now - self._deaths[-1] > WINDOW_SECONDS:
            self._backoff.succeeded()
        self._deaths.append(now)
        self.count += 1
        if len(self._deaths) == DEATHS and now - self._deaths[0] <= WINDOW_SECONDS:
            return GiveUp(f"died {DEATHS} times within {WINDOW_SECONDS:.0f} s")
        return Restart(self._backoff.next_seconds())
