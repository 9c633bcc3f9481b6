"""How a stub drains and stops, without its listeners."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from stub import server
from stub.election.choice import FileLease
from stub.leadership import Leadership
from stub.settings import StubSettings
from tests.unit.fakes import USER_TLS, Clock, settle
from tests.unit.stub.parts import FarAgent, User, standing
from tunnel.aio.listen import Listener
from tunnel.core.identifiers import ClusterId
from tunnel.core.wire.control import Drain
from tunnel.kit.failures import CommandFailed


@pytest.fixture
async def stub(clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[server.Stub]:
    monkeypatch.setattr(server, "open_standing", lambda settings: standing())
    settings = StubSettings(ca_dir=tmp_path, default_cluster=ClusterId("blue"), audit=str(tmp_path / "audit"))
    stub = server.Stub(settings)
    yield stub
    await stub.stop()


@pytest.fixture
async def candidate(
    clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[server.Stub]:
    """A stub with a lease and one listener, which says whether it is open."""
    monkeypatch.setattr(server, "open_standing", lambda settings: standing())
    lease = FileLease(tmp_path / "lease.json")
    stub = server.Stub(StubSettings(ca_dir=tmp_path, default_cluster=ClusterId("blue"), lease=lease))
    stub._listeners.append(cast("Listener", SimpleNamespace(close=lambda: None, abort_pending=lambda: None)))
    yield stub
    await stub.stop()


def user_of(stub: server.Stub) -> User:
    return User(stub.office, USER_TLS, None)


async def test_a_stub_without_users_drains_at_once(stub: server.Stub) -> None:
    await stub.drain(0)
    assert stub.problem() == "draining"


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


async def test_a_stub_with_a_lease_goes_on_refusing_for_the_delay_and_closes_its_listeners_then(
    candidate: server.Stub, clock: Clock
) -> None:
    closed: list[bool] = []
    candidate._listeners[0].close = lambda: closed.append(True)  # type: ignore[method-assign]
    idle = user_of(candidate)
    draining = asyncio.get_running_loop().create_task(candidate.drain(30))
    await settle()
    await clock.advance(server.HAND_OVER_DELAY_SECONDS - 0.1)
    assert not closed
    assert not idle.stream.closed, "it may be about to send, and could not know what became of it"
    idle.ask()
    status, fields, _ = idle.answer()
    assert (status, fields["retry-after"], fields["connection"]) == (503, "1", "close")
    idle.stream.lose()
    await clock.advance(0.1)
    await draining
    assert closed


async def test_the_lease_is_handed_over_once_nothing_new_is_taken_and_before_users_are_waited_for(
    candidate: server.Stub, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = asyncio.Event()
    draining_by_then: list[bool] = []

    async def hand_over(leadership: Leadership) -> None:
        draining_by_then.append(candidate.office.draining)
        await released.wait()

    monkeypatch.setattr(Leadership, "hand_over", hand_over)
    draining = asyncio.get_running_loop().create_task(candidate.drain(30))
    await settle()
    await clock.advance(server.HAND_OVER_DELAY_SECONDS)
    assert draining_by_then == [True]
    assert not draining.done()
    released.set()
    await draining


async def test_the_delay_is_part_of_the_grace(candidate: server.Stub, clock: Clock) -> None:
    user_of(candidate)
    draining = asyncio.get_running_loop().create_task(candidate.drain(2))
    await settle()
    await clock.advance(2)
    await draining


@pytest.mark.parametrize(("silent", "problem"), [(0.0, None), (60.0, "the election has not moved for 60 s")])
async def test_a_standby_is_ready_for_as_long_as_its_election_moves(
    candidate: server.Stub, monkeypatch: pytest.MonkeyPatch, silent: float, problem: str | None
) -> None:
    assert candidate.leadership is not None
    assert not candidate.leadership.active
    monkeypatch.setattr(type(candidate.leadership.elector), "silent_seconds", silent)
    assert candidate.problem() == problem


async def test_a_defect_in_the_leading_work_ends_the_stub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def break_down(leadership: Leadership) -> None:
        raise RuntimeError("a defect")

    async def nothing(stub: server.Stub) -> None:
        pass

    monkeypatch.setattr(server, "open_standing", lambda settings: standing())
    monkeypatch.setattr(server.Stub, "start", nothing)
    monkeypatch.setattr(Leadership, "run", break_down)
    settings = StubSettings(ca_dir=tmp_path, lease=FileLease(tmp_path / "lease.json"))
    with pytest.raises(RuntimeError, match="a defect"):
        await server.serve(settings, asyncio.Event())


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
    monkeypatch.setattr(server, "open_standing", lambda settings: standing())
    settings = StubSettings(ca_dir=tmp_path, audit=str(tmp_path / "no" / "audit"))
    with pytest.raises(CommandFailed, match="--audit"):
        server.Stub(settings)
