"""The pool of response channels, and one channel in it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agent.channels import DIALS_AT_ONCE, PEAK_SECONDS, RETRY_SECONDS, Channel, ChannelPool
from tests.unit.agent.parts import STUB
from tests.unit.fakes import Clock, FakeStream, settle
from tunnel.aio.errors import ConnectFailed
from tunnel.core.channel.stub_side import ChannelGreeted, StubChannel
from tunnel.core.http.message import ResponseHead
from tunnel.core.identifiers import RequestId
from tunnel.core.wire.control import Reject, StubHello
from tunnel.core.wire.exchange import BODY_UNKNOWN, Head


class Speaking:
    """A speaker that remembers what it heard."""

    def __init__(self) -> None:
        self.heard: list[object] = []
        self.channel: Channel | None = None

    def channel_ready(self, channel: Channel) -> None:
        self.channel = channel

    def channel_write_paused(self) -> None:
        self.heard.append("paused")

    def channel_write_resumed(self) -> None:
        self.heard.append("resumed")

    def channel_lost(self, reason: str) -> None:
        self.heard.append(reason)


class Stub:
    """What channels are dialled to: it counts dials, lets them wait, fail, or be answered by another instance."""

    def __init__(self, tasks: asyncio.TaskGroup, floor: int, limit: int) -> None:
        self.streams: list[FakeStream] = []
        self.hello = STUB
        self.fails = self.waits = False
        self.under_way = self.most_under_way = self.dials = 0
        self.gate = asyncio.Event()
        self.pool = ChannelPool(STUB, self.dial, tasks, floor=floor, limit=limit)

    async def dial(self, channel: Channel) -> None:
        self.dials += 1
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        if self.waits:
            await self.gate.wait()
        self.under_way -= 1
        if self.fails:
            raise ConnectFailed("stub:8443", "refused")
        stream = FakeStream()
        stream.open(channel)
        self.streams.append(stream)
        stream.receive(self.hello.encode())

    @property
    def open(self) -> int:
        return sum(not stream.closing for stream in self.streams)

    def lose(self, stream: FakeStream) -> None:
        """A connection is gone, and its channel hears of it."""
        self.streams.remove(stream)
        stream.lose()

    def finish_closing(self) -> None:
        """Connections that the agent closes are gone."""
        for stream in [stream for stream in self.streams if stream.closing]:
            self.lose(stream)


@pytest.fixture
async def tasks(clock: Clock) -> AsyncIterator[asyncio.TaskGroup]:
    """Owns the dialling; what still waits when a test is over is cancelled."""

    class Over(Exception):
        pass

    with pytest.RaisesGroup(Over):
        async with asyncio.TaskGroup() as tasks:
            yield tasks
            raise Over


async def filled(tasks: asyncio.TaskGroup, floor: int = 2, limit: int = 8) -> Stub:
    """A pool that has dialled what it wants."""
    stub = Stub(tasks, floor, limit)
    stub.pool.fill()
    await settle()
    return stub


def taken(stub: Stub, count: int = 1) -> list[Speaking]:
    """Take channels."""
    speakers = [Speaking() for _ in range(count)]
    for speaker in speakers:
        channel = stub.pool.take(speaker)
        if channel is not None:
            speaker.channel = channel
    return speakers


def used_up(speaker: Speaking, length: int = 0) -> None:
    """Answer something on a speaker's channel, and end."""
    assert speaker.channel is not None
    speaker.channel.start(Head(RequestId(1), ResponseHead(200, []), length))
    speaker.channel.end()


# How many ----------------------------------------------------------------------------------------


async def test_the_floor_is_dialled_ahead_and_greets_with_the_sessions_token(
    tasks: asyncio.TaskGroup,
) -> None:
    stub = await filled(tasks, floor=3)
    assert stub.open == 3
    (greeted,) = StubChannel().receive(memoryview(stub.streams[0].take()))
    assert isinstance(greeted, ChannelGreeted)
    assert greeted.hello.token == "session-token"


async def test_what_is_taken_is_replaced_so_that_the_floor_stays_idle(tasks: asyncio.TaskGroup) -> None:
    stub = await filled(tasks, floor=2)
    speakers = taken(stub, 3)
    await settle()
    assert all(speaker.channel for speaker in speakers)
    assert stub.open == 5
    assert stub.pool.in_use == 3


async def test_no_more_are_open_than_the_limit(tasks: asyncio.TaskGroup) -> None:
    stub = await filled(tasks, floor=2, limit=4)
    speakers = taken(stub, 6)
    await settle()
    assert stub.open == 4
    assert [speaker.channel is not None for speaker in speakers] == [True] * 4 + [False] * 2
    used_up(speakers[0])
    assert speakers[4].channel is speakers[0].channel


