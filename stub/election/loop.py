"""The elector: stands by, takes the lease, leads inside it, and lets it go."""

import asyncio
import contextlib
import random
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeAlias, TypeVar

from stub.election.candidate import Candidate, Term
from stub.election.decision import Acquire, Read, Renew, StepDown, Wait
from stub.election.errors import StoreConflict, StoreError
from stub.election.events import (
    BecameActive,
    ElectionEvent,
    Lost,
    NotReleased,
    Released,
    StoreFailing,
    StoreRecovered,
    WatchFailed,
    log_event,
)
from stub.election.record import LeaseRecord
from stub.election.stores import LeaseStore
from stub.election.timing import ElectionTiming

Lead: TypeAlias = Callable[[Term], Awaitable[None]]
"""The leading work of one term. It runs until it is cancelled, and has stopped leading when it ends; what of it may outlive
the term (responses under way) is not its business. Returning by itself gives the lease up."""

RELEASE_SECONDS: Final = 5.0
"""A store that fails must not hold up a shutdown for longer: then the lease runs out by itself."""

RELEASE_RETRY_SECONDS: Final = 0.25
"""A hand-over is awaited by users, so a failed release is tried again soon."""

WAIT_SECONDS: Final = 2.0
"""The event loop's timers stand still while the machine sleeps and the elector's clock does not: look at it this often."""

T = TypeVar("T")

_INSTANCE: Final = re.compile(r"_([0-9a-f]{16})\Z")

_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Outside Linux the monotonic clock has to do; on macOS it stands still while the machine sleeps."""


def boottime() -> float:
    """Return seconds on the clock that never goes back and counts the machine's sleep too, where there is one.

    It is the same for all processes of a machine, so that a deadline can be handed to workers.
    """
    return time.clock_gettime(_CLOCK)


def new_identity(name: str, instance: str | None = None) -> str:
    """Return a holder identity for this process: `name` (the Pod's, the host's) and a part that no other process has.

    Args:
        name: for people that look at the record.
        instance: that part, where the process has one already; else it is drawn.
    """
    return f"{name[:200]}_{instance or secrets.token_hex(8)}"


def instance_of(identity: str) -> str | None:
    """Return the instance in a holder identity that a stub has made with its own; None where there is none."""
    found = _INSTANCE.search(identity)
    return found[1] if found else None


def _wall_clock() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What an elector takes from outside: two clocks, chance, and who hears what happens.

    Attributes:
        clock: seconds on a clock that never goes back.
        wall_clock: the time of day; only for people that look at the record.
        random: returns a number from 0 up to 1.
        on_event: called with each event; must not raise.
        defers: whether others had better lead; a free lease is left to them for `ElectionTiming.deference_seconds`.
        on_deadline: called with `Elector.deadline` whenever it may have changed, before anything else happens; must not raise.
        on_record: called whenever the store or its watch has told the record, which `Elector.record` then is; must not raise.
    """

    clock: Callable[[], float] = boottime
    wall_clock: Callable[[], datetime] = _wall_clock
    random: Callable[[], float] = random.random
    on_event: Callable[[ElectionEvent], None] = log_event
    defers: Callable[[], bool] = lambda: False
    on_deadline: Callable[[float | None], None] = lambda deadline: None
    on_record: Callable[[], None] = lambda: None


