"""One response channel: what is written on it, and what becomes of that when it breaks."""

import asyncio
from typing import Any

import pytest

from agent.channels import PATIENCE_SECONDS
from agent.recent import ARRIVED_SECONDS
from tests.unit.agent.pooled import Speaking, Stub, begun, broke, filled, taken, used_up
from tests.unit.fakes import Clock, settle
from tunnel.aio.sockets import TUNNEL_LEG, TUNNEL_PATIENT_LEG
from tunnel.core import limits
from tunnel.core.channel.stub_side import StubChannel
from tunnel.core.http.message import ResponseHead
from tunnel.core.identifiers import RequestId
from tunnel.core.wire.control import Reject
from tunnel.core.wire.exchange import BODY_UNKNOWN, Head


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


async def test_a_channel_on_which_answers_are_left_untaken_carries_no_other_until_they_are_taken(
    tasks: asyncio.TaskGroup,
) -> None:
    stub = await filled(tasks, floor=1, limit=1)
    (speaker,) = taken(stub)
    (stream,) = stub.streams
    stream.pause_writing()
    used_up(speaker)
    assert (stub.pool.in_use, stub.pool.lingering) == (1, 1)
    (next_one,) = taken(stub)
    assert next_one.channel is None
    stream.resume_writing()
    assert next_one.channel is speaker.channel
    assert stub.pool.lingering == 0


async def test_an_idle_channel_whose_answers_turn_out_to_be_left_untaken_is_not_given_out(
    tasks: asyncio.TaskGroup,
) -> None:
    stub = await filled(tasks, floor=1, limit=2)
    used_up(taken(stub)[0])
    await settle()
    first, second = stub.streams
    second.pause_writing()
    speaker, waiting = taken(stub, 2)
    assert speaker.channel is not None
    assert speaker.channel.stream is first
    assert waiting.channel is None
    second.lose()
    assert stub.pool.lingering == 0


async def test_a_channel_whose_stub_says_no_hello_is_given_up_in_time(
    tasks: asyncio.TaskGroup, clock: Clock
) -> None:
    stub = Stub(tasks, floor=1, limit=1)
    stub.silent = True
    stub.pool.fill()
    await settle()
    (stream,) = stub.streams
    await clock.advance(limits.HELLO_SECONDS - 0.1)
    assert not stream.closing
    await clock.advance(0.1)
    assert stream.aborted


async def test_a_channel_that_was_greeted_stays(tasks: asyncio.TaskGroup, clock: Clock) -> None:
    stub = await filled(tasks, floor=2)
    await clock.advance(2 * limits.HELLO_SECONDS)
    assert stub.open == 2


async def test_a_response_that_may_be_left_unread_is_spared_the_limit_for_dead_paths(
    tasks: asyncio.TaskGroup, clock: Clock
) -> None:
    stub = await filled(tasks, floor=1, limit=1)
    (stream,) = stub.streams
    channel = begun(taken(stub)[0], 1)
    await clock.advance(PATIENCE_SECONDS)
    assert stream.options is None  # its HEAD may be lost
    await clock.advance(PATIENCE_SECONDS)
    assert stream.options is TUNNEL_PATIENT_LEG
    channel.end()
    near = StubChannel()
    near.receive(memoryview(stream.take()))
    stream.receive(near.send_done())
    begun(taken(stub)[0], 2)
    assert stream.options is TUNNEL_LEG


async def test_a_response_of_which_nothing_was_acknowledged_is_not_spared(
    tasks: asyncio.TaskGroup, clock: Clock
) -> None:
    stub = await filled(tasks, floor=1, limit=1)
    (stream,) = stub.streams
    stream.acknowledged_at = clock.now
    begun(taken(stub)[0], 1)
    for _ in range(4):
        await clock.advance(PATIENCE_SECONDS)
    assert stream.options is None
    stream.acknowledged_at = clock.now
    await clock.advance(PATIENCE_SECONDS)
    assert stream.options is TUNNEL_PATIENT_LEG


@pytest.mark.parametrize("closed", [False, True])
async def test_a_pipe_is_spared_as_well_even_where_it_outlives_its_session(
    tasks: asyncio.TaskGroup, clock: Clock, closed: bool
) -> None:
    stub = await filled(tasks, floor=1, limit=1)
    (stream,) = stub.streams
    (speaker,) = taken(stub)
    assert speaker.channel is not None
    speaker.channel.start(Head(RequestId(1), ResponseHead(101, [])))
    speaker.channel.become_pipe()
    if closed:
        stub.pool.close("the session is over", abort=False)
    await clock.advance(PATIENCE_SECONDS)
    await clock.advance(PATIENCE_SECONDS)
    assert stream.options is TUNNEL_PATIENT_LEG