async def test_only_so_many_are_dialled_at_once(tasks: asyncio.TaskGroup) -> None:
    stub = Stub(tasks, floor=2, limit=100)
    stub.waits = True
    taken(stub, 50)
    await settle()
    assert stub.under_way == DIALS_AT_ONCE
    stub.gate.set()
    await settle(50)
    assert stub.most_under_way == DIALS_AT_ONCE
    assert stub.open == 52


async def test_those_who_wait_are_served_in_order(tasks: asyncio.TaskGroup) -> None:
    stub = await filled(tasks, floor=1, limit=1)
    first, second, third = taken(stub, 3)
    used_up(first)
    assert (second.channel is not None, third.channel is not None) == (True, False)


async def test_who_left_is_not_served(tasks: asyncio.TaskGroup) -> None:
    stub = await filled(tasks, floor=1, limit=1)
    first, second, third = taken(stub, 3)
    stub.pool.leave(second)
    stub.pool.leave(second)
    used_up(first)
    assert (second.channel is not None, third.channel is not None) == (False, True)


async def test_a_burst_pays_for_dialling_once_in_ten_minutes(tasks: asyncio.TaskGroup, clock: Clock) -> None:
    stub = await filled(tasks, floor=1, limit=20)
    for speaker in taken(stub, 10):
        await settle()
        used_up(speaker)
    dialled = stub.dials
    await clock.advance(PEAK_SECONDS - 1)
    for speaker in taken(stub, 10):
        used_up(speaker)
    await settle()
    assert stub.dials == dialled


async def test_behind_ten_minutes_without_a_burst_the_surplus_is_closed(
    tasks: asyncio.TaskGroup, clock: Clock
) -> None:
    stub = await filled(tasks, floor=2, limit=20)
    speakers = taken(stub, 10)
    await settle()
    for speaker in speakers:
        used_up(speaker)
    await clock.advance(PEAK_SECONDS - 1)
    assert stub.open >= 10
    await clock.advance(1)
    assert stub.open == 2
    stub.finish_closing()
    await settle()
    assert stub.open == 2


async def test_channels_in_use_are_not_closed_as_surplus(tasks: asyncio.TaskGroup, clock: Clock) -> None:
    stub = await filled(tasks, floor=1, limit=20)
    watch, *others = taken(stub, 10)
    await settle()
    for speaker in others:
        used_up(speaker)
    await clock.advance(PEAK_SECONDS)
    assert stub.open == 2
    assert watch.channel is not None
    assert not watch.channel.stream.closing


# Trouble -----------------------------------------------------------------------------------------


async def test_a_dial_that_fails_is_tried_again_later(tasks: asyncio.TaskGroup, clock: Clock) -> None:
    stub = Stub(tasks, floor=1, limit=4)
    stub.fails = True
    stub.pool.fill()
    await settle()
    assert stub.dials == 1
    stub.fails = False
    await clock.advance(RETRY_SECONDS)
    assert stub.open == 1


async def test_a_channel_that_reached_another_stub_is_closed_and_dialled_again_later(
    tasks: asyncio.TaskGroup, clock: Clock
) -> None:
    stub = Stub(tasks, floor=1, limit=4)
    for other in (StubHello("another", worker=2), StubHello("stub-1", worker=3)):
        stub.hello = other
        stub.pool.fill()
        await settle()
        (stream,) = stub.streams
        assert stream.closed
        assert stream.take() == b""  # the token is another stub's business
        stub.lose(stream)
    assert stub.dials == 2
    stub.hello = STUB
    await clock.advance(RETRY_SECONDS)
    assert stub.open == 1


async def test_a_channel_that_is_rejected_is_not_dialled_again_at_once(
    tasks: asyncio.TaskGroup, clock: Clock
) -> None:
    stub = Stub(tasks, floor=1, limit=4)
    stub.hello = StubHello("stub-1", worker=9)
    stub.pool.fill()
    await settle()
    (stream,) = stub.streams
    stub.lose(stream)
    await settle()
    assert stub.dials == 1
    await clock.advance(RETRY_SECONDS)
    assert stub.dials == 2


async def test_an_idle_channel_that_is_lost_is_replaced_at_once(tasks: asyncio.TaskGroup) -> None:
    stub = await filled(tasks, floor=2)
    stub.lose(stub.streams[0])
    await settle()
    assert stub.open == 2