class Elector:
    """One stub's part in the election.

    Args:
        store: where the lease is.
        identity: the holder's name, as `new_identity` makes it.
        lead: the leading work.
        timing: the times.
        surroundings: clocks and listeners.
    """

    def __init__(
        self,
        store: LeaseStore,
        identity: str,
        lead: Lead,
        timing: ElectionTiming | None = None,
        surroundings: Surroundings | None = None,
    ) -> None:
        self._store = store
        self._lead = lead
        self._around = surroundings or Surroundings()
        self._clock = self._around.clock
        self._timing = timing or ElectionTiming()
        self._candidate = Candidate(identity, self._timing, self._around.random, self._around.defers)
        self._woken = asyncio.Event()
        self._stopping = False
        self._hurried = asyncio.Event()
        self._failed_since: float | None = None
        self._leading: asyncio.Task[None] | None = None
        self._problem: Exception | None = None
        self._turned_at = self._clock()

    # For every request -----------------------------------------------------------------------------

    def holds(self, now: float | None = None) -> bool:
        """Whether this stub is the active one at this instant; to be asked for each request.

        Args:
            now: seconds on the elector's clock, where the caller has just looked.
        """
        return not self._stopping and self._candidate.holds(self._clock() if now is None else now)

    @property
    def deadline(self) -> float | None:
        """Until when this stub is active if nothing is renewed, on the elector's clock; None while it is not."""
        return None if self._stopping else self._candidate.valid_until

    @property
    def term(self) -> Term | None:
        """The term under way; None while standing by."""
        return self._candidate.term

    @property
    def record(self) -> LeaseRecord | None:
        """The record as this stub last saw it; None where there is none, or nothing was read yet."""
        return self._candidate.record

    @property
    def failing_since(self) -> float | None:
        """Since when the store fails, on the elector's clock; None while it works."""
        return self._failed_since

    @property
    def silent_seconds(self) -> float:
        """How long ago the loop last decided something; far more than a wait and a call is a loop that hangs."""
        return self._clock() - self._turned_at

    # Running ---------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Take part until `stop` is called, or the leading work ends by itself.

        Raises:
            Exception: what the leading work raised; the lease is released before.

        Cancelling it stops the leading work and ends at once, without a release: others wait until the lease has run out.
        """
        try:
            while not self._stopping:
                await self._stand_by()
                if self._candidate.term is not None and not self._stopping:
                    await self._serve_term(self._candidate.term)
            self._resign()
            await self._release()
        except (
            ExceptionGroup
        ) as group:  # a defect of the store: no answer it may give is an exception of another kind
            raise group.exceptions[0] from None
        finally:
            self._stopping = True
            self._resign()
        if self._problem is not None:
            raise self._problem

    def reconsider(self) -> None:
        """Decide anew: what `Surroundings.defers` says may have changed."""
        self._woken.set()

    def stop(self) -> None:
        """Be active no more: stop the leading work, release the lease, and let `run` return.

        Called again, it does without the release; the leading work is awaited all the same.
        """
        if self._stopping:
            self._hurried.set()
        self._end()

    def _end(self) -> None:
        self._stopping = True
        self._around.on_deadline(self.deadline)
        self._stop_leading()
        self._woken.set()

    async def _stand_by(self) -> None:
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(self._watch(), name="election-watch")
            while self._candidate.term is None and not self._stopping:
                await self._turn()
            watching.cancel()
        self._candidate.watched = False

    async def _serve_term(self, term: Term) -> None:
        self._tell(BecameActive(term))
        async with asyncio.TaskGroup() as group:
            self._leading = group.create_task(self._run_lead(term), name=f"leading-{term.epoch}")
            try:
                await self._renew_until_lost(term)
            finally:
                self._resign()
                self._stop_leading()

    async def _renew_until_lost(self, term: Term) -> None:
        while not self._stopping:
            reason = await self._turn()
            if reason is not None:
                self._tell(Lost(term, reason))
                return

    def _resign(self) -> None:
        self._candidate.resign()
        self._around.on_deadline(self.deadline)

    def _stop_leading(self) -> None:
        """Cancel the leading work once: a second time would break off its clean-up."""
        leading, self._leading = self._leading, None
        if leading is not None:
            leading.cancel()

    async def _run_lead(self, term: Term) -> None:
        try:
            await self._lead(term)
        except (
            Exception
        ) as problem:  # the top of this task: it ends the term, and `run` raises it behind the release
            self._problem = problem
        if self._problem is not None or self._leading is not None:  # else it was told to end
            self._leading = None
            self._end()

    async def _turn(self) -> str | None:
        """Do what is due; return why to step down, if so."""
        self._turned_at = now = self._clock()
        match self._candidate.decide(now):
            case Wait(until):
                await self._pause(until - now)
            case Read():
                await self._read()
            case Acquire() | Renew():
                await self._write(self._candidate.begin_write(now, self._around.wall_clock()))
            case StepDown(reason):
                return reason
        return None

    async def _pause(self, seconds: float) -> None:
        """Wait, but not beyond a change that was seen, or the order to stop."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(seconds, WAIT_SECONDS)):
                await self._woken.wait()
        self._woken.clear()

    # Calling the store -----------------------------------------------------------------------------

    async def _read(self) -> None:
        self._candidate.begin_read(self._clock())
        answered, record = await self._call(self._store.read)
        if answered:
            self._candidate.read(record, self._clock())
            self._around.on_deadline(self.deadline)
            self._around.on_record()

    async def _write(self, draft: LeaseRecord) -> bool:
        answered, stored = await self._call(lambda seconds: self._store.write(draft, seconds))
        if answered and stored is not None:
            self._candidate.wrote(stored, self._clock())
            self._around.on_deadline(self.deadline)
            self._around.on_record()
        return answered and not self._candidate.must_read

    async def _call(self, call: Callable[[float], Awaitable[T]]) -> tuple[bool, T | None]:
        """Return whether the store answered, and what; the candidate is told of anything else."""
        seconds = self._candidate.call_seconds(self._clock())
        try:
            # The store has the bound as well; this one holds whatever it does with it.
            async with asyncio.timeout(seconds):
                answer = await call(seconds)
        except StoreConflict:
            self._candidate.conflicted(self._clock())
            self._succeeded()
            return False, None
        except (StoreError, TimeoutError) as error:
            self._candidate.failed(self._clock())
            self._failed(str(error) or f"no answer within {seconds:.1f} s")
            return False, None
        self._succeeded()
        return True, answer

    def _failed(self, reason: str) -> None:
        if self._failed_since is None:
            self._failed_since = self._clock()
            self._tell(StoreFailing(self._failed_since, reason))

    def _succeeded(self) -> None:
        if self._failed_since is not None:
            self._tell(StoreRecovered(self._clock() - self._failed_since))
            self._failed_since = None

    def _tell(self, event: ElectionEvent) -> None:
        self._around.on_event(event)

    # Watching --------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Hear of changes for as long as this stub stands by. What is missed meanwhile is found by looking."""
        told = False
        while (changes := self._store.watch()) is not None:
            try:
                async for record in changes:
                    self._candidate.watched, told = True, False
                    self._candidate.heard(record, self._clock())
                    self._around.on_record()
                    self._woken.set()
            except StoreError as error:
                if not told:
                    self._tell(WatchFailed(str(error)))
                told = True
            self._candidate.watched = False
            await asyncio.sleep(self._timing.retry_seconds * (0.5 + self._around.random() / 2))

    # Letting go ------------------------------------------------------------------------------------

    async def _release(self) -> None:
        """Give up what is ours, unless told to hurry. Bounded by `RELEASE_SECONDS`."""
        if not self._candidate.may_be_in_record:
            return
        async with asyncio.TaskGroup() as group:
            hurried = group.create_task(self._hurried.wait(), name="election-hurried")
            releasing = group.create_task(self._try_release(), name="election-release")
            await asyncio.wait((hurried, releasing), return_when=asyncio.FIRST_COMPLETED)
            if not releasing.done():
                self._tell(NotReleased("told to end at once"))
            hurried.cancel()
            releasing.cancel()

    async def _try_release(self) -> None:
        try:
            async with asyncio.timeout(RELEASE_SECONDS):
                while self._candidate.may_be_in_record and not await self._try_release_once():
                    await self._pause_after_failure()
        except TimeoutError:
            self._tell(NotReleased("the store did not take it in time"))

    async def _try_release_once(self) -> bool:
        """Read, where that is needed, or write; return whether the lease was given up."""
        if self._candidate.must_read:
            await self._read()
            return False
        draft = self._candidate.begin_release(self._clock(), self._around.wall_clock())
        assert draft is not None, "a record that needs no reading is known to be ours"
        if not await self._write(draft):
            return False
        self._tell(Released())
        return True

    async def _pause_after_failure(self) -> None:
        await asyncio.sleep(0 if self._failed_since is None else RELEASE_RETRY_SECONDS)
