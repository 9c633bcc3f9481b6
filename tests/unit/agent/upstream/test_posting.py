"""What the agent asks the apiserver to make or to decide."""

import asyncio
import json
from typing import Any, cast

import pytest

from agent.upstream.credential import Credential, StaticToken
from agent.upstream.posting import ANSWER_BYTES, NotCreated, Poster
from agent.upstream.target import UpstreamTarget
from tests.unit.agent.parts import Apiserver, Upstreams
from tests.unit.fakes import Clock, settle
from tunnel.core.errors import BadGateway, TooManyRequests


class Asking:
    """An object that is being posted."""

    def __init__(self, credential: Credential | None = None) -> None:
        self.upstreams = Upstreams()
        own = credential or StaticToken("agents-own")
        target = UpstreamTarget("10.0.0.1", 6443, b"10.0.0.1:6443", b"/k8s", None, "10.0.0.1", own)
        poster = Poster(target, cast("Any", self.upstreams))
        self.task = asyncio.get_running_loop().create_task(poster.create("/x", {"a": 1}, "a thing"))

    async def connected(self) -> Apiserver:
        await settle()
        return self.upstreams.give()

    async def answer(self, status: int, body: bytes = b"{}") -> bytes:
        """Answer, and return what was asked."""
        far = await self.connected()
        far.answer(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))
        await settle()
        return far.taken()


@pytest.fixture
async def asking(clock: Clock) -> Asking:
    return Asking()


async def test_it_is_posted_with_the_agents_own_credential_and_nobodys_name(asking: Asking) -> None:
    sent = await asking.answer(201, json.dumps({"b": 2}).encode())
    assert sent == (
        b"POST /k8s/x HTTP/1.1\r\nHost: 10.0.0.1:6443\r\nAccept: application/json\r\n"
        b"Content-Type: application/json\r\nContent-Length: 7\r\nUser-Agent: cluster-tunnel-agent\r\n"
        b'Authorization: Bearer agents-own\r\n\r\n{"a":1}'
    )
    assert await asking.task == {"b": 2}


@pytest.mark.parametrize("status", [200, 401, 403, 500])
async def test_another_status_than_created_is_told(asking: Asking, status: int) -> None:
    await asking.answer(status)
    with pytest.raises(NotCreated) as caught:
        await asking.task
    assert caught.value.status == status


@pytest.mark.parametrize("body", [b"", b"x", b"\xff", b"[" * 60_000])
async def test_an_answer_that_is_not_json_is_the_apiservers_fault(asking: Asking, body: bytes) -> None:
    await asking.answer(201, body)
    with pytest.raises(BadGateway, match="a thing cannot be had: the apiserver's answer is not JSON"):
        await asking.task


async def test_an_answer_without_end_is_not_kept(asking: Asking) -> None:
    await asking.answer(201, b"x" * (ANSWER_BYTES + 1))
    with pytest.raises(BadGateway, match="too large"):
        await asking.task


async def test_where_all_connections_are_in_use_the_user_is_asked_to_come_again(asking: Asking) -> None:
    await settle()
    asking.upstreams.refuse(TooManyRequests("all are in use"))
    with pytest.raises(TooManyRequests) as caught:
        await asking.task
    assert caught.value.retry_after == 1


async def test_a_silent_apiserver_is_given_up(asking: Asking, clock: Clock) -> None:
    await asking.connected()
    await clock.advance(10)
    with pytest.raises(BadGateway, match="did not answer within 10 s"):
        await asking.task


class Renewable(StaticToken):
    can_renew = True

    async def renew(self) -> None:
        self._fields = [(b"Authorization", b"Bearer newer")]


async def test_a_401_renews_the_agents_own_credential_once(clock: Clock) -> None:
    asking = Asking(Renewable("old"))
    assert b"Bearer old" in await asking.answer(401)
    assert b"Bearer newer" in await asking.answer(401)
    with pytest.raises(NotCreated):
        await asking.task
