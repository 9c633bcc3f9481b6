"""The term under way and its deadline, in memory that all processes of a stub share.

Workers look at it at each request. A parent that was stopped, or hangs, renews nothing, and they cease to answer by themselves.
"""

from typing import Final

from stub.election.loop import boottime
from tunnel.aio.workers.process import SPAWN

NEVER: Final = float("-inf")


class SharedTerm:
    """Two numbers, each written and read as one machine word. It goes to a worker's process by pickle, when that is started.

    The epoch tells terms apart: a worker that has not yet heard of the present one must not answer in it with the last one's.
    """

    def __init__(self) -> None:
        # An unlinked file, whose descriptor goes along: nothing is left behind, however the processes end.
        self._words = SPAWN.RawArray("d", (0.0, NEVER))

    def begin(self, epoch: int) -> None:
        """A term is under way; it has no deadline yet."""
        self._words[1] = NEVER
        self._words[0] = epoch

    def extend(self, deadline: float | None) -> None:
        """The term lasts until `deadline`, on the clock of the election; None ends it."""
        self._words[1] = NEVER if deadline is None else deadline

    def holds(self, epoch: int) -> bool:
        """Whether the term of this epoch is under way at this instant."""
        deadline = self._words[1]
        # Looked at last: a deadline that is already the next term's must not pass for this one's.
        return bool(boottime() < deadline and self._words[0] == epoch)
