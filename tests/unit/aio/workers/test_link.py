"""What a supervisor and a worker say to each other."""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from tests.unit.fakes import settle
from tunnel.aio.workers.link import Link, Unanswered, open_link


class End:
    """One end of a pair, that notes what it hears."""

    link: Link

    def __init__(self) -> None:
        self.heard: list[Mapping[str, Any]] = []
        self.lost = asyncio.Event()
        self.running = 3

    async def open(self, end: socket.socket) -> None:
        answers = {"status": lambda: {"running": self.running}}
        self.link = await open_link(end, self.heard.append, self.lost.set, answers)


@pytest.fixture
async def ends() -> AsyncIterator[tuple[End, End]]:
    one, other = End(), End()
    for end, sock in zip((one, other), socket.socketpair(), strict=True):
        await end.open(sock)
    yield one, other
    for end in (one, other):
        end.link.close()
    await one.lost.wait()
    await other.lost.wait()


async def test_what_one_end_says_the_other_hears_in_order_and_whole(ends: tuple[End, End]) -> None:
    one, other = ends
    text = "x" * 300_000  # more than the kernel takes at once
    one.link.send(failed=text, usage=False)
    one.link.send(serving=True)
    assert await other.link.ask("status") == {"running": 3}
    assert other.heard == [{"failed": text, "usage": False}, {"serving": True}]


async def test_questions_are_answered_by_the_other_end_each_with_its_own_answer(
    ends: tuple[End, End],
) -> None:
    one, other = ends
    other.running = 5
    assert await asyncio.gather(one.link.ask("status"), other.link.ask("status")) == [
        {"running": 5},
        {"running": 3},
    ]


async def test_a_question_that_is_not_answered_in_time_is_given_up(ends: tuple[End, End]) -> None:
    one, other = ends
    other.link.transport.pause_reading()
    with pytest.raises(Unanswered, match=r"no answer within 0\.01 s"):
        await one.link.ask("status", 0.01)
    other.link.transport.resume_reading()
    assert await one.link.ask("status") == {"running": 3}, "a late answer is nobody else's"


async def test_when_one_end_goes_the_other_learns_of_it_and_its_questions_end(ends: tuple[End, End]) -> None:
    one, other = ends
    other.link.transport.pause_reading()
    asking = asyncio.get_running_loop().create_task(one.link.ask("status"))
    await settle()
    other.link.transport.abort()
    with pytest.raises(Unanswered, match="gone"):
        await asking
    await one.lost.wait()
    one.link.send(stop="now")  # for nobody
