"""A streamed body that meets a 401: it cannot be sent again from the agent, only by its client."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.upstream.credential import StaticToken, TokenFile
from tests.unit.agent.parts import Agent, Apiserver, head_of, upload
from tests.unit.fakes import Clock, settle
from tunnel.core import limits
from tunnel.core.identifiers import RequestId
from tunnel.core.session.events import BodyRefused
from tunnel.core.wire.exchange import Refused
from tunnel.kit.failures import CommandFailed

UNAUTHORIZED = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n{}"


class SlowToken(StaticToken):
    """A token of which a newer one comes when the test says so, or the reason why none does."""

    can_renew = True

    def __init__(self) -> None:
        super().__init__("old")
        self.newer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def renew(self) -> None:
        self._fields = StaticToken(await self.newer).fields(0.0)


class Stage:
    """An agent with a token file, and an upload under way.

    Args:
        credential: in place of the file.
    """

    def __init__(self, path: Path, tasks: asyncio.TaskGroup) -> None:
        self.path = path
        path.write_text("old")
        self.tasks = tasks

    def upload(self, credential: SlowToken | None = None) -> Apiserver:
        self.agent = Agent(credential=credential or TokenFile(self.path), tasks=self.tasks).connect()
        self.channel = self.agent.channels.add()
        self.agent.ask(upload())
        apiserver = self.agent.upstreams.give()
        self.agent.send(1, b"half")
        assert b"Bearer old" in apiserver.taken()
        return apiserver


@pytest.fixture
async def stage(clock: Clock, tmp_path: Path) -> AsyncIterator[Stage]:
    async with asyncio.TaskGroup() as tasks:
        yield Stage(tmp_path / "token", tasks)


async def test_a_token_that_was_replaced_makes_it_a_503_to_come_again_on(stage: Stage) -> None:
    apiserver = stage.upload()
    stage.path.write_text("new")
    apiserver.answer(UNAUTHORIZED)
    await settle()
    [refused] = stage.agent.heard(Refused)
    assert (refused.id, refused.code, refused.retryable) == (1, 503, True)
    assert "the agent's credential, which has just been replaced" in refused.message
    assert apiserver.stream.closing
    assert stage.channel.heard() == []


async def test_a_token_that_is_the_same_leaves_the_401_to_the_user(stage: Stage) -> None:
    stage.upload().answer(UNAUTHORIZED)
    await settle()
    head, body, end = stage.channel.heard()
    assert (head_of([head]).response.status, body, end) == (401, b"{}", "end")
    assert stage.agent.refused() == []


async def test_a_token_that_another_request_had_replaced_before_counts_as_well(stage: Stage) -> None:
    apiserver = stage.upload()
    stage.path.write_text("new")
    await stage.agent.link._credential.renew()
    apiserver.answer(UNAUTHORIZED)
    await settle()
    assert stage.agent.refused() == [(1, 503, True)]


async def test_the_answer_waits_while_a_newer_token_is_had(stage: Stage) -> None:
    credential = SlowToken()
    apiserver = stage.upload(credential)
    apiserver.answer(UNAUTHORIZED[:-1])
    await settle()
    assert not apiserver.stream.reading
    assert stage.channel.heard() == []
    credential.newer.set_result("old")
    await settle()
    apiserver.answer(b"}")
    head, *rest = stage.channel.heard()
    assert head_of([head]).response.status == 401
    assert rest == [b"{", b"}", "end"]
    assert stage.agent.heard(BodyRefused) == [BodyRefused(RequestId(1))]


async def test_a_newer_token_that_cannot_be_had_is_502(stage: Stage) -> None:
    credential = SlowToken()
    stage.upload(credential).answer(UNAUTHORIZED)
    credential.newer.set_exception(CommandFailed("the plugin failed"))
    await settle()
    assert stage.agent.refused() == [(1, 502, True)]


async def test_a_client_that_goes_away_meanwhile_is_not_answered(stage: Stage) -> None:
    credential = SlowToken()
    apiserver = stage.upload(credential)
    apiserver.answer(UNAUTHORIZED)
    stage.agent.cancel(1)
    credential.newer.set_result("new")
    await settle()
    assert apiserver.stream.closing
    assert (stage.agent.refused(), stage.channel.heard()) == ([], [])


async def test_what_comes_of_the_body_meanwhile_stays_within_its_window(stage: Stage) -> None:
    credential = SlowToken()
    apiserver = stage.upload(credential)
    apiserver.answer(UNAUTHORIZED)  # whole, so that the connection is given up
    room = stage.agent.room
    stage.agent.send(1, bytes(room))
    assert stage.agent.room == 0
    assert room <= limits.STREAM_WINDOW_MAX_BYTES
    credential.newer.set_result("new")
    await settle()
    assert stage.agent.refused() == [(1, 503, True)]
