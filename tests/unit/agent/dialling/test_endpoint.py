"""When an endpoint is dialled, and when not."""

import asyncio
import logging
import random
from collections import deque
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any, Final, cast

import pytest

from agent.dialling.endpoint import FORGIVEN_SECONDS, PROBE_SECONDS, SEEKING_TRIES, EndpointDialer
from agent.dialling.road import Endpoint
from agent.dialling.roster import Roster, Worker
from agent.dialling.session import FiledSession, Outcome
from tests.unit.fakes import Clock, settle
from tunnel.aio.errors import ConnectFailed
from tunnel.core.wire.control import StubHello
from tunnel.kit import backoff
from tunnel.kit.values import Address

NAME = "stub.example.com"
A, B, C = (Worker(NAME, instance, 0) for instance in "abc")
ENDPOINT = Endpoint(Address("192.0.2.1", 8443), NAME)


class Session:
    """As much of a session as an endpoint looks at."""

    close_reason = "it said nothing"

    def __init__(
        self, worker: Worker | None, outcome: Outcome, instances: tuple[str, ...], count: int = 1
    ) -> None:
        self.worker, self.outcome = worker, outcome
        self.stub = StubHello(worker.instance, worker.number, instances, workers=count) if worker else None


class Behind:
    """What lies behind the endpoint: a load balancer that leads to each of `workers` in turn."""

    def __init__(self, roster: Roster) -> None:
        self.roster = roster
        self.workers: deque[Worker] = deque()
        self.instances: tuple[str, ...] = ()
        self.count = 1
        """Of each stub's workers."""
        self.dialled_at: list[float] = []
        self.failure: str | None = None
        self.silent = False
        self.failures_told = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def open(self, endpoint: Endpoint) -> FiledSession:
        assert endpoint is ENDPOINT
        self.dialled_at.append(asyncio.get_running_loop().time())
        await self.gate.wait()
        if self.failure or (not self.workers and not self.silent):
            raise ConnectFailed("192.0.2.1:8443", self.failure or "refused")
        if self.silent:
            return cast("FiledSession", Session(None, Outcome.LOST, ()))
        worker = self.workers[0]
        self.workers.rotate(-1)
        known = self.roster.session_with(worker) is not None
        session: Any = Session(worker, Outcome.KNOWN if known else Outcome.FILED, self.instances, self.count)
        if not known:
            self.roster.file(worker, session)
        return cast("FiledSession", session)

    def lose(self, worker: Worker) -> None:
        """A session breaks."""
        session = self.roster.session_with(worker)
        assert session is not None
        self.roster.remove(worker, session)

    def told(self) -> None:
        self.failures_told += 1

    def waits(self) -> list[float]:
        """The pauses between the dials so far."""
        return [later - earlier for earlier, later in pairwise(self.dialled_at)]


