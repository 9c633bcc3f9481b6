"""How much credit a body's stream gets: a window that grows while it is drained, within a budget for all of them.

256 KiB would cap an upload over a 100 ms round trip at 2.6 MB/s; 16 MiB for each of 10 000 would be 160 GiB. So a window
doubles each time half of it was consumed, and stops where the session's budget is used up.
"""

from tunnel.core import limits


class WindowBudget:
    """What all windows of one session may hold above their first size, in bytes."""

    __slots__ = ("_left",)

    def __init__(self, total: int) -> None:
        self._left = total

    def take(self, wanted: int) -> int:
        """Return as much of `wanted` as is left, and book it."""
        granted = min(wanted, self._left)
        self._left -= granted
        return granted

    def give_back(self, amount: int) -> None:
        """Return what a closed stream had taken."""
        self._left += amount


class BodyWindow:
    """One body's credit.

    Args:
        budget: shared by all bodies of the session.
    """

    __slots__ = ("_budget", "_consumed", "_size")

    def __init__(self, budget: WindowBudget) -> None:
        self._budget = budget
        self._size = limits.STREAM_WINDOW_BYTES
        self._consumed = 0

    def consume(self, amount: int) -> int:
        """Note that the upstream took `amount` bytes; return the credit to send now, 0 while it is not worth a frame."""
        self._consumed += amount
        if self._consumed * 2 < self._size:
            return 0
        growth = self._budget.take(min(self._size, limits.STREAM_WINDOW_MAX_BYTES - self._size))
        self._size += growth
        credit = self._consumed + growth
        self._consumed = 0
        return credit

    def close(self) -> None:
        """Give the growth back to the budget."""
        self._budget.give_back(self._size - limits.STREAM_WINDOW_BYTES)
        self._size = limits.STREAM_WINDOW_BYTES
