"""What a candidate does next: a function of what it saw, and when by its own clock. No I/O, no clock, no randomness.

All times are seconds on one clock that never goes back and goes on while the machine sleeps.
"""

from dataclasses import dataclass
from typing import TypeAlias

from stub.election.record import LeaseRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What one candidate knows.

    Attributes:
        identity: the candidate's own name in the record.
        record: the record as it was last seen; None where there is none, or nothing was read yet.
        stale: the record has to be read before anything is written: it never was, or a write met a conflict.
        free_at: when the record may be taken if it does not change until then; in the past for one that nobody holds.
        deference: for how long behind that it is left to others, which are better placed to lead; 0 for not at all.
        valid_until: until when this candidate holds the lease; None where it does not.
        call_after: no call to the store before this.
        write_after: no write before this.
        read_at: a standby looks again then.
    """

    identity: str
    record: LeaseRecord | None
    stale: bool
    free_at: float
    deference: float
    valid_until: float | None
    call_after: float
    write_after: float
    read_at: float


@dataclass(frozen=True, slots=True)
class Acquire:
    """Write the record as one's own, with the next epoch."""


@dataclass(frozen=True, slots=True)
class Renew:
    """Write the record anew."""


@dataclass(frozen=True, slots=True)
class Read:
    """Read the record."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Do nothing until then, or until something is seen."""

    until: float


@dataclass(frozen=True, slots=True)
class StepDown:
    """Stop the leading work: the lease is not held any more."""

    reason: str


Decision: TypeAlias = Acquire | Renew | Read | Wait | StepDown


def decide(seen: Observation, now: float) -> Decision:
    """Return what to do at `now`."""
    if seen.valid_until is not None:
        return _decide_as_holder(seen, seen.valid_until, now)
    return _decide_as_standby(seen, now)


def _decide_as_holder(seen: Observation, valid_until: float, now: float) -> Decision:
    if now >= valid_until:
        return StepDown("the lease could not be renewed in time")
    if not seen.stale and (seen.record is None or seen.record.holder != seen.identity):
        return StepDown(_describe_loss(seen.record))
    due = seen.call_after if seen.stale else max(seen.call_after, seen.write_after)
    if now < due:
        return Wait(min(due, valid_until))
    return Read() if seen.stale else Renew()


def _decide_as_standby(seen: Observation, now: float) -> Decision:
    if now < seen.call_after:
        return Wait(seen.call_after)
    if seen.stale:
        return Read()
    take_at = max(seen.free_at + seen.deference, seen.write_after)
    if now >= take_at:
        return Acquire()
    return Read() if now >= seen.read_at else Wait(min(take_at, seen.read_at))


def _describe_loss(record: LeaseRecord | None) -> str:
    if record is None:
        return "the lease was deleted"
    if not record.holder:
        return "the lease was cleared by somebody else"
    return f"the lease was taken by {record.holder[:100]!r}"