async def test_a_pipe_leaves_the_pool_and_is_replaced(tasks: asyncio.TaskGroup) -> None:
    stub = await filled(tasks, floor=1, limit=2)
    (speaker,) = taken(stub)
    assert speaker.channel is not None
    speaker.channel.start(Head(RequestId(1), ResponseHead(101, [])))
    speaker.channel.become_pipe()
    await settle()
    assert stub.pool.in_use == 0


# What may be lost with it ------------------------------------------------------------------------


async def told(tasks: asyncio.TaskGroup, *lengths: int) -> tuple[Stub, Speaking, list[int]]:
    """A channel that has carried responses of these lengths, numbered from 1; and what is reported as lost from now on."""
    stub = await filled(tasks, floor=1, limit=1)
    lost: list[int] = []
    stub.pool.on_answer_lost = lost.append
    speaker = Speaking()
    for number, length in enumerate(lengths, 1):
        (speaker,) = taken(stub)
        begun(speaker, number, length).end()
    return stub, speaker, lost


async def test_every_small_answer_that_may_not_have_arrived_is_reported_when_the_channel_breaks(
    tasks: asyncio.TaskGroup,
) -> None:
    stub, _, lost = await told(tasks, 0, 0, 0)
    broke(stub, TimeoutError("Connection timed out"))
    assert lost == [1, 2, 3]


async def test_a_response_under_way_is_reported_when_the_channel_breaks(tasks: asyncio.TaskGroup) -> None:
    stub, _, lost = await told(tasks, 0)
    begun(taken(stub)[0], 2)
    broke(stub, TimeoutError("Connection timed out"))
    assert lost == [1, 2]


@pytest.mark.parametrize("error", [None, TimeoutError("not taken")])
async def test_a_response_that_was_cut_is_reported_when_its_channel_is_closed(
    tasks: asyncio.TaskGroup, error: Exception | None
) -> None:
    stub, _, lost = await told(tasks, 0)
    begun(taken(stub)[0], 2).cut()
    assert lost == []
    broke(stub, error)
    assert lost == [1, 2]


async def test_a_response_that_nobody_wants_is_not_reported_but_those_before_it_are(
    tasks: asyncio.TaskGroup,
) -> None:
    stub, _, lost = await told(tasks, 0)
    begun(taken(stub)[0], 2).cut(wanted=False)
    broke(stub)
    assert lost == [1]


@pytest.mark.parametrize("ending", ["reject", "end"])
async def test_answers_are_reported_when_the_stub_gives_the_channel_up(
    tasks: asyncio.TaskGroup, ending: str
) -> None:
    stub, _, lost = await told(tasks, 0)
    (stream,) = stub.streams
    if ending == "reject":
        stream.receive(Reject("go away").encode())
    else:
        stream.receive_end()
    assert lost == [1]
    broke(stub)
    assert lost == [1]


async def test_a_pipe_that_breaks_is_reported_with_the_answers_before_it(tasks: asyncio.TaskGroup) -> None:
    stub, _, lost = await told(tasks, 0)
    (speaker,) = taken(stub)
    channel = speaker.channel
    assert channel is not None
    channel.start(Head(RequestId(2), ResponseHead(101, [])))
    channel.become_pipe()
    channel.pipe_broke()
    assert lost == [1, 2]


async def test_what_is_known_to_have_arrived_is_not_reported(tasks: asyncio.TaskGroup, clock: Clock) -> None:
    stub, _, lost = await told(tasks, 0, BODY_UNKNOWN)
    (stream,) = stub.streams
    near = StubChannel()
    near.receive(memoryview(stream.take()))
    stream.receive(near.send_done())
    begun(taken(stub)[0], 3, 0).end()
    await clock.advance(2 * ARRIVED_SECONDS)
    broke(stub, TimeoutError("Connection timed out"))
    assert lost == []


async def test_an_idle_channel_that_the_agent_closes_reports_nothing(tasks: asyncio.TaskGroup) -> None:
    stub, _, lost = await told(tasks, 0)
    stub.pool.close("over", abort=False)
    broke(stub)
    assert lost == []


async def test_a_stub_that_breaks_the_protocol_loses_the_channel(tasks: asyncio.TaskGroup) -> None:
    stub = await filled(tasks)
    (speaker,) = taken(stub)
    assert speaker.channel is not None
    stream: Any = speaker.channel.stream
    stream.receive(Reject("go away").encode())
    assert stream.aborted
    assert "go away" in str(speaker.heard[0])
