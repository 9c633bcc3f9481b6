"""Candidates, their clocks, a store and the network between them, in simulated time: some thousand schedules in a second.

True time is the simulation's. Every process sees it through a clock of its own, with an offset and a speed; it may be paused
for any time at any point, lose its way to the store, and be killed. What it believes is checked at every instant at which
anybody comes to believe anything.
"""

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from math import inf
from random import Random
from typing import Any

from stub.election.candidate import Candidate, Term
from stub.election.decision import Acquire, Read, Renew, StepDown, Wait
from stub.election.record import LeaseRecord
from stub.election.timing import ElectionTiming

TIMING = ElectionTiming()
WALL_START = datetime(2026, 1, 1, tzinfo=UTC)
RELEASE_SECONDS = 5.0

Act = Callable[[], None]
Answered = Callable[[Any, float], None]


@dataclass(frozen=True, slots=True)
class Fate:
    """What the network does to one call, in true seconds. An answer of `inf` never comes."""

    to_store: float
    from_store: float
    takes_effect: bool = True
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class ProcessPlan:
    """One process: its clock, its pauses, its end, the fates of its calls, and when others had better lead."""

    offset: float
    speed: float
    wall_skew: float
    starts_at: float
    watches: bool
    pauses: tuple[tuple[float, float], ...]
    killed_at: float
    stopped_at: float
    fate: Callable[[float], Fate]
    watch_delay: Callable[[], float]
    defers: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Schedule:
    """Everything that happens from outside. `touched_at` and `deleted_at`: somebody labels or deletes the record."""

    processes: tuple[ProcessPlan, ...]
    seconds: float
    seed: int
    touched_at: tuple[float, ...] = ()
    deleted_at: tuple[float, ...] = ()


@dataclass(slots=True)
class Outcome:
    """What was seen."""

    overlaps: list[str] = field(default_factory=list)
    epochs_reused: list[str] = field(default_factory=list)
    terms: list[tuple[float, str, Term]] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    calls: int = 0


class Store:
    """One record with conditional writes."""

    def __init__(self) -> None:
        self.record: LeaseRecord | None = None
        self._versions = itertools.count(1)
        self._uids = itertools.count(1)
        self.listeners: list[Callable[[LeaseRecord | None], None]] = []

    def write(self, draft: LeaseRecord) -> LeaseRecord | None:
        """Return what is stored, or None for a conflict."""
        if draft.version != (self.record.version if self.record else ""):
            return None
        return self._put(replace(draft, uid=draft.uid or f"uid-{next(self._uids)}"))

    def touch(self) -> None:
        if self.record:
            self._put(self.record)

    def delete(self) -> None:
        self.record = None
        self._publish()

    def _put(self, record: LeaseRecord) -> LeaseRecord:
        self.record = replace(record, version=str(next(self._versions)))
        self._publish()
        return self.record

    def _publish(self) -> None:
        for listener in self.listeners:
            listener(self.record)


