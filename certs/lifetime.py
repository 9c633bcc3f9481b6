"""From when to when a certificate is valid."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

CLOCK_SKEW: Final = timedelta(minutes=5)
"""Certificates are valid this long before they were made: the clocks of laptops and of nodes differ by minutes."""

AUTHORITY_LIFE: Final = timedelta(days=3650)
SERVER_LIFE: Final = timedelta(days=365)
AGENT_LIFE: Final = timedelta(days=365)
USER_LIFE: Final = timedelta(days=90)
KUBECONFIG_LIFE: Final = timedelta(hours=12)
"""A working day: a kubeconfig is copied about, and a certificate in it cannot be asked back."""

SHORTEST_LIFE: Final = timedelta(seconds=1)
_UNITS: Final = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


@dataclass(frozen=True, slots=True)
class Lifetime:
    """The two dates of a certificate, in UTC and whole seconds, as X.509 has them."""

    not_before: datetime
    not_after: datetime

    @classmethod
    def starting(cls, now: datetime, life: timedelta) -> "Lifetime":
        """Return a life that ends `life` behind `now` and began a little before it.

        Raises:
            ValueError: it would last less than a second, or end behind the year 9999.
        """
        if life < SHORTEST_LIFE:
            raise ValueError("a certificate must be valid for at least one second")
        try:
            end = (now + life).replace(microsecond=0)
        except OverflowError:
            raise ValueError("a certificate cannot be valid beyond the year 9999") from None
        return cls((now - CLOCK_SKEW).replace(microsecond=0), end)

    def within(self, other: "Lifetime") -> "Lifetime":
        """Return this life, cut so that it is no longer than `other`."""
        return Lifetime(max(self.not_before, other.not_before), min(self.not_after, other.not_after))

    def behind(self, moment: datetime | None) -> "Lifetime":
        """Return this life, begun a second behind `moment` at the earliest: a revocation is told from what was issued since
        by their dates alone."""
        if moment is None:
            return self
        return Lifetime(max(self.not_before, moment + timedelta(seconds=1)), self.not_after)

    @property
    def issued(self) -> datetime:
        """About when a certificate with these dates was made, if it was made here."""
        return min(self.not_before + CLOCK_SKEW, self.not_after)

    def problem_at(self, now: datetime) -> str | None:
        """Return why a certificate of this life is not valid at `now`, or None where it is."""
        if now > self.not_after:
            return f"expired {duration_text(now - self.not_after)} ago, on {date_text(self.not_after)}"
        if now < self.not_before:
            ahead = duration_text(self.not_before - now)
            return f"is not valid before {date_text(self.not_before)}, which is {ahead} ahead"
        return None


def utc_now() -> datetime:
    """Return the wall clock's time."""
    return datetime.now(UTC)


def parse_moment(text: str) -> datetime:
    """Return a moment written as in ISO 8601.

    Raises:
        ValueError: it is none, or has no time zone.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return moment


def date_text(moment: datetime) -> str:
    """Return a date as `2027-03-01 12:00:00 UTC`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def duration_text(length: timedelta) -> str:
    """Return a length in the largest unit that it fills, such as `3 d`."""
    seconds = int(length.total_seconds())
    for unit, size in _UNITS:
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return "less than 1 s"
