"""A bound on how many frames of one kind a peer may send in a second."""


class FrameRate:
    """Counts within one second at a time: an honest peer is far below the limit, so nothing smoother is needed.

    Args:
        per_second: how many are taken.
    """

    __slots__ = ("_left", "_second_ends", "per_second")

    def __init__(self, per_second: int) -> None:
        self.per_second = per_second
        self._left = per_second
        self._second_ends = 0.0

    def take(self, now: float) -> bool:
        """Count one frame at `now`; return whether it is within the limit."""
        if now >= self._second_ends:
            self._second_ends = now + 1.0
            self._left = self.per_second
        self._left -= 1
        return self._left >= 0
