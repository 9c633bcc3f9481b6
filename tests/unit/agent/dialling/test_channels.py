"""Channels that reach the stub of another session."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, cast

import pytest

from agent.channel import Channel
from agent.dialling.channels import FiledChannels
from agent.dialling.roster import Roster, worker_of
from agent.enrolment_parts import AgentTls
from tests.unit.fakes import Clock, FakeStream, settle
from tunnel.core.http.message import ResponseHead
from tunnel.core.identifiers import RequestId
from tunnel.core.wire.control import AgentHello, StubHello
from tunnel.core.wire.exchange import Head
from tunnel.core.wire.framing import FrameBuffer, FrameType, encode_frame
from tunnel.kit.backoff import FAST_SECONDS

A = StubHello("a", token="token-a")
B = StubHello("b", token="token-b")
TLS, RENEWED = (AgentTls(*cast("Any", (None, None))) for _ in range(2))
SMALL = Head(RequestId(1), ResponseHead(200, []), 0)
LARGE = Head(RequestId(2), ResponseHead(200, []), 1_000_000)


class Balancer:
    """Leads each dial to the stub that the test names, and keeps what came of it."""

    def __init__(self) -> None:
        self.leads_to = [A]
        self.streams: list[FakeStream] = []
        self.dials = 0

    async def dial(self, channel: Channel) -> None:
        stub = self.leads_to[self.dials % len(self.leads_to)]
        self.dials += 1
        stream = FakeStream()
        self.streams.append(stream)
        stream.open(channel)
        stream.receive(replace(stub, token="").encode())
        if stream.closing:
            stream.lose()

    def tokens(self) -> list[str]:
        """What each connection that is open presents."""
        frames = [FrameBuffer().receive(bytes(each.written)) for each in self.streams if not each.closing]
        return [AgentHello.decode(payload).token for [(_, payload)] in frames]


class Pools:
    """The pools of two sessions behind one balancer."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self.balancer = Balancer()
        self.roster = Roster()
        self.tasks = tasks

    def pool(
        self, stub: StubHello, *, floor: int = 2, name: str = "stub.example.com", tls: AgentTls = TLS
    ) -> FiledChannels:
        """Make one, filed; `fill` is the test's."""
        pool = FiledChannels(
            self.roster, name, tls, stub, self.balancer.dial, self.tasks, floor=floor, limit=8
        )
        self.roster.file(worker_of(name, stub), cast("Any", _Session(stub, pool)))
        return pool


class _Session:
    def __init__(self, stub: StubHello, channels: FiledChannels) -> None:
        self.stub, self.channels = stub, channels


class _Speaker:
    def channel_ready(self, channel: Channel) -> None:
        self.channel = channel

    def channel_write_paused(self) -> None:
        """It writes nothing."""

    def channel_write_resumed(self) -> None:
        """It writes nothing."""

    def channel_lost(self, reason: str) -> None:
        self.lost = reason


@pytest.fixture
async def pools(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pools]:
    monkeypatch.setattr(random, "random", lambda: 1.0)
    async with asyncio.TaskGroup() as tasks:
        yield Pools(tasks)


async def fill(*pools: FiledChannels) -> None:
    for pool in pools:
        pool.fill()
    await settle()


async def test_a_channel_that_reaches_another_sessions_stub_is_given_to_that_session(pools: Pools) -> None:
    first, second = pools.pool(A), pools.pool(B)
    pools.balancer.leads_to = [B, A]
    await fill(first)
    assert sorted(pools.balancer.tokens()) == ["token-a", "token-b"]
    assert (len(first._open), len(second._open)) == (1, 1)
    assert not any(stream.closing for stream in pools.balancer.streams)
    assert pools.roster.counts.misdirected == 1


async def test_a_stub_of_another_name_gets_no_token_by_claiming_to_be_this_one(pools: Pools) -> None:
    honest, hostile = pools.pool(A), pools.pool(B, name="hostile.example.com")
    speaker = _Speaker()
    honest._waiting.append(speaker)  # a user who would be answered on whatever comes first
    pools.balancer.leads_to = [A]
    await fill(hostile)
    assert [bytes(stream.written) for stream in pools.balancer.streams] == [b"", b""]
    assert all(stream.closed for stream in pools.balancer.streams)
    assert not honest._open


