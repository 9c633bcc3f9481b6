"""The agent's connections to the apiserver: kept, given out, and dialled."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from agent.upstream.connection import UpstreamConnection
from agent.upstream.pool import IDLE_SECONDS, UpstreamPool
from tests.unit.fakes import Clock, FakeStream, settle
from tunnel.aio.errors import ConnectFailed
from tunnel.core.errors import Refusal


class Borrowing:
    """A borrower that remembers what it got."""

    def __init__(self) -> None:
        self.connection: UpstreamConnection | None = None
        self.refusal: Refusal | None = None

    def connected(self, connection: UpstreamConnection) -> None:
        self.connection = connection

    def not_connected(self, refusal: Refusal) -> None:
        self.refusal = refusal

    @property
    def stream(self) -> FakeStream:
        assert self.connection is not None
        return cast("FakeStream", self.connection.stream)


class Apiserver:
    """Where connections are dialled to."""

    def __init__(self) -> None:
        self.dials = 0
        self.deadlines: list[float] = []
        self.failure: str | None = None
        self.closes_at_once = False

    async def connect(self, connection: UpstreamConnection, deadline: float) -> None:
        self.dials += 1
        self.deadlines.append(deadline)
        await asyncio.sleep(0)
        if self.failure:
            raise ConnectFailed("10.0.0.1:6443", self.failure)
        stream = FakeStream()
        stream.open(connection)
        if self.closes_at_once:
            stream.lose(ConnectionResetError("reset"))


class Pool:
    """A pool, and who borrows from it."""

    def __init__(self, tasks: asyncio.TaskGroup, limit: int = 3) -> None:
        self.apiserver = Apiserver()
        self.pool = UpstreamPool(cast("Any", self.apiserver), tasks, limit=limit, connect_seconds=10)

    async def borrow(self, *, fresh: bool = False) -> Borrowing:
        borrower = Borrowing()
        self.pool.borrow(borrower, fresh=fresh)
        await settle()
        return borrower

    def give_back(self, *borrowers: Borrowing) -> None:
        for borrower in borrowers:
            assert borrower.connection is not None
            self.pool.connection_free(borrower.connection)


@pytest.fixture
async def pool(clock: Clock) -> AsyncIterator[Pool]:
    async with asyncio.TaskGroup() as tasks:
        pool = Pool(tasks)
        yield pool
        pool.pool.close()


async def test_a_connection_is_dialled_where_none_is_idle(pool: Pool, clock: Clock) -> None:
    assert (await pool.borrow()).connection is not None
    assert pool.apiserver.deadlines == [clock.now + 10]


async def test_an_idle_connection_is_used_again(pool: Pool) -> None:
    first = await pool.borrow()
    pool.give_back(first)
    assert (await pool.borrow()).connection is first.connection
    assert pool.apiserver.dials == 1


async def test_the_connection_used_last_is_used_first(pool: Pool) -> None:
    first, second = await pool.borrow(), await pool.borrow()
    pool.give_back(first, second)
    assert (await pool.borrow()).connection is second.connection


async def test_a_fresh_one_is_dialled_although_one_is_idle(pool: Pool) -> None:
    first = await pool.borrow()
    pool.give_back(first)
    assert (await pool.borrow(fresh=True)).connection is not first.connection


async def test_a_connection_that_is_closing_is_not_given_out(pool: Pool) -> None:
    first = await pool.borrow()
    pool.give_back(first)
    first.stream.close()
    assert (await pool.borrow()).connection is not first.connection


async def test_a_connection_comes_back_read_again(pool: Pool) -> None:
    first = await pool.borrow()
    first.stream.pause_reading()
    pool.give_back(first)
    assert first.stream.reading


async def test_in_doubt_what_is_idle_is_dropped_and_what_is_in_use_is_not(pool: Pool) -> None:
    idle, used = await pool.borrow(), await pool.borrow()
    pool.give_back(idle)
    pool.pool.doubt()
    assert (idle.stream.aborted, used.stream.aborted) == (True, False)
    assert (await pool.borrow()).connection not in (idle.connection, used.connection)
    idle.stream.lose()
    assert (await pool.borrow()).connection is not None  # the dropped one does not count


async def test_above_the_limit_a_request_is_refused(pool: Pool) -> None:
    borrowers = [await pool.borrow() for _ in range(3)]
    refused = await pool.borrow()
    assert refused.refusal is not None
    assert refused.refusal.code == 429
    assert "all 3 connections" in refused.refusal.message
    borrowers[0].stream.lose()
    assert (await pool.borrow()).connection is not None


async def test_what_is_being_dialled_counts(pool: Pool) -> None:
    borrowers = [Borrowing() for _ in range(4)]
    for borrower in borrowers:
        pool.pool.borrow(borrower)
    assert borrowers[3].refusal is not None
    await settle()
    assert pool.apiserver.dials == 3


async def test_connections_expire_oldest_first(pool: Pool, clock: Clock) -> None:
    first, second = await pool.borrow(), await pool.borrow()
    pool.give_back(first)
    await clock.advance(IDLE_SECONDS / 2)
    pool.give_back(second)
    await clock.advance(IDLE_SECONDS / 2)
    assert (first.stream.closed, second.stream.closed) == (True, False)
    await clock.advance(IDLE_SECONDS / 2)
    assert second.stream.closed


async def test_a_connection_in_use_does_not_expire(pool: Pool, clock: Clock) -> None:
    first, watch = await pool.borrow(), await pool.borrow()
    pool.give_back(first)
    await clock.advance(10 * IDLE_SECONDS)
    assert not watch.stream.closing


async def test_an_expired_connection_makes_room(pool: Pool, clock: Clock) -> None:
    borrowers = [await pool.borrow() for _ in range(3)]
    pool.give_back(*borrowers)
    await clock.advance(IDLE_SECONDS)
    assert [(await pool.borrow()).connection is not None for _ in range(3)] == [True] * 3


async def test_an_apiserver_that_cannot_be_reached_is_said_until_it_can(
    pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    pool.apiserver.failure = "connection refused"
    refused = await pool.borrow()
    assert refused.refusal is not None
    assert (refused.refusal.code, pool.pool.reachable) == (502, False)
    assert "connection refused" in refused.refusal.message
    assert "the apiserver cannot be reached" in caplog.messages
    pool.apiserver.failure = None
    assert (await pool.borrow()).connection is not None
    assert pool.pool.reachable


async def test_a_connection_that_closes_before_it_is_used_is_not_given_out(pool: Pool) -> None:
    """Its handler has heard of the end already: a request on it would wait for ever."""
    pool.apiserver.closes_at_once = True
    refused = await pool.borrow()
    assert refused.connection is None
    assert refused.refusal is not None
    assert refused.refusal.code == 502
    pool.apiserver.closes_at_once = False
    assert [(await pool.borrow()).connection is not None for _ in range(3)] == [True] * 3


async def test_closing_breaks_every_connection_off(pool: Pool, clock: Clock) -> None:
    first, second = await pool.borrow(), await pool.borrow()
    pool.give_back(first)
    pool.pool.close()
    assert first.stream.aborted
    assert second.stream.aborted


async def test_behind_its_end_nothing_is_dialled(pool: Pool) -> None:
    """Whoever still asks may do so when the tasks that would dial are over."""
    pool.pool.close()
    late = await pool.borrow()
    assert late.refusal is not None
    assert late.refusal.code == 503
    assert pool.apiserver.dials == 0