async def test_an_idle_channel_that_is_closing_is_not_given_out(tasks: asyncio.TaskGroup) -> None:
    stub = await filled(tasks, floor=2)
    stub.streams[1].close()
    (speaker,) = taken(stub)
    assert speaker.channel is not None
    assert speaker.channel.stream is stub.streams[0]


async def test_who_speaks_hears_that_the_channel_is_lost(tasks: asyncio.TaskGroup) -> None:
    stub = await filled(tasks)
    (speaker,) = taken(stub)
    assert speaker.channel is not None
    stream: Any = speaker.channel.stream
    stub.streams.remove(stream)
    stream.lose(ConnectionResetError("reset"))
    assert speaker.heard == ["the response channel broke: reset"]


async def test_an_answer_behind_which_the_channel_broke_is_reported_as_lost(tasks: asyncio.TaskGroup) -> None:
    stub = await filled(tasks)
    lost: list[RequestId] = []
    stub.pool.on_answer_lost = lost.append
    (speaker,) = taken(stub)
    assert speaker.channel is not None
    stream: Any = speaker.channel.stream
    used_up(speaker)
    stub.streams.remove(stream)
    stream.lose(ConnectionResetError("reset"))
    assert lost == [RequestId(1)]


async def test_a_stub_that_breaks_the_protocol_loses_the_channel(tasks: asyncio.TaskGroup) -> None:
    stub = await filled(tasks)
    (speaker,) = taken(stub)
    assert speaker.channel is not None
    stream: Any = speaker.channel.stream
    stream.receive(Reject("go away").encode())
    assert stream.aborted
    assert "go away" in str(speaker.heard[0])


# One channel -------------------------------------------------------------------------------------


async def test_a_large_response_keeps_its_channel_until_the_stub_is_done(tasks: asyncio.TaskGroup) -> None:
    stub = await filled(tasks, floor=1, limit=1)
    first, second = taken(stub, 2)
    assert first.channel is not None
    stream: Any = first.channel.stream
    near = StubChannel()
    used_up(first, BODY_UNKNOWN)
    assert second.channel is None
    near.receive(memoryview(stream.take()))
    stream.receive(near.send_done())
    assert second.channel is first.channel


async def test_pressure_is_told_and_remembered(tasks: asyncio.TaskGroup) -> None:
    stub = await filled(tasks, floor=1, limit=1)
    (speaker,) = taken(stub)
    channel = speaker.channel
    assert channel is not None
    stream: Any = channel.stream
    stream.pause_writing()
    assert channel.write_paused
    stream.resume_writing()
    assert not channel.write_paused
    assert speaker.heard == ["paused", "resumed"]


async def test_a_pipe_leaves_the_pool_and_is_replaced(tasks: asyncio.TaskGroup) -> None:
    stub = await filled(tasks, floor=1, limit=2)
    (speaker,) = taken(stub)
    assert speaker.channel is not None
    speaker.channel.start(Head(RequestId(1), ResponseHead(101, [])))
    speaker.channel.become_pipe()
    await settle()
    assert stub.pool.in_use == 0


# Closing -----------------------------------------------------------------------------------------


async def test_closing_ends_what_is_idle_and_lets_the_rest_finish(tasks: asyncio.TaskGroup) -> None:
    stub = await filled(tasks, floor=2)
    (speaker,) = taken(stub)
    await settle()
    stub.pool.close("the session is over", abort=False)
    assert stub.open == 1
    assert speaker.heard == []
    used_up(speaker)
    assert stub.open == 0
    assert stub.dials == 3


async def test_aborting_breaks_everything_off(tasks: asyncio.TaskGroup) -> None:
    stub = await filled(tasks, floor=2)
    (speaker,) = taken(stub)
    await settle()
    stub.pool.close("the stub is dead", abort=True)
    assert stub.open == 0
    assert speaker.heard == ["the stub is dead"]


async def test_who_waits_hears_that_no_channel_will_come(tasks: asyncio.TaskGroup) -> None:
    stub = await filled(tasks, floor=1, limit=1)
    _, waiting = taken(stub, 2)
    stub.pool.close("the session is over", abort=False)
    assert waiting.heard == ["the session is over"]


async def test_a_dial_that_ends_behind_the_closing_is_broken_off(
    tasks: asyncio.TaskGroup, clock: Clock
) -> None:
    stub = Stub(tasks, floor=1, limit=1)
    stub.waits = True
    stub.pool.fill()
    await settle()
    stub.pool.close("over", abort=False)
    stub.gate.set()
    await settle()
    assert stub.open == 0
    await clock.advance(PEAK_SECONDS)
    assert stub.dials == 1