class Running:
    """A dialer at work."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self.behind = Behind(Roster())
        self.dialer = EndpointDialer(ENDPOINT, self.behind.open, self.behind.roster, self.behind.told)
        self.tasks = tasks

    async def start(self, *workers: Worker) -> "Behind":
        self.behind.workers.extend(workers)
        self.task = self.tasks.create_task(self.dialer.run())
        await settle()
        return self.behind


FAST: Final = 0.25
"""In place of `FAST_SECONDS`: a sum of such steps is exact."""


async def pass_time(clock: Clock, seconds: float) -> None:
    """Let time pass in steps, so that what is due in between happens when it is due."""
    for _ in range(round(seconds / FAST)):
        await clock.advance(FAST)


@pytest.fixture
async def running(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    monkeypatch.setattr(random, "random", lambda: 1.0)
    monkeypatch.setattr(backoff, "FAST_SECONDS", FAST)
    async with asyncio.TaskGroup() as tasks:
        running = Running(tasks)
        yield running
        running.task.cancel()


async def test_an_endpoint_that_does_not_answer_is_tried_thrice_fast_and_then_every_ten_seconds(
    running: Running, clock: Clock
) -> None:
    behind = await running.start()
    await pass_time(clock, 60)
    assert behind.waits() == [FAST, FAST, FAST, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0, 10.0]
    assert behind.failures_told == 12
    assert behind.roster.counts.failed == {"connect to": 12}


async def test_a_stub_that_says_nothing_is_a_failure_too(running: Running, clock: Clock) -> None:
    running.behind.silent = True
    behind = await running.start()
    await clock.advance(FAST)
    assert len(behind.dialled_at) == 2
    assert behind.roster.counts.failed == {"hello": 2}


async def test_an_endpoint_with_one_stub_is_tried_ever_more_rarely(running: Running, clock: Clock) -> None:
    behind = await running.start(A)
    await pass_time(clock, 250)
    assert behind.waits() == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, PROBE_SECONDS, PROBE_SECONDS, PROBE_SECONDS]
    assert behind.roster.workers == {A}


async def test_behind_a_load_balancer_each_stub_found_lets_the_next_be_sought_soon(
    running: Running, clock: Clock
) -> None:
    behind = await running.start(A, A, A, B, A, B, C)
    await pass_time(clock, 1 + 2 + 4)
    assert behind.roster.workers == {A, B}
    await pass_time(clock, 1 + 2 + 4)
    assert behind.roster.workers == {A, B, C}


async def test_while_a_stub_is_missing_that_another_named_ten_seconds_are_the_longest_wait(
    running: Running, clock: Clock
) -> None:
    running.behind.instances = ("a", "b")
    behind = await running.start(A)
    await pass_time(clock, 100)
    assert behind.waits()[-3:] == [10.0, 10.0, 10.0]


async def test_a_lost_stub_is_sought_at_once(running: Running, clock: Clock) -> None:
    behind = await running.start(A)
    await pass_time(clock, 200)
    dials = len(behind.dialled_at)
    behind.lose(A)
    await clock.advance(FAST)
    assert len(behind.dialled_at) == dials + 1
    assert behind.roster.workers == {A}


async def test_a_stub_that_others_led_to_is_not_sought_here(running: Running, clock: Clock) -> None:
    behind = await running.start(A)
    behind.roster.file(B, cast("Any", Session(B, Outcome.FILED, ())))
    behind.lose(B)
    await clock.advance(0.75)
    assert len(behind.dialled_at) == 1


async def test_a_stub_that_closes_every_session_is_not_dialled_in_a_busy_loop(
    running: Running, clock: Clock
) -> None:
    behind = await running.start(A)
    for _ in range(120):
        if A in behind.roster.workers:
            behind.lose(A)
        await clock.advance(FAST)
    assert behind.waits() == [FAST, FAST, FAST, 1.0, 2.0, 4.0, 8.0, 10.0]


async def test_troubles_that_are_far_apart_have_nothing_to_do_with_each_other(
    running: Running, clock: Clock
) -> None:
    behind = await running.start(A)
    for _ in range(5):
        await pass_time(clock, FORGIVEN_SECONDS + 1)
        behind.lose(A)
        dials = len(behind.dialled_at)
        await clock.advance(FAST)
        assert len(behind.dialled_at) == dials + 1


async def test_a_draining_stub_lets_others_be_sought_soon(running: Running, clock: Clock) -> None:
    behind = await running.start(A)
    await pass_time(clock, 200)
    behind.workers.append(B)
    behind.roster.drains(A)
    await pass_time(clock, 1 + 2)
    assert behind.roster.workers == {A, B}


async def test_hurry_skips_the_wait(running: Running, clock: Clock) -> None:
    behind = await running.start()
    await pass_time(clock, 30)
    dials = len(behind.dialled_at)
    running.dialer.hurry()
    await settle()
    assert len(behind.dialled_at) == dials + 1


async def test_what_happens_during_a_dial_counts(running: Running, clock: Clock) -> None:
    behind = await running.start(A)
    behind.gate.clear()
    await clock.advance(1)
    running.dialer.hurry()
    behind.gate.set()
    await settle()
    assert len(behind.dialled_at) == 3


async def test_a_retired_endpoint_is_dialled_no_more(running: Running, clock: Clock) -> None:
    behind = await running.start(A)
    running.dialer.retire()
    await settle()
    assert running.task.done()
    assert behind.roster.seekers == set()


async def test_a_dead_address_is_one_line_in_the_log_while_another_one_serves(
    running: Running, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    running.behind.roster.file(B, cast("Any", Session(B, Outcome.FILED, ())))
    behind = await running.start()
    await pass_time(clock, 60)
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    behind.lose(B)
    await pass_time(clock, 20)
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) > 2


# Workers -----------------------------------------------------------------------------------------


async def test_a_stub_that_has_more_workers_is_dialled_in_haste_until_all_are_met(
    running: Running, clock: Clock
) -> None:
    running.behind.count = 3
    behind = await running.start(
        Worker(NAME, "a", 0),
        Worker(NAME, "a", 0),
        Worker(NAME, "a", 1),
        Worker(NAME, "a", 0),
        Worker(NAME, "a", 2),
    )
    await pass_time(clock, 10.0)
    assert behind.roster.workers == {Worker(NAME, "a", number) for number in range(3)}
    assert behind.waits()[:4] == [FAST] * 4
    assert behind.waits()[4:6] == [1.0, 2.0], "then as at any other endpoint"


async def test_haste_for_a_worker_that_never_comes_has_an_end(running: Running, clock: Clock) -> None:
    running.behind.count = 2
    behind = await running.start(Worker(NAME, "a", 0))
    await pass_time(clock, 30.0)
    assert behind.waits()[: 2 * SEEKING_TRIES] == [FAST] * 2 * SEEKING_TRIES
    assert behind.waits()[2 * SEEKING_TRIES :][:4] == [1.0, 2.0, 4.0, 8.0]


async def test_a_worker_that_is_replaced_is_looked_for_in_haste_again(running: Running, clock: Clock) -> None:
    running.behind.count = 2
    behind = await running.start(Worker(NAME, "a", 0), Worker(NAME, "a", 1))
    await pass_time(clock, 30.0)
    dials = len(behind.dialled_at)
    behind.lose(Worker(NAME, "a", 1))
    await pass_time(clock, 2 * FAST)
    assert len(behind.dialled_at) == dials + 2
    assert behind.roster.workers == {Worker(NAME, "a", number) for number in range(2)}
