"""One candidate's memory: it turns the answers of the store into what `decide` looks at. Time comes in as an argument."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import inf

from stub.election.decision import Decision, Observation, decide
from stub.election.record import RELEASED_SECONDS, LeaseRecord, micro_time
from stub.election.timing import ElectionTiming


@dataclass(frozen=True, slots=True)
class Term:
    """One time of being active.

    Attributes:
        lease: the lease's UID.
        epoch: grows with every term of that lease; what agents fence by.
    """

    lease: str
    epoch: int


@dataclass(frozen=True, slots=True)
class _Write:
    """A write and when it was begun, which is never after it took effect."""

    record: LeaseRecord
    started_at: float


class Candidate:
    """The state of one candidate, without I/O.

    One call to the store is under way at a time: `begin_read` or `begin_write`, then exactly one of `read`, `wrote`,
    `conflicted` and `failed`. `heard` may come at any time while standing by.

    Args:
        identity: the name in the record; no other process, earlier ones of this machine included, may have the same.
        timing: the times.
        random: returns a number from 0 up to 1.
        defers: whether others had better lead, as far as is known at that moment.
    """

    def __init__(
        self,
        identity: str,
        timing: ElectionTiming,
        random: Callable[[], float],
        defers: Callable[[], bool] = lambda: False,
    ) -> None:
        self._identity = identity
        self._timing = timing
        self._random = random
        self._defers = defers
        self._record: LeaseRecord | None = None
        self._stale = True
        self._known = False
        self._free_at = inf
        self._call_after = self._write_after = self._read_at = -inf
        self._started_at = -inf
        self._writing: LeaseRecord | None = None
        self._unanswered: list[_Write] = []
        self._in_doubt = False
        self._valid_until: float | None = None
        self._seen_epoch = ("", 0)
        self.term: Term | None = None
        """The term under way, its deadline passed or not; None while standing by."""
        self.watched = False
        """Whether a watch delivers changes, so that reading is only for when it is silent."""

    # Deciding --------------------------------------------------------------------------------------

    @property
    def valid_until(self) -> float | None:
        """Until when the lease is held; None while standing by."""
        return self._valid_until

    @property
    def record(self) -> LeaseRecord | None:
        """The record as it was last seen; None where there is none, or nothing was read yet."""
        return self._record

    def holds(self, now: float) -> bool:
        """Whether the lease is held at `now`."""
        return self._valid_until is not None and now < self._valid_until

    def decide(self, now: float) -> Decision:
        """Return what to do at `now`."""
        return decide(self.observation, now)

    @property
    def observation(self) -> Observation:
        """What is known now."""
        return Observation(
            identity=self._identity,
            record=self._record,
            stale=self._stale,
            free_at=self._free_at,
            deference=self._timing.deference_seconds if self._defers() else 0.0,
            valid_until=self._valid_until,
            call_after=self._call_after,
            write_after=self._write_after,
            read_at=self._read_at,
        )

    def call_seconds(self, now: float) -> float:
        """Return how long a call begun at `now` may take: always less than what remains of the lease."""
        bound = self._timing.call_seconds
        return bound if self._valid_until is None else min(bound, max(self._valid_until - now, 0.0))

    # Calling the store -----------------------------------------------------------------------------

    def begin_read(self, now: float) -> None:
        """Note that the record is being read."""
        self._started_at, self._writing = now, None

    def begin_write(self, now: float, wall_now: datetime) -> LeaseRecord:
        """Note that the record is being written, and return what to write.

        Args:
            wall_now: the time of day, for people that look at the record.
        """
        base = self._record or LeaseRecord()
        stamp = self._stamp(base, wall_now)
        draft = replace(
            base,
            holder=self._identity,
            duration_seconds=self._timing.lease_seconds,
            acquired_at=base.acquired_at if self.term else stamp,
            renewed_at=stamp,
            transitions=self.term.epoch if self.term else self._next_epoch(base),
        )
        self._started_at, self._writing = now, draft
        return draft

    def begin_release(self, now: float, wall_now: datetime) -> LeaseRecord | None:
        """Return the record that gives the lease up, or None where it is not this candidate's."""
        if self._record is None or not self._is_own(self._record):
            return None
        stamp = self._stamp(self._record, wall_now)
        draft = replace(
            self._record, holder="", duration_seconds=RELEASED_SECONDS, acquired_at=stamp, renewed_at=stamp
        )
        self._started_at, self._writing = now, draft
        return draft

    def _stamp(self, base: LeaseRecord, wall_now: datetime) -> str:
        """A time that no write of ours in doubt has, nor the record replaced: others know life by a time that changes, and
        a write found in the record must be known from its neighbours even where the wall clock was set back."""
        taken = {base.renewed_at, *(write.record.renewed_at for write in self._unanswered)}
        while (stamp := micro_time(wall_now)) in taken:
            wall_now += timedelta(microseconds=1)
        return stamp

    def _next_epoch(self, base: LeaseRecord) -> int:
        """Agents refuse an epoch older than they have seen, so one that somebody set back must not be followed."""
        uid, epoch = self._seen_epoch
        return max(base.transitions, epoch if uid == base.uid else 0) + 1

    # Answers ---------------------------------------------------------------------------------------

    def read(self, record: LeaseRecord | None, now: float) -> None:
        """The store answered with the record, or that there is none."""
        self._observe(record, now)
        self._stale = self._in_doubt = False
        self._confirm(record, now)

    def heard(self, record: LeaseRecord | None, now: float) -> None:
        """A watch told the record. What a watch tells may be old; then the next write meets a conflict, and no harm is done.

        While the lease is held it is ignored: an old event would look like a loss.
        """
        if self._valid_until is None:
            self._observe(record, now)

    def wrote(self, stored: LeaseRecord, now: float) -> None:
        """The write took effect, and the store answered with the record as it now is."""
        if self._writing is None or stored.holder != self._writing.holder:
            self.conflicted(now)
            return
        self._observe(stored, now)
        self._stale = self._in_doubt = False
        self._unanswered.clear()  # they were conditional on versions that are gone
        if self._is_own(stored):
            self._hold(stored, self._started_at, now)

    def conflicted(self, now: float) -> None:
        """The write met another record than it was meant for: nothing was written. The next call reads."""
        self._stale = True
        self._write_after = max(self._started_at + self._retry(), now)

    def failed(self, now: float) -> None:
        """The call gave no answer, or none to rely on. A write may have taken effect, or may still do so."""
        if self._writing is not None:
            self._unanswered.append(_Write(self._writing, self._started_at))
            self._in_doubt = True
        horizon = now - self._timing.renew_deadline_seconds
        self._unanswered = [write for write in self._unanswered if write.started_at > horizon]
        self._call_after = max(self._started_at + self._retry(), now)

    def resign(self) -> None:
        """The term is over, whatever its deadline says: the lease is not held from here on."""
        self.term = None
        self._valid_until = None
        # Neither a write in doubt nor one under way may revive it: the next term has an epoch of its own.
        self._unanswered.clear()
        self._writing = None

    @property
    def must_read(self) -> bool:
        """Whether the record as last seen is not to be relied on: a write met a conflict, or was not answered."""
        return self._stale or self._in_doubt

    @property
    def may_be_in_record(self) -> bool:
        """Whether the record names this candidate, as far as is known, or a write without an answer may have made it so."""
        return self._is_own(self._record) or self._in_doubt

    # Remembering -----------------------------------------------------------------------------------

    def _observe(self, record: LeaseRecord | None, now: float) -> None:
        before = self._record
        if not self._known or not _says_the_same(before, record):
            self._free_at = self._when_free(record, now)
            self._write_after = -inf
        elif before is not None and record is not None and before.version != record.version:
            self._write_after = -inf
        if record is not None:
            self._note_epoch(record)
        self._record, self._known = record, True
        self._read_at = now + (self._timing.silence_seconds if self.watched else self._retry())

    def _when_free(self, record: LeaseRecord | None, now: float) -> float:
        if record is None:
            # Somebody deleted it, and whoever held it last may not know yet; a lease that never was is free at once.
            return -inf if self._record is None else now + self._duration(self._record)
        return now + self._duration(record) if self._is_others(record) else now

    def _is_others(self, record: LeaseRecord) -> bool:
        return record.holder not in ("", self._identity)

    def _is_own(self, record: LeaseRecord | None) -> bool:
        return record is not None and record.holder == self._identity

    def _duration(self, record: LeaseRecord) -> float:
        """A released record's single second says nothing about one that came behind it and was not seen."""
        own = self._timing.lease_seconds
        return (record.duration_seconds or own) if self._is_others(record) else own

    def _note_epoch(self, record: LeaseRecord) -> None:
        uid, epoch = self._seen_epoch
        self._seen_epoch = (
            record.uid,
            max(record.transitions, epoch) if uid == record.uid else record.transitions,
        )

    def _confirm(self, record: LeaseRecord | None, now: float) -> None:
        """A write whose answer was lost is in the record: it took effect, and was begun when it was begun."""
        if record is None or not self._is_own(record):
            return
        for write in self._unanswered:
            if _is_same_write(write.record, record):
                self._hold(record, write.started_at, now)
                return

    def _hold(self, record: LeaseRecord, started_at: float, now: float) -> None:
        valid_until = started_at + self._timing.renew_deadline_seconds
        if self.term is None and now >= valid_until:
            return  # it came too late to be of use: the record is ours, and the next write begins the term
        self.term = self.term or Term(record.uid, record.transitions)
        self._valid_until = valid_until
        self._unanswered.clear()
        self._call_after = max(started_at + self._retry(), now)

    def _retry(self) -> float:
        return self._timing.retry_seconds * (1 + self._timing.jitter * self._random())


def _says_the_same(one: LeaseRecord | None, other: LeaseRecord | None) -> bool:
    return one is other if one is None or other is None else one.says_the_same_as(other)


def _is_same_write(draft: LeaseRecord, record: LeaseRecord) -> bool:
    return (draft.holder, draft.transitions, draft.renewed_at) == (
        record.holder,
        record.transitions,
        record.renewed_at,
    )
