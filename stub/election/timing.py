"""How long each thing in an election takes, and the one inequality that keeps two holders apart."""

from dataclasses import dataclass

from stub.election.record import LEASE_SECONDS_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class ElectionTiming:
    """The times of one candidate, in seconds: lease > renew deadline > retry x (1 + jitter).

    Attributes:
        lease_seconds: what others wait, from the last change they saw, before they take over. A whole number, because the
            record's field is one. A crash is noticed after this.
        renew_deadline_seconds: for how long a renewal is valid, from its start. The distance to the lease is what clocks
            may differ in speed.
        retry_seconds: between the starts of two renewals, and between two looks of a standby that cannot watch.
        jitter: by how much of itself each retry is lengthened at random, so that candidates do not meet at the store.

    Raises:
        ValueError: the times contradict each other; the text names the field.
    """

    lease_seconds: int = 15
    renew_deadline_seconds: float = 10.0
    retry_seconds: float = 2.0
    jitter: float = 0.2

    def __post_init__(self) -> None:
        if isinstance(self.lease_seconds, bool) or not isinstance(self.lease_seconds, int):
            raise ValueError(f"lease_seconds must be a whole number, not {self.lease_seconds!r}")
        if self.lease_seconds > LEASE_SECONDS_MAX:
            raise ValueError(f"lease_seconds must be at most {LEASE_SECONDS_MAX}s, not {self.lease_seconds}s")
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter must be from 0 to 1, not {self.jitter:g}")
        if not self.retry_seconds > 0:
            raise ValueError(f"retry_seconds must be more than 0, not {self.retry_seconds:g}s")
        if not self.renew_deadline_seconds > self.longest_retry_seconds:
            raise ValueError(
                f"renew_deadline_seconds must be more than retry_seconds with its jitter "
                f"({self.longest_retry_seconds:g}s), not {self.renew_deadline_seconds:g}s"
            )
        if not self.lease_seconds > self.renew_deadline_seconds:
            raise ValueError(
                f"lease_seconds must be more than renew_deadline_seconds ({self.renew_deadline_seconds:g}s), "
                f"not {self.lease_seconds}s"
            )

    @property
    def longest_retry_seconds(self) -> float:
        """The retry at its full jitter."""
        return self.retry_seconds * (1 + self.jitter)

    @property
    def call_seconds(self) -> float:
        """The bound of one call to the store: a lost call, the retry behind it and its answer fit in the deadline."""
        return self.renew_deadline_seconds / 4

    @property
    def deference_seconds(self) -> float:
        """For how long a candidate that ought not to lead leaves a free lease to others: one that cannot watch has looked by
        then. If nobody has taken it, it does, well before the stub that handed over closes its port (`--drain-delay`)."""
        return self.longest_retry_seconds

    @property
    def silence_seconds(self) -> float:
        """A watch that told nothing for this long is not relied on: a living holder renews within one retry."""
        return self.retry_seconds * 2.5