class Process:
    """One candidate, driven as the elector's loop drives it."""

    def __init__(self, world: "World", name: str, plan: ProcessPlan, timing: ElectionTiming) -> None:
        self.world, self.name, self.plan = world, name, plan
        self.candidate = Candidate(name, timing, world.random.random, self._defers)
        self.candidate.watched = plan.watches
        self.alive = True
        self.stopping = False
        self._release_until = inf
        self._turns = itertools.count()
        self._turn = 0
        self._call = 0
        self._term: Term | None = None
        world.at(plan.starts_at, self.run(self.take_turn))
        world.at(plan.killed_at, self.kill)
        world.at(plan.stopped_at, self.run(self.stop))
        if plan.watches:
            world.store.listeners.append(self.told)

    # Time ------------------------------------------------------------------------------------------

    @property
    def local(self) -> float:
        return self.plan.offset + self.plan.speed * self.world.now

    def true(self, local: float) -> float:
        return (local - self.plan.offset) / self.plan.speed

    @property
    def wall(self) -> datetime:
        return WALL_START + timedelta(seconds=self.world.now + self.plan.wall_skew)

    def _defers(self) -> bool:
        return any(start <= self.world.now < end for start, end in self.plan.defers)

    def holds(self) -> bool:
        return self.alive and self.candidate.holds(self.local)

    def run(self, step: Act) -> Act:
        """Return `step` as this process does it: not while it is paused, and not when it is gone."""

        def act() -> None:
            if not self.alive:
                return
            until = next((end for start, end in self.plan.pauses if start <= self.world.now < end), None)
            if until is not None:
                self.world.at(until, act)
            else:
                step()

        return act

    # Living ----------------------------------------------------------------------------------------

    def kill(self) -> None:
        self.world.ended(self)
        self.alive = False

    def stop(self) -> None:
        self.stopping = True
        self._release_until = self.local + RELEASE_SECONDS
        self.world.ended(self)
        self.candidate.resign()
        self._wake(self.world.now)

    def told(self, record: LeaseRecord | None) -> None:
        delay = self.plan.watch_delay()
        if delay != inf:
            self.world.at(self.world.now + delay, self.run(lambda: self._hear(record)))

    def _hear(self, record: LeaseRecord | None) -> None:
        self.candidate.heard(record, self.local)
        if not self._call:
            self._wake(self.world.now)

    def _wake(self, true_time: float) -> None:
        self._turn = turn = next(self._turns)
        self.world.at(true_time, self.run(lambda: self.take_turn() if turn == self._turn else None))

    def take_turn(self) -> None:
        if self._call:
            return
        if self.stopping:
            self._release()
            return
        match self.candidate.decide(self.local):
            case Wait(until):
                self._wake(max(self.true(until), self.world.now + 1e-9))
            case Read():
                self._begin_read()
            case Acquire() | Renew():
                self._begin_write(self.candidate.begin_write(self.local, self.wall))
            case StepDown():
                self._term = None
                self.candidate.resign()
                self._wake(self.world.now)

    def _release(self) -> None:
        if self.local >= self._release_until or not self.candidate.may_be_in_record:
            self.alive = False
        elif self.candidate.must_read:
            self._begin_read()
        else:
            draft = self.candidate.begin_release(self.local, self.wall)
            assert draft is not None
            self._begin_write(draft)

    # Calling ---------------------------------------------------------------------------------------

    def _begin_read(self) -> None:
        self.candidate.begin_read(self.local)
        self._begin(lambda: self.world.store.record, self.candidate.read)

    def _begin_write(self, draft: LeaseRecord) -> None:
        def answered(stored: LeaseRecord | None, now: float) -> None:
            if stored is None:
                self.candidate.conflicted(now)
            else:
                self.candidate.wrote(stored, now)

        self._begin(lambda: self.world.store.write(draft), answered)

    def _begin(self, effect: Callable[[], Any], answered: Answered) -> None:
        self.world.outcome.calls += 1
        self._call = call = next(self._turns) + 1
        fate = self.plan.fate(self.world.now)

        def end(tell: Act) -> Act:
            return self.run(lambda: self._end(tell) if call == self._call else None)

        def arrive() -> None:
            result = effect() if fate.takes_effect else None
            failed = fate.is_error or not fate.takes_effect
            tell = self._fail if failed else lambda: answered(result, self.local)
            self.world.at(self.world.now + fate.from_store, end(tell))

        self.world.at(self.world.now + fate.to_store, arrive)
        seconds = self.candidate.call_seconds(self.local)
        self.world.at(self.world.now + seconds / self.plan.speed, end(self._fail))

    def _fail(self) -> None:
        self.candidate.failed(self.local)

    def _end(self, tell: Act) -> None:
        self._call = 0
        tell()
        if self.candidate.term is not None and not self.stopping and self.holds():
            self.world.believed(self, is_new=self.candidate.term != self._term)
            self._term = self.candidate.term
        self._wake(self.world.now)


class World:
    """True time, the store, and the check."""

    def __init__(self, schedule: Schedule, timing: ElectionTiming = TIMING) -> None:
        self.now = 0.0
        self.random = Random(schedule.seed)
        self.store = Store()
        self.outcome = Outcome()
        self._schedule = schedule
        self._events: list[tuple[float, int, Act]] = []
        self._order = itertools.count()
        self._held_until = self._undisturbed_since = 0.0
        self._epochs: dict[tuple[str, int], str] = {}
        self.processes = [
            Process(self, f"stub-{number}", plan, timing) for number, plan in enumerate(schedule.processes)
        ]
        for moment in schedule.touched_at:
            self.at(moment, self.store.touch)
        for moment in schedule.deleted_at:
            self.at(moment, self.store.delete)

    def at(self, moment: float, act: Act) -> None:
        if moment <= self._schedule.seconds:
            heapq.heappush(self._events, (moment, next(self._order), act))

    def run(self) -> Outcome:
        """Let everything happen."""
        while self._events:
            self.now, _, act = heapq.heappop(self._events)
            act()
        self.now = self._schedule.seconds
        self._note_gap()
        return self.outcome

    def believed(self, process: Process, *, is_new: bool) -> None:
        """A process came to believe, or believes for longer, that it holds the lease."""
        for other in self.processes:
            if other is not process and other.holds():
                self.outcome.overlaps.append(f"{self.now:.3f}: {process.name} and {other.name}")
        if is_new:
            self._check_epoch(process)
        deadline = process.candidate.valid_until
        assert deadline is not None
        self._note_gap()
        self._held_until = max(self._held_until, process.true(deadline))

    def _check_epoch(self, process: Process) -> None:
        term = process.candidate.term
        assert term is not None
        self.outcome.terms.append((self.now, process.name, term))
        newest = max((epoch for uid, epoch in self._epochs if uid == term.lease), default=0)
        if term.epoch <= newest:
            self.outcome.epochs_reused.append(f"{self.now:.3f}: {process.name} {term} behind {newest}")
        self._epochs[term.lease, term.epoch] = process.name

    def ended(self, process: Process) -> None:
        """A process stopped believing, or existing, before its deadline or at it.

        Whether it held the lease or was about to, the others have to wait for what it may have written: a gap counts anew.
        """
        if process.holds():
            self._held_until = min(self._held_until, self.now)
        self._undisturbed_since = self.now

    def _note_gap(self) -> None:
        self.outcome.gaps.append(self.now - max(self._held_until, self._undisturbed_since))