async def test_a_channel_is_not_given_to_a_session_that_shows_another_certificate(pools: Pools) -> None:
    old, new = pools.pool(A, tls=TLS), pools.pool(B, tls=RENEWED)
    pools.balancer.leads_to = [B]
    await fill(old)
    assert all(stream.closed for stream in pools.balancer.streams)
    assert not new._open


async def test_what_nobody_wants_is_closed(pools: Pools) -> None:
    first, second = pools.pool(A), pools.pool(B)
    pools.balancer.leads_to = [B]
    await fill(second)
    await fill(first)
    assert [stream.closed for stream in pools.balancer.streams] == [False, False, True, True]
    assert not first._open


async def test_a_session_whose_stub_is_never_reached_is_dialled_for_less_and_less_often(
    pools: Pools, clock: Clock
) -> None:
    pool = pools.pool(A, floor=1)
    pools.balancer.leads_to = [B]
    await fill(pool)
    dials = []
    for _ in range(60):
        await clock.advance(1)
        dials.append(pools.balancer.dials)
    assert dials[-1] < 20
    assert dials[-1] - dials[-11] == 1
    pools.balancer.leads_to = [A]
    await clock.advance(10)
    assert pools.balancer.tokens() == ["token-a"]


async def test_a_hit_ends_the_waiting(pools: Pools, clock: Clock) -> None:
    pool = pools.pool(A, floor=1)
    pools.balancer.leads_to = [B, B, B, B, A]
    await fill(pool)
    for _ in range(10):
        await clock.advance(0.2)
    await clock.advance(1)
    assert len(pool._idle) == 1
    assert pool._misses.failures == 0


async def test_a_timer_that_fires_a_little_early_still_lets_go(pools: Pools, clock: Clock) -> None:
    pool = pools.pool(A, floor=1)
    pools.balancer.leads_to = [B, A]
    await fill(pool)
    await clock.advance(FAST_SECONDS - 1e-10)
    assert len(pool._idle) == 1


async def test_whoever_waits_has_a_channel_dialled_at_once(pools: Pools) -> None:
    pool = pools.pool(A, floor=1)
    pools.balancer.leads_to = [B, A]
    await fill(pool)
    speaker = _Speaker()
    assert pool.take(speaker) is None
    await settle()
    assert speaker.channel.stream is pools.balancer.streams[1]


async def test_a_closed_pool_adopts_nothing_and_dials_nothing(pools: Pools, clock: Clock) -> None:
    first, second = pools.pool(A), pools.pool(B)
    second.close("over", abort=False)
    pools.balancer.leads_to = [B]
    await fill(first)
    assert not second._open
    first.close("over", abort=False)
    dials = pools.balancer.dials
    await clock.advance(60)
    assert pools.balancer.dials == dials


# Coming to an end --------------------------------------------------------------------------------


async def ending(pools: Pools, head: Head) -> tuple[FiledChannels, FakeStream, "asyncio.Task[None]"]:
    """A pool of one channel, which has just carried an answer, and its end."""
    pool = pools.pool(A, floor=1)
    await fill(pool)
    channel = pool.take(_Speaker())
    assert channel is not None
    channel.start(head)
    if head is LARGE:
        channel.data(bytes(1_000_000))
    channel.end()
    stream = cast("FakeStream", channel.stream)
    finishing = pools.tasks.create_task(pool.finish("bye"))
    await settle()
    return pool, stream, finishing


async def test_finishing_waits_until_what_was_written_has_left(pools: Pools) -> None:
    _, stream, finishing = await ending(pools, SMALL)
    assert stream.closed
    assert not stream.aborted
    assert not finishing.done()
    for each in pools.balancer.streams:
        each.lose()
    await settle()
    assert finishing.done()


async def test_finishing_waits_for_a_slow_client(pools: Pools) -> None:
    pool, stream, finishing = await ending(pools, LARGE)
    assert pool.in_use == 1
    assert not stream.closing
    stream.receive(encode_frame(FrameType.DONE))
    await settle()
    assert stream.closed
    assert not finishing.done()
    for each in pools.balancer.streams:
        each.lose()
    await settle()
    assert finishing.done()
