"""A request of the agent's own."""

import asyncio
from typing import Any, cast

import pytest

from agent.upstream.question import Answer, NoAnswer, NoRoom, NotInTime, Question, TooMuch
from tests.unit.agent.parts import Apiserver, Upstreams
from tests.unit.fakes import Clock, settle
from tunnel.core.errors import BadGateway, TooManyRequests

DATA = b"POST /x HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"


class Asking:
    """A question that is under way, and takes the bodies of 200 and 201."""

    def __init__(self, most_bytes: int = 1000) -> None:
        self.upstreams = Upstreams()
        self.body = bytearray()
        question = Question(
            cast("Any", self.upstreams), b"POST", DATA, self.take, statuses={200, 201}, most_bytes=most_bytes
        )
        self.task = asyncio.get_running_loop().create_task(question.ask(5))

    def take(self, data: bytes | memoryview) -> None:
        if bytes(data) == b"bad":
            raise LookupError("the reader's own")
        self.body += data

    async def connected(self) -> Apiserver:
        await settle()
        return self.upstreams.give()

    async def failure(self, kind: type[Exception]) -> str:
        await settle()
        with pytest.raises(kind) as caught:
            await self.task
        return str(caught.value)


@pytest.fixture
async def asking(clock: Clock) -> Asking:
    return Asking()


async def test_it_is_sent_as_it_is_and_its_answer_timed_to_the_head(asking: Asking, clock: Clock) -> None:
    far = await asking.connected()
    assert far.taken() == DATA
    clock.now += 0.25
    far.answer(b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n")
    clock.now += 3
    far.answer(b"ok")
    assert await asking.task == Answer(201, 250.0)
    assert asking.body == b"ok"
    assert asking.upstreams.free == [far.connection]


async def test_the_body_of_another_status_is_nobodys(asking: Asking) -> None:
    far = await asking.connected()
    far.answer(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
    assert (await asking.task).status == 403
    assert asking.body == b""


async def test_where_there_is_no_connection_nothing_was_asked(asking: Asking) -> None:
    await settle()
    asking.upstreams.refuse(TooManyRequests("all are in use"))
    assert await asking.failure(NoRoom) == "all are in use"


async def test_an_apiserver_that_cannot_be_reached_is_no_answer(asking: Asking) -> None:
    await settle()
    asking.upstreams.refuse(BadGateway("it cannot be reached"))
    assert await asking.failure(NoAnswer) == "it cannot be reached"


async def test_one_that_is_silent_is_given_up_and_its_connection_is_not_used_again(
    asking: Asking, clock: Clock
) -> None:
    far = await asking.connected()
    await clock.advance(5)
    assert await asking.failure(NotInTime) == "it did not answer within 5 s"
    assert far.stream.aborted


async def test_a_connection_that_comes_too_late_is_closed(asking: Asking, clock: Clock) -> None:
    await settle()
    await clock.advance(5)
    await asking.failure(NoAnswer)
    assert asking.upstreams.give().stream.aborted


async def test_cancelled_it_breaks_its_connection_off(asking: Asking) -> None:
    far = await asking.connected()
    asking.task.cancel()
    await settle()
    assert asking.task.cancelled()
    assert far.stream.aborted


@pytest.mark.parametrize(("most_bytes", "kind", "body"), [(3, TooMuch, b"four"), (9, LookupError, b"bad")])
async def test_a_body_that_cannot_be_taken_ends_it(
    clock: Clock, most_bytes: int, kind: type[Exception], body: bytes
) -> None:
    asking = Asking(most_bytes)
    far = await asking.connected()
    far.ok(body)
    await asking.failure(kind)
    assert far.stream.aborted


async def test_a_kept_connection_that_was_closed_just_now_is_replaced_once(asking: Asking) -> None:
    far = await asking.connected()
    far.connection._served = 1
    far.stream.lose()
    await settle()
    assert asking.upstreams.borrowers[0][1]
    asking.upstreams.give().stream.lose()
    assert "closed the connection" in await asking.failure(NoAnswer)


async def test_a_101_is_no_answer(asking: Asking) -> None:
    far = await asking.connected()
    far.answer(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
    assert "101" in await asking.failure(NoAnswer)
    assert far.stream.aborted
