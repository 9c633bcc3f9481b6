"""How long to wait between tries to reach something that did not answer."""

from collections.abc import Callable
from typing import Final

FAST_TRIES: Final = 3
"""Most failures of a dial are over at once (a rollout, a load balancer's reset): these tries cost nobody anything."""

FAST_SECONDS: Final = 0.2
FIRST_SECONDS: Final = 1.0
LONGEST_SECONDS: Final = 10.0
"""A stub that comes back after an hour is found by every agent within this."""


class Backoff:
    """Jittered exponential waits: some short ones, then doubling from `FIRST_SECONDS`.

    Half of each wait is random, so that a thousand agents cut off in one moment do not come back in one moment.

    Args:
        random: returns a number from 0 up to 1 (`random.random`).
        fast_tries: how many waits of `FAST_SECONDS` come first.
        longest_seconds: where the doubling ends.
    """

    def __init__(
        self,
        random: Callable[[], float],
        *,
        fast_tries: int = FAST_TRIES,
        longest_seconds: float = LONGEST_SECONDS,
    ) -> None:
        self._random = random
        self._fast_tries = fast_tries
        self._longest = longest_seconds
        self._failures = 0

    @property
    def failures(self) -> int:
        """How many waits were asked for since the last success."""
        return self._failures

    def next_seconds(self) -> float:
        """Return how long to wait before the next try. Call it once for each failure."""
        slow_tries = self._failures - self._fast_tries
        self._failures += 1
        # The exponent is bounded: after a month of failures 2**n would no longer be a float.
        longest = (
            FAST_SECONDS if slow_tries < 0 else min(self._longest, FIRST_SECONDS * 2.0 ** min(slow_tries, 20))
        )
        return longest * (0.5 + self._random() / 2)

    def succeeded(self) -> None:
        """Start over: what was tried has worked."""
        self._failures = 0
