"""A deadline that moves without moving its timer."""

import pytest

from stub.front.deadline import Deadline
from tests.unit.fakes import Clock


@pytest.fixture
def passed() -> list[float]:
    return []


@pytest.fixture
async def deadline(clock: Clock, passed: list[float]) -> Deadline:
    return Deadline(lambda: passed.append(1))


async def test_it_passes_once(deadline: Deadline, clock: Clock, passed: list[float]) -> None:
    deadline.set(5)
    await clock.advance(4.9)
    assert passed == []
    await clock.advance(0.2)
    assert passed == [1]
    await clock.advance(100)
    assert passed == [1]


async def test_it_can_be_moved_back_and_forth(deadline: Deadline, clock: Clock, passed: list[float]) -> None:
    deadline.set(5)
    deadline.set(50)
    await clock.advance(10)
    assert passed == []
    deadline.set(2)
    await clock.advance(3)
    assert passed == [1]


async def test_what_was_cleared_or_stopped_does_not_pass(
    deadline: Deadline, clock: Clock, passed: list[float]
) -> None:
    deadline.set(5)
    deadline.clear()
    await clock.advance(10)
    deadline.set(5)
    deadline.stop()
    await clock.advance(10)
    assert passed == []
