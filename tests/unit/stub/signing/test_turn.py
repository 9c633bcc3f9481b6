"""One call on a client's connection."""

import asyncio
import json
from typing import Any, cast

import pytest

from certs.signed import BODY_BYTES
from stub.signing.endpoints import Answer, SigningEndpoints
from stub.signing.turn import SigningTurn
from tests.unit.fakes import settle
from tunnel.core.http.message import RequestHead

HEAD = RequestHead(b"POST", b"/.cluster-tunnel/join", [])


class Endpoints:
    """Answers when the test says."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.ready = asyncio.Event()
        self.failure: Exception | None = None

    async def answer(self, *asked: Any) -> Answer:
        self.asked.append(asked)
        await self.ready.wait()
        if self.failure is not None:
            raise self.failure
        return 200, [], b"{}"


@pytest.fixture
def endpoints() -> Endpoints:
    return Endpoints()


def begin(endpoints: Endpoints, tasks: asyncio.TaskGroup) -> tuple[SigningTurn, list[Answer]]:
    answers: list[Answer] = []
    real = cast("SigningEndpoints", endpoints)
    return SigningTurn(real, tasks, HEAD, b"der", "192.0.2.1", answers.append), answers


async def test_a_call_is_answered_once_it_is_whole(endpoints: Endpoints) -> None:
    async with asyncio.TaskGroup() as tasks:
        turn, answers = begin(endpoints, tasks)
        turn.body_received(b"{")
        turn.body_received(b"}")
        await settle()
        assert endpoints.asked == []
        turn.body_completed()
        await settle()
        assert endpoints.asked == [(b"POST", b"/.cluster-tunnel/join", b"{}", b"der", "192.0.2.1")]
        assert answers == []
        endpoints.ready.set()
    assert answers == [(200, [], b"{}")]


async def test_a_body_without_end_is_not_kept_and_answered_at_once(endpoints: Endpoints) -> None:
    endpoints.ready.set()
    async with asyncio.TaskGroup() as tasks:
        turn, answers = begin(endpoints, tasks)
        for _ in range(100):
            turn.body_received(bytes(BODY_BYTES // 4))
        turn.body_completed()
    assert [len(body) for _, _, body, _, _ in endpoints.asked] == [BODY_BYTES + 1]
    assert len(answers) == 1


async def test_a_client_that_is_gone_hears_nothing(endpoints: Endpoints) -> None:
    async with asyncio.TaskGroup() as tasks:
        turn, answers = begin(endpoints, tasks)
        turn.body_completed()
        await settle()
        turn.drop()
    assert answers == []
    async with asyncio.TaskGroup() as tasks:
        turn, answers = begin(endpoints, tasks)
        turn.drop()
        endpoints.ready.set()
        turn.body_completed()
    assert answers == []


async def test_a_defect_is_logged_and_answered_and_ends_nothing_else(
    endpoints: Endpoints, caplog: pytest.LogCaptureFixture
) -> None:
    endpoints.failure = RuntimeError("a bug with a secret")
    endpoints.ready.set()
    async with asyncio.TaskGroup() as tasks:
        turn, answers = begin(endpoints, tasks)
        turn.body_completed()
    ((status, _, body),) = answers
    assert status == 503
    assert "a bug" not in json.loads(body)["message"]
    assert "a call for a certificate failed" in caplog.text
