"""A wait that can be shortened and not lengthened."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from agent.dialling.alarm import Alarm
from tests.unit.fakes import Clock, settle


class Waiting:
    """An alarm and somebody who waits for it."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self.alarm = Alarm()
        self.task = tasks.create_task(self.alarm.wait())


@pytest.fixture
async def waiting(clock: Clock) -> AsyncIterator[Waiting]:
    async with asyncio.TaskGroup() as tasks:
        waiting = Waiting(tasks)
        await settle()
        yield waiting
        waiting.task.cancel()


async def test_it_waits_for_ever_where_nothing_is_due(waiting: Waiting, clock: Clock) -> None:
    await clock.advance(1e9)
    assert not waiting.task.done()


async def test_it_ends_when_it_is_due(waiting: Waiting, clock: Clock) -> None:
    waiting.alarm.within(10)
    await clock.advance(9)
    assert not waiting.task.done()
    await clock.advance(1)
    assert waiting.task.done()


async def test_it_is_brought_forward_and_never_put_off(waiting: Waiting, clock: Clock) -> None:
    waiting.alarm.within(10)
    waiting.alarm.within(5)
    waiting.alarm.within(60)
    await clock.advance(5)
    assert waiting.task.done()


async def test_it_is_moved_either_way_until_it_is_due(waiting: Waiting, clock: Clock) -> None:
    waiting.alarm.within(5)
    waiting.alarm.move(20)
    await clock.advance(19)
    assert not waiting.task.done()
    waiting.alarm.within(0)
    waiting.alarm.move(20)
    await settle()
    assert waiting.task.done()


async def test_what_was_due_before_the_wait_ends_it_at_once(clock: Clock) -> None:
    alarm = Alarm()
    alarm.within(0)
    await alarm.wait()
    alarm.clear()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await alarm.wait()
