"""The agent's own questions."""

import asyncio
from typing import Any, cast

import pytest

from agent.facts.apiserver import Apiserver
from agent.upstream.credential import StaticToken
from agent.upstream.question import Answer, NoAnswer, NoRoom, TooMuch
from agent.upstream.target import UpstreamTarget
from tests.unit.agent.parts import Apiserver as Far
from tests.unit.agent.parts import Upstreams
from tests.unit.fakes import Clock, settle
from tunnel.core.errors import BadGateway, TooManyRequests

TARGET = UpstreamTarget("10.0.0.1", 6443, b"10.0.0.1:6443", b"/k8s", None, "10.0.0.1", StaticToken("t"))


class Asking:
    """A question that is under way."""

    def __init__(self, most_bytes: int = 1000) -> None:
        self.upstreams = Upstreams()
        self.body = bytearray()
        apiserver = Apiserver(TARGET, cast("Any", self.upstreams))
        question = apiserver.get(b"/readyz", self.take, most_bytes=most_bytes, seconds=5)
        self.task = asyncio.get_running_loop().create_task(question)

    def take(self, data: bytes | memoryview) -> None:
        if bytes(data) == b"bad":
            raise LookupError("the reader's own")
        self.body += data

    async def connected(self) -> Far:
        await settle()
        return self.upstreams.give()

    async def answer(self) -> Answer:
        await settle()
        return await self.task


@pytest.fixture
async def asking(clock: Clock) -> Asking:
    return Asking()


async def test_it_asks_with_the_agents_own_credential_and_nobodys_name(asking: Asking) -> None:
    far = await asking.connected()
    assert far.taken() == (
        b"GET /k8s/readyz HTTP/1.1\r\nHost: 10.0.0.1:6443\r\nAccept: application/json\r\n"
        b"User-Agent: cluster-tunnel-agent\r\nAuthorization: Bearer t\r\n\r\n"
    )
    far.ok(b"ok")
    assert (await asking.answer()).status == 200
    assert asking.body == b"ok"
    assert asking.upstreams.free == [far.connection]


async def test_the_round_trip_ends_with_the_head(asking: Asking, clock: Clock) -> None:
    far = await asking.connected()
    clock.now += 0.25
    far.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
    clock.now += 3
    far.answer(b"ok")
    assert await asking.answer() == Answer(200, 250.0)


async def test_the_body_of_another_status_is_nobodys(asking: Asking) -> None:
    far = await asking.connected()
    far.answer(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
    assert (await asking.answer()).status == 403
    assert asking.body == b""


async def failure(asking: Asking, kind: type[Exception]) -> str:
    with pytest.raises(kind) as caught:
        await asking.answer()
    return str(caught.value)


async def test_where_all_connections_are_in_use_nothing_was_asked(asking: Asking) -> None:
    await settle()
    asking.upstreams.refuse(TooManyRequests("all are in use", retry_after=1))
    assert await failure(asking, NoRoom) == "all are in use"


async def test_an_apiserver_that_cannot_be_reached_is_no_answer(asking: Asking) -> None:
    await settle()
    asking.upstreams.refuse(BadGateway("the apiserver cannot be reached: refused"))
    assert "refused" in await failure(asking, NoAnswer)


async def test_one_that_is_silent_is_given_up_and_its_connection_is_not_used_again(
    asking: Asking, clock: Clock
) -> None:
    far = await asking.connected()
    await clock.advance(5)
    assert await failure(asking, NoAnswer) == "it did not answer within 5 s"
    assert far.stream.aborted


async def test_a_connection_that_comes_too_late_is_closed(asking: Asking, clock: Clock) -> None:
    await settle()
    await clock.advance(5)
    await failure(asking, NoAnswer)
    assert asking.upstreams.give().stream.aborted


async def test_a_body_that_is_too_large_ends_it(clock: Clock) -> None:
    asking = Asking(most_bytes=3)
    far = await asking.connected()
    far.ok(b"four")
    await failure(asking, TooMuch)
    assert far.stream.aborted


async def test_what_its_reader_raises_is_raised_and_nothing_else_ends(asking: Asking) -> None:
    far = await asking.connected()
    far.ok(b"bad")
    assert await failure(asking, LookupError) == "the reader's own"
    assert far.stream.aborted


async def test_a_kept_connection_that_was_closed_just_now_is_replaced_once(asking: Asking) -> None:
    far = await asking.connected()
    far.connection._served = 1
    far.stream.lose()
    await settle()
    assert asking.upstreams.borrowers[0][1]
    second = asking.upstreams.give()
    second.connection._served = 1
    second.stream.lose()
    assert "closed the connection" in await failure(asking, NoAnswer)


async def test_a_101_is_no_answer(asking: Asking) -> None:
    far = await asking.connected()
    far.answer(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
    assert "101" in await failure(asking, NoAnswer)
    assert far.stream.aborted
