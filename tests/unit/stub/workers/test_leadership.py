"""A parent that takes part in the election, and a worker that follows, in simulated time."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from stub.election.choice import FileLease
from stub.election.loop import Surroundings
from stub.election.record import LeaseRecord
from stub.leadership import Candidacy
from stub.workers import term as term_module
from stub.workers.leadership import ParentLeadership, WorkerLeadership
from stub.workers.term import SharedTerm
from tests.unit.stub.election.simulated_time import SimulatedLoop, now, simulated
from tests.unit.stub.election.stage import SharedRecord, StageStore
from tests.unit.stub.parts import Stub
from tunnel.aio.workers.link import Link
from tunnel.aio.workers.supervisor import Supervisor
from tunnel.core.wire.control import Active
from tunnel.core.wire.exchange import Request


class Store(StageStore):
    """A store that needs no opening."""

    async def close(self) -> None:
        """Nothing is open."""


class Worker:
    """A worker's stub, and the parent's link to it: what the parent says arrives when the test lets it."""

    def __init__(self, shared: SharedTerm) -> None:
        self.stub = Stub()
        self.agent = self.stub.agent()
        self.leadership = WorkerLeadership(shared, self.stub.office, self.stub.registry)
        self.late = False

    def send(self, **message: object) -> None:
        if not self.late:
            self.leadership.heard(json.loads(json.dumps(message)))

    def asks(self) -> list[Active | Request]:
        """Ask as a user, and return what the agent hears of it and of the lease."""
        self.user = self.stub.user()
        self.user.ask()
        return [event for event in self.agent.heard() if isinstance(event, Active | Request)]


class Family:
    """A parent and one worker."""

    def __init__(self) -> None:
        self.shared = SharedTerm()
        self.store = Store(SharedRecord())
        around = Surroundings(clock=now, random=lambda: 0.5)
        candidacy = Candidacy(
            lease=FileLease(Path("lease.json")),
            store=self.store,
            identity="one_0123456789abcdef",
            surroundings=around,
        )
        self.parent = ParentLeadership(candidacy, self.shared)
        self.worker = Worker(self.shared)
        self.parent.supervisor = cast("Supervisor", self)
        self.workers = [SimpleNamespace(facts={"agents": 1})]

    def tell(self, **message: object) -> None:
        self.worker.send(**message)

    async def active(self) -> None:
        while not self.parent.active:
            await asyncio.sleep(0.001)


def played(play: Callable[[Family], Any]) -> Callable[[pytest.MonkeyPatch], None]:
    """Make a test of a coroutine: it gets a family whose parent takes part."""

    async def run() -> None:
        family = Family()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(family.parent.run())
            await play(family)
            task.cancel()

    def test(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(term_module, "boottime", now)
        simulated(run)()

    test.__name__, test.__doc__ = play.__name__, play.__doc__
    return test


@played
async def test_a_worker_stands_by_until_its_parent_holds_the_lease(family: Family) -> None:
    assert family.worker.asks() == []
    status, fields, body = family.worker.user.answer()
    assert (status, fields["retry-after"], fields["connection"]) == (503, "1", "close")
    assert b"stands by" in body
    await family.active()
    active, request = family.worker.asks()
    assert active == Active("uid-1", 1)
    assert isinstance(request, Request)
    assert request.epoch == 1


@played
async def test_a_worker_of_a_parent_that_stands_still_answers_only_until_the_deadline(family: Family) -> None:
    await family.active()
    family.worker.asks()
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SimulatedLoop)
    loop.sleep_process(9.0)
    assert len(family.worker.asks()) == 1
    loop.sleep_process(2.0)
    assert family.worker.asks() == []
    assert family.worker.user.answer()[0] == 503


@played
async def test_renewals_keep_a_worker_answering(family: Family) -> None:
    await family.active()
    await asyncio.sleep(60.0)
    assert family.worker.leadership.active


@played
async def test_a_worker_that_has_not_heard_of_the_term_stands_by(family: Family) -> None:
    """Its requests would bear the last term's epoch, which agents refuse."""
    family.worker.late = True
    await family.active()
    assert family.worker.asks() == []
    family.worker.late = False
    family.parent.greet(cast("Link", family.worker))
    assert [type(event) for event in family.worker.asks()] == [Active, Request]


@played
async def test_when_the_lease_is_handed_over_the_worker_refuses_before_it_is_released(family: Family) -> None:
    await family.active()
    family.worker.asks()
    family.parent.elector.stop()
    assert family.worker.asks() == [], "the release has not even begun"
    await family.parent.hand_over()


@played
async def test_a_lost_term_and_the_next_one_are_told_apart(family: Family) -> None:
    await family.active()
    family.worker.asks()
    family.store.hangs = True
    await asyncio.sleep(11.0)
    assert family.worker.asks() == []
    family.store.hangs = False
    await family.active()
    active, request = family.worker.asks()
    assert isinstance(active, Active)
    assert isinstance(request, Request)
    assert request.epoch == active.epoch == 2


@played
async def test_a_parent_has_the_agents_that_its_workers_say_they_have(family: Family) -> None:
    """One without any leaves a free lease to others for a while."""
    assert family.parent.has_agents()
    family.workers[0].facts["agents"] = 0
    assert not family.parent.has_agents()
    family.workers[0].facts.clear()
    assert not family.parent.has_agents(), "its process has ended"


@played
async def test_workers_name_the_stub_that_holds_the_lease_to_their_agents(family: Family) -> None:
    await family.active()
    assert family.worker.leadership.known_instances == ("0123456789abcdef",)


@played
async def test_workers_hear_of_the_next_holder_as_soon_as_the_watch_tells(family: Family) -> None:
    """A standby whose watch tells each renewal never reads."""
    shared, stamp = family.store.shared, "2026-01-01T00:00:00.000000Z"
    first = shared.put(LeaseRecord(f"two_{'a' * 16}", 15, stamp, stamp, transitions=1))
    await asyncio.sleep(1.0)
    assert family.worker.leadership.known_instances == ("a" * 16,)
    shared.put(replace(first, holder=f"three_{'b' * 16}", transitions=2))
    await asyncio.sleep(0.001)
    assert family.worker.leadership.known_instances == ("b" * 16,)
