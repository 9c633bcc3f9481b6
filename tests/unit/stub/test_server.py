"""How a stub drains and stops, without its listeners."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stub import server
from stub.settings import StubSettings
from tests.unit.fakes import USER_TLS, Clock, settle
from tests.unit.stub.parts import FarAgent, User, peers
from tunnel.core.identifiers import ClusterId
from tunnel.core.wire.control import Drain
from tunnel.kit.failures import CommandFailed


@pytest.fixture
async def stub(clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[server.Stub]:
    monkeypatch.setattr(server.PeerReader, "load", lambda user, agent: peers())
    settings = StubSettings(ca_dir=tmp_path, default_cluster=ClusterId("blue"), audit=str(tmp_path / "audit"))
    stub = server.Stub(settings)
    yield stub
    await stub.stop()


def user_of(stub: server.Stub) -> User:
    return User(stub.office, USER_TLS, None)


async def test_a_stub_without_users_drains_at_once(stub: server.Stub) -> None:
    await stub.drain(0)
    assert stub._problem() == "draining"


async def test_draining_ends_as_soon_as_the_last_user_is_gone(stub: server.Stub, clock: Clock) -> None:
    agent = FarAgent(stub.registry)
    user, idle = user_of(stub), user_of(stub)
    user.ask()
    (request,) = agent.asked()
    draining = asyncio.get_running_loop().create_task(stub.drain(30))
    await settle()
    assert agent.heard(Drain) == [Drain("this stub is shutting down")]
    assert idle.stream.closed
    idle.stream.lose()
    await clock.advance(10)
    assert not draining.done()
    agent.answer(request.id, b"{}")
    assert user.stream.closed
    user.stream.lose()
    await draining


async def test_what_still_runs_behind_the_grace_is_broken_off(
    stub: server.Stub, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    agent, user = FarAgent(stub.registry), user_of(stub)
    user.ask("GET /api/v1/pods?watch=1")
    channel = agent.channel()
    channel.head(1)
    draining = asyncio.get_running_loop().create_task(stub.drain(30))
    await settle()
    with caplog.at_level(logging.WARNING):
        await clock.advance(30)
        await draining
    assert "breaking off what still runs" in caplog.messages
    await stub.stop()
    assert user.stream.aborted
    assert agent.link.runner.closed
    assert channel.stream.closing


async def test_stopping_writes_the_last_lines_and_closes_the_audit_log(
    stub: server.Stub, tmp_path: Path
) -> None:
    FarAgent(stub.registry)
    user = user_of(stub)
    user.ask()
    await stub.stop()
    assert (tmp_path / "audit").read_text().count("this stub shut down") == 1


async def test_an_audit_file_that_cannot_be_opened_is_found_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.PeerReader, "load", lambda user, agent: peers())
    settings = StubSettings(ca_dir=tmp_path, audit=str(tmp_path / "no" / "audit"))
    with pytest.raises(CommandFailed, match="--audit"):
        server.Stub(settings)
