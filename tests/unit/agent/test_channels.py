"""The pool of response channels."""

import asyncio
from typing import Any

import pytest

from agent.channels import DIALS_AT_ONCE, PEAK_SECONDS, RETRY_SECONDS
from tests.unit.agent.parts import STUB
from tests.unit.agent.pooled import Stub, filled, taken, used_up
from tests.unit.fakes import Clock, settle
from tunnel.core import limits
from tunnel.core.channel.stub_side import ChannelGreeted, StubChannel
from tunnel.core.wire.control import StubHello

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


@pytest.mark.parametrize("abort", [False, True])
async def test_a_channel_that_was_never_greeted_does_not_outlive_its_session_for_long(
    tasks: asyncio.TaskGroup, clock: Clock, abort: bool
) -> None:
    stub = Stub(tasks, floor=2, limit=2)
    stub.silent = True
    stub.pool.fill()
    await settle()
    stub.pool.close("the session is over", abort=abort)
    assert stub.open == (0 if abort else 2)
    await clock.advance(limits.HELLO_SECONDS)
    assert stub.open == 0


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
