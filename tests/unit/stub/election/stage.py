"""A store in memory with faults that are switched on, and electors on it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from math import inf

from stub.election.candidate import Term
from stub.election.errors import StoreConflict, StoreUnavailable
from stub.election.events import ElectionEvent
from stub.election.loop import Elector, Surroundings
from stub.election.record import LeaseRecord
from tests.unit.stub.election.simulated_time import now

EMPTY = LeaseRecord()


class SharedRecord:
    """The record, and what was written when and by whom."""

    def __init__(self) -> None:
        self.record: LeaseRecord | None = None
        self.writes: list[tuple[float, LeaseRecord]] = []
        self.watchers: set[asyncio.Queue[LeaseRecord | None]] = set()
        self._version = 0

    def put(self, record: LeaseRecord) -> LeaseRecord:
        self._version += 1
        self.record = replace(record, version=str(self._version), uid=record.uid or "uid-1")
        self.writes.append((now(), self.record))
        for watcher in self.watchers:
            watcher.put_nowait(self.record)
        return self.record


class StageStore:
    """One stub's way to the record.

    Attributes:
        delay: seconds to the store, and again back.
        hangs: no call is answered, or has an effect.
        fails: every call is answered with an error, without effect.
        loses_answers: calls take effect and are not answered.
        watchable: whether there is a watch.
    """

    def __init__(self, shared: SharedRecord) -> None:
        self.shared = shared
        self.delay = 0.01
        self.hangs = self.fails = self.loses_answers = False
        self.watchable = True
        self.bounds: list[tuple[float, float]] = []

    async def read(self, timeout_seconds: float) -> LeaseRecord | None:
        return await self._call(lambda: self.shared.record, timeout_seconds)

    async def write(self, record: LeaseRecord, timeout_seconds: float) -> LeaseRecord:
        def write() -> LeaseRecord:
            if record.version != (self.shared.record or EMPTY).version:
                raise StoreConflict("another version")
            return self.shared.put(record)

        stored = await self._call(write, timeout_seconds)
        assert stored is not None
        return stored

    async def _call(self, effect: Callable[[], LeaseRecord | None], bound: float) -> LeaseRecord | None:
        self.bounds.append((now(), bound))
        await asyncio.sleep(inf if self.hangs else self.delay)
        if self.fails:
            raise StoreUnavailable("the store fails")
        result = effect()
        await asyncio.sleep(inf if self.loses_answers else self.delay)
        return result

    def watch(self) -> AsyncIterator[LeaseRecord | None] | None:
        return self._watch() if self.watchable else None

    async def _watch(self) -> AsyncIterator[LeaseRecord | None]:
        if self.fails or self.hangs:
            raise StoreUnavailable("no watch")
        events: asyncio.Queue[LeaseRecord | None] = asyncio.Queue()
        self.shared.watchers.add(events)
        try:
            if self.shared.record is not None:
                yield self.shared.record
            while True:
                yield await events.get()
        finally:
            self.shared.watchers.discard(events)

    async def close(self) -> None:
        """There is nothing to close."""


class Player:
    """An elector with its store, and a record of what it did."""

    def __init__(self, shared: SharedRecord, name: str) -> None:
        self.store = StageStore(shared)
        self.events: list[ElectionEvent] = []
        self.led: list[tuple[float, float]] = []
        self.terms: list[Term] = []
        self.cleanup_seconds = 0.0
        self.cleanups_done = 0
        self.fault: BaseException | None = None
        self.swallows_its_end = False
        self.resigns_after = inf
        self.task: asyncio.Task[None] | None = None
        around = Surroundings(clock=now, wall_clock=_wall, random=lambda: 0.5, on_event=self.events.append)
        self.elector = Elector(self.store, name, self.lead, surroundings=around)

    async def lead(self, term: Term) -> None:
        self.terms.append(term)
        began = now()
        try:
            with contextlib.suppress(*([asyncio.CancelledError] if self.swallows_its_end else [])):
                await asyncio.sleep(self.resigns_after)
            if self.fault is not None:
                raise self.fault
        finally:
            self.led.append((began, now()))
            await asyncio.sleep(self.cleanup_seconds)
            self.cleanups_done += 1

    def kinds(self) -> list[str]:
        return [type(event).__name__ for event in self.events]


def _wall() -> datetime:
    return datetime.fromtimestamp(now(), UTC)


@contextlib.asynccontextmanager
async def playing(*players: Player) -> AsyncIterator[None]:
    """The players' electors run for as long as the block lasts; what is left of them then is cancelled."""
    async with asyncio.TaskGroup() as group:
        for player in players:
            player.task = group.create_task(player.elector.run())
        yield
        for player in players:
            assert player.task is not None
            player.task.cancel()
