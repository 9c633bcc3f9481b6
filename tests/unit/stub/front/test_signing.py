"""Calls for certificates on the users' port: the stub answers them itself."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from stub.front.office import Signing
from stub.signing.endpoints import Answer
from tests.unit.fakes import Clock, settle
from tests.unit.stub.parts import Stub
from tunnel.aio.stream import TlsFacts
from tunnel.core import limits
from tunnel.core.errors import Unavailable

JOIN = "POST /.cluster-tunnel/join"


class Endpoints:
    """Remembers its calls, and answers when it is let."""

    def __init__(self) -> None:
        self.calls: list[tuple[bytes, bytes, bytes, bytes | None, str]] = []
        self.free = asyncio.Event()
        self.free.set()

    async def answer(
        self, method: bytes, path: bytes, body: bytes, certificate: bytes | None, address: str
    ) -> Answer:
        self.calls.append((method, path, body, certificate, address))
        await self.free.wait()
        return 200, [(b"Content-Type", b"application/json")], b"{}"


@pytest.fixture
async def endpoints(stub: Stub) -> AsyncIterator[Endpoints]:
    endpoints = Endpoints()
    async with asyncio.TaskGroup() as tasks:
        stub.office.signing = Signing(cast("Any", endpoints), tasks)
        yield endpoints


async def test_it_is_answered_without_a_certificate_and_the_connection_closed(
    stub: Stub, endpoints: Endpoints
) -> None:
    agent = stub.agent()
    user = stub.user(TlsFacts("TLSv1.3", "http/1.1", None, None))
    user.ask(JOIN, "Content-Length: 7", body=b'{"a":1}')
    await settle()
    assert endpoints.calls == [(b"POST", b"/.cluster-tunnel/join", b'{"a":1}', None, "192.0.2.1")]
    assert user.answer()[::2] == (200, b"{}")
    assert user.stream.closed
    assert agent.asked() == []


async def test_a_certificate_is_handed_on_whoever_signed_it(stub: Stub, endpoints: Endpoints) -> None:
    stub.user().ask(JOIN)
    await settle()
    assert endpoints.calls[0][3] == b"alice"


async def test_it_is_never_carried_to_a_cluster_whatever_was_seen_before(
    stub: Stub, endpoints: Endpoints
) -> None:
    agent = stub.agent()
    user = stub.user()
    user.ask("POST /api/v1/namespaces")
    agent.asked()
    agent.answer(1)
    user.take()
    user.ask(JOIN)  # the same lines behind another request line
    await settle()
    assert agent.asked() == []
    assert len(endpoints.calls) == 1


async def test_a_standby_answers_it_too(stub: Stub, endpoints: Endpoints) -> None:
    """An agent that joins reaches whichever stub its address leads to; the folder's lock keeps the tokens' uses apart."""

    class Standby:
        def require_active(self) -> None:
            raise Unavailable("this stub stands by", retry_after=1)

    stub.office.leadership = Standby()
    user = stub.user()
    user.ask(JOIN)
    await settle()
    assert user.answer()[0] == 200


async def test_behind_a_request_that_still_runs_it_is_refused(stub: Stub, endpoints: Endpoints) -> None:
    stub.agent()
    user = stub.user()
    user.ask("GET /api/v1/pods?watch=true")
    user.ask(JOIN)
    await settle()
    assert endpoints.calls == []
    user.front.abort("the test is over")
    refused = stub.book.lines[-1][0]
    assert (refused.method, refused.target) == (b"POST", b"/.cluster-tunnel/join"), (
        "as its audit event has it"
    )


@pytest.mark.parametrize(
    ("more", "seconds", "status"),
    [(b"", limits.HEAD_SECONDS, 408), (b"not a chunk\r\n", 0.0, 400)],
    ids=["that does not come", "that is malformed"],
)
async def test_a_body_is_refused_under_the_name_of_its_call(
    stub: Stub, endpoints: Endpoints, clock: Clock, more: bytes, seconds: float, status: int
) -> None:
    user = stub.user()
    user.ask(JOIN, "Transfer-Encoding: chunked", body=b"2\r\nab\r\n")
    user.send(more)
    await clock.advance(seconds)
    assert user.answer()[0] == status
    assert endpoints.calls == []
    ((refused, _),) = stub.book.lines
    assert refused.target == b"/.cluster-tunnel/join"


async def test_what_follows_a_call_that_is_whole_takes_no_time_from_it(
    stub: Stub, endpoints: Endpoints, clock: Clock
) -> None:
    endpoints.free.clear()
    user = stub.user()
    user.ask(JOIN)
    user.send(b"\r\n")
    await clock.advance(limits.HEAD_SECONDS * 2)
    endpoints.free.set()
    await settle()
    assert user.answer()[0] == 200


async def test_a_client_that_leaves_is_not_answered(stub: Stub, endpoints: Endpoints) -> None:
    endpoints.free.clear()
    user = stub.user()
    user.ask(JOIN)
    await settle()
    assert not user.front.idle
    user.stream.lose()
    endpoints.free.set()
    await settle()
    assert user.take() == b""
