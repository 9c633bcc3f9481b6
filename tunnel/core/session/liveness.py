"""When to send a PING and when to give the peer up, as arithmetic on a clock that is handed in."""

from tunnel.core import limits


class Liveness:
    """Watches one session.

    Whatever arrives is a sign of life, not only the PING's answer: an answer may wait behind a body on its way here, and
    a peer that sends is not dead.

    Args:
        now: the monotonic time in seconds.
    """

    __slots__ = ("_heard", "_ping_due", "_pinged")

    def __init__(self, now: float) -> None:
        self._heard = now
        self._ping_due = now + limits.PING_SECONDS
        self._pinged: float | None = None

    def heard(self, now: float) -> None:
        """Note that bytes arrived."""
        self._heard = now
        self._pinged = None

    def ping_is_due(self, now: float) -> bool:
        """Whether to send a PING now; if so, counts it as sent."""
        if now < self._ping_due:
            return False
        self._ping_due = now + limits.PING_SECONDS
        if self._pinged is None:
            self._pinged = now
        return True

    def doubt(self, now: float) -> None:
        """Let the next PING be due at once."""
        self._ping_due = now

    @property
    def answering(self) -> bool:
        """Whether no PING is without a sign of life behind it."""
        return self._pinged is None

    def lost(self, now: float) -> bool:
        """Whether a PING has gone without any sign of life for too long."""
        return self._pinged is not None and now - self._pinged >= limits.PONG_SECONDS

    @property
    def next_check(self) -> float:
        """When to ask again, as monotonic time."""
        if self._pinged is None:
            return self._ping_due
        return min(self._ping_due, self._pinged + limits.PONG_SECONDS)
