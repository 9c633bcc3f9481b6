"""What an agent waits for before it dials, and that it can be told to stop meanwhile."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from agent import preparation as module
from agent.enrolment import Enrolment
from agent.preparation import Preparation, Prepared
from agent.settings import AgentSettings
from agent.upstream.credential import NoToken
from agent.upstream.target import UpstreamTarget
from tests.unit.fakes import settle
from tunnel.kit.failures import CommandFailed
from tunnel.kit.values import Address


class Gate:
    """Stands for a plugin or a stub: it answers, or fails, when it is told."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def passed(self) -> None:
        await self.answer


class Plugin(Gate, NoToken):
    """A credential that has to be fetched."""

    can_renew = True

    async def renew(self) -> None:
        await self.passed()


class Joining(Gate):
    """An enrolment."""

    def __init__(self, joined: AgentSettings) -> None:
        super().__init__()
        self._joined = joined

    async def enrol(self) -> AgentSettings:
        await self.passed()
        return self._joined


class Scene:
    """An agent that needs both."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        settings = AgentSettings(stub=(Address("stub.test", 8443),), state=folder)
        self.joined = replace(settings, name="joined")
        self.plugin, self.joining = Plugin(), Joining(self.joined)
        monkeypatch.setattr(module, "make_enrolment", lambda *_: cast("Enrolment", self.joining))
        target = UpstreamTarget("10.0.0.1", 443, b"10.0.0.1", b"", None, "10.0.0.1", self.plugin)
        self.preparation = Preparation(settings, target)
        self.stopping = asyncio.Event()
        self.task = asyncio.get_running_loop().create_task(self.preparation.run(self.stopping))

    async def problem(self) -> str | None:
        await settle()
        return self.preparation.problem()


@pytest.fixture
async def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(tmp_path, monkeypatch)


async def test_what_is_not_there_yet_is_told_step_by_step(scene: Scene) -> None:
    assert await scene.problem() == "no credential yet"
    scene.plugin.answer.set_result(None)
    assert await scene.problem() == "joining"
    scene.joining.answer.set_result(None)
    assert await scene.problem() is None
    assert await scene.task == Prepared(scene.joined, cast("Enrolment", scene.joining))


@pytest.mark.parametrize("fetched", [False, True], ids=["credential", "certificate"])
async def test_the_order_to_stop_ends_the_wait(scene: Scene, fetched: bool) -> None:
    if fetched:
        scene.plugin.answer.set_result(None)
    await settle()
    scene.stopping.set()
    assert await scene.task is None
    assert (scene.joining if fetched else scene.plugin).answer.cancelled()


async def test_a_refusal_is_raised_as_it_is(scene: Scene) -> None:
    scene.plugin.answer.set_result(None)
    scene.joining.answer.set_exception(CommandFailed("the token is used up"))
    with pytest.raises(CommandFailed, match="the token is used up"):
        await scene.task


async def test_cancelling_ends_the_wait(scene: Scene) -> None:
    await settle()
    scene.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await scene.task
    assert scene.plugin.answer.cancelled()
