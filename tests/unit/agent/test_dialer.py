"""How an agent keeps its sessions, and how it drains."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agent import dialer, enrolment_parts
from agent.dialling import road
from agent.dialling.road import Endpoint
from agent.dialling.session import Outcome
from agent.settings import AgentSettings
from agent.upstream.credential import NoToken, StaticToken
from agent.upstream.target import UpstreamTarget
from tests.unit.agent.parts import STUB, request
from tests.unit.fakes import Clock, FakeStream, settle
from tunnel.aio.errors import ConnectFailed, StreamError
from tunnel.aio.stream import StreamHandler
from tunnel.core.session.stub_side import StubSession
from tunnel.core.wire.control import SESSION_ALPN, AgentHello, Drain, Reject, StubHello
from tunnel.core.wire.exchange import Refused, Request
from tunnel.kit.values import Address

STUB_ADDRESS = Address("stub.example.com", 8443)
OTHER = StubHello("stub-2", token="other-token", cluster="blue")


class Network:
    """What takes the place of resolving and dialling: it remembers each dial, and answers or fails as it is told."""

    def __init__(self) -> None:
        self.dials: list[tuple[str, str, str]] = []
        self.sessions: list[FakeStream] = []
        self.cores: list[StubSession] = []
        self.failure: StreamError | None = None
        self.answers = STUB
        self.silent = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def resolve(self, host: str, port: int, deadline: float) -> tuple[str, ...]:
        return ("192.0.2.1",)

    async def dial(self, host: str, port: int, context: object, **more: Any) -> None:
        alpn = more["require_alpn"]
        self.dials.append((f"{host}:{port}", more["server_hostname"], alpn))
        if alpn != SESSION_ALPN:
            raise ConnectFailed(host, "no channels here")
        await self.gate.wait()
        if self.failure:
            raise self.failure
        handler: StreamHandler = more["handler_factory"]()
        stream, core = FakeStream(), StubSession(self.answers, asyncio.get_running_loop().time())
        self.sessions.append(stream)
        self.cores.append(core)
        stream.open(handler)
        if not self.silent:
            stream.receive(core.output())

    async def lose(self) -> None:
        """The first session is gone, and whoever waits for that has heard so."""
        self.sessions[0].lose()
        await settle()

    def tell(self, number: int = 0) -> None:
        """What the stub of a session has to say arrives."""
        self.sessions[number].receive(self.cores[number].output())

    def ask(self, asked: Request) -> None:
        """Ask on the first session."""
        self.cores[0].send_request(asked)
        self.tell()

    def cancel(self, asked: Request) -> None:
        """Cancel it."""
        self.cores[0].send_cancel(asked.id)
        self.tell()

    def heard(self, number: int = 0) -> list[object]:
        """What the agent said on a session."""
        return list(self.cores[number].receive(self.sessions[number].take(), 0.0))


@pytest.fixture
async def network(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Network:
    network = Network()
    monkeypatch.setattr(road, "resolve", network.resolve)
    monkeypatch.setattr(road, "dial_tls", network.dial)
    monkeypatch.setattr(enrolment_parts, "agent_context", lambda *_: None)
    monkeypatch.setattr(random, "random", lambda: 1.0)
    return network


@pytest.fixture
def settings(tmp_path: Path) -> AgentSettings:
    file = tmp_path / "pem"
    file.touch()
    return AgentSettings(stub=(STUB_ADDRESS,), cert=file, key=file, ca=file, name="a", drain_grace=30)


class NeverAnswers(UpstreamTarget):
    """An apiserver whose connections never open."""

    async def connect(self, connection: object, deadline: float) -> None:
        await asyncio.Event().wait()


def target() -> UpstreamTarget:
    return NeverAnswers("10.0.0.1", 6443, b"10.0.0.1:6443", b"", None, "10.0.0.1", StaticToken("t"))


class Running:
    """An agent that serves one stub, until the test is over."""

    def __init__(self, settings: AgentSettings, tasks: asyncio.TaskGroup) -> None:
        self.agent = dialer.Agent(settings, target(), tasks)
        self.serving = tasks.create_task(self.agent.serve_stub(STUB_ADDRESS))


@pytest.fixture
async def running(network: Network, settings: AgentSettings) -> AsyncIterator[Running]:
    class Over(Exception):
        pass

    try:
        async with asyncio.TaskGroup() as tasks:
            running = Running(settings, tasks)
            await settle()
            yield running
            running.agent.stop()
            raise Over
    except* Over:
        logging.getLogger(__name__).debug("over")


async def test_a_session_is_dialled_and_said_hello_on(running: Running, network: Network) -> None:
    assert network.dials[0] == ("192.0.2.1:8443", "stub.example.com", "cluster-tunnel/1")
    (link,) = running.agent.links
    assert link.stub == STUB
    assert running.agent.problem() is None


async def test_channels_are_dialled_to_the_address_at_which_the_session_found_its_stub(
    running: Running, network: Network
) -> None:
    channels = [dial for dial in network.dials if dial[2] != SESSION_ALPN]
    assert set(channels) == {("192.0.2.1:8443", "stub.example.com", "cluster-tunnel-response/1")}


# Several stubs -----------------------------------------------------------------------------------


async def test_a_second_session_with_the_same_worker_is_closed_before_the_stub_can_ask_on_it(
    running: Running, network: Network, clock: Clock
) -> None:
    await clock.advance(1)
    assert network.sessions[1].closed
    assert network.heard(1) == [Reject("this agent has a session with this worker already")]
    assert not network.sessions[0].closing
    assert len(running.agent.links) == 1
    assert running.agent.roster.counts.known == 1


async def test_a_stub_of_another_name_cannot_end_a_session_by_claiming_to_be_its_stub(
    running: Running, network: Network
) -> None:
    hostile = await running.agent._open_session(Endpoint(Address("192.0.2.66", 8443), "hostile.example.com"))
    assert hostile.outcome is Outcome.FILED
    assert [session.closing for session in network.sessions] == [False, False]
    assert len(running.agent.links) == 2


async def test_another_stub_behind_the_same_address_gets_a_session_too(
    running: Running, network: Network, clock: Clock
) -> None:
    network.answers = OTHER
    await clock.advance(1)
    assert {link.stub for link in running.agent.links} == {STUB, OTHER}
    assert any(isinstance(said, AgentHello) for said in network.heard(1))


async def test_a_stub_that_drains_keeps_its_session_and_another_one_is_sought_soon(
    running: Running, network: Network, clock: Clock
) -> None:
    for _ in range(4):
        await clock.advance(1)  # the next try would be at 7
    dials = len(network.sessions)
    network.cores[0].send_drain("upgrade")
    network.tell()
    await clock.advance(1)
    assert len(network.sessions) == dials + 1
    assert not network.sessions[0].closing


async def test_hurry_dials_now(running: Running, network: Network, clock: Clock) -> None:
    network.failure = ConnectFailed("stub.example.com:8443", "refused")
    await network.lose()
    for _ in range(10):
        await clock.advance(10)
    network.failure = None
    running.agent.hurry()
    await settle()
    assert len(running.agent.links) == 1


# Keeping it --------------------------------------------------------------------------------------


async def test_a_session_that_is_over_is_dialled_again_after_a_while(
    running: Running, network: Network, clock: Clock
) -> None:
    await network.lose()
    assert len(network.sessions) == 1
    assert running.agent.problem() == "no session with a stub"
    await clock.advance(0.2)
    assert len(network.sessions) == 2
    assert len(running.agent.links) == 1


async def test_a_stub_that_cannot_be_reached_is_tried_for_ever(
    running: Running, network: Network, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    network.failure = ConnectFailed("stub.example.com:8443", "refused")
    await network.lose()
    for _ in range(5):
        await clock.advance(600)
    assert caplog.messages.count("a stub cannot be reached") == 5
    network.failure = None
    await clock.advance(600)
    assert len(running.agent.links) == 1


async def test_an_agent_without_requests_drains_as_soon_as_its_stub_knows(
    running: Running, network: Network
) -> None:
    draining = asyncio.get_running_loop().create_task(running.agent.drain(30))
    await settle()
    assert running.agent.problem() == "draining"
    assert not draining.done()
    assert Drain("this agent is shutting down") in network.heard()
    network.tell()
    await draining


async def test_a_request_that_was_under_way_to_an_idle_agent_is_refused_before_it_ends(
    running: Running, network: Network
) -> None:
    """If it closed at once, its stub could not tell what became of the request."""
    network.cores[0].send_request(request(1))
    draining = asyncio.get_running_loop().create_task(running.agent.drain(30))
    await settle()
    said = network.heard()
    network.tell()
    await draining
    running.agent.stop()
    refused = [each for each in [*said, *network.heard()] if isinstance(each, Refused)]
    assert [(each.id, each.retryable) for each in refused] == [(1, True)]


async def test_a_request_that_crosses_the_drain_may_be_asked_elsewhere(
    running: Running, network: Network, clock: Clock
) -> None:
    network.ask(request(1))
    draining = asyncio.get_running_loop().create_task(running.agent.drain(30))
    await settle()
    network.ask(request(2))
    await settle()
    (refused,) = [said for said in network.heard() if isinstance(said, Refused)]
    assert (refused.id, refused.retryable) == (2, True)
    network.cancel(request(1))
    await draining


async def test_draining_ends_with_the_last_request(running: Running, network: Network, clock: Clock) -> None:
    network.ask(request(1))
    draining = asyncio.get_running_loop().create_task(running.agent.drain(30))
    await settle()
    network.heard()
    network.tell()
    await clock.advance(10)
    assert not draining.done()
    network.cancel(request(1))
    await draining


async def test_draining_waits_until_the_stub_has_all_that_was_written(
    running: Running, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = asyncio.Event()
    (link,) = running.agent.links
    monkeypatch.setattr(link.channels, "finish", lambda reason: taken.wait())
    draining = asyncio.get_running_loop().create_task(running.agent.drain(30))
    await settle()
    network.heard()
    network.tell()
    await settle()
    assert not draining.done()
    taken.set()
    await draining


async def test_draining_ends_with_the_grace(
    running: Running, network: Network, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    network.ask(request(1))
    draining = asyncio.get_running_loop().create_task(running.agent.drain(30))
    await settle()
    await clock.advance(30)
    await draining
    assert "breaking off what still runs" in caplog.messages


async def test_a_draining_agent_dials_no_new_session(
    running: Running, network: Network, clock: Clock
) -> None:
    await running.agent.drain(0)
    await network.lose()
    await clock.advance(600)
    assert len(network.sessions) == 1
    assert running.serving.done()
    assert running.agent.links == set()


async def test_a_session_that_opens_while_draining_is_ended(
    running: Running, network: Network, clock: Clock
) -> None:
    network.gate.clear()
    await network.lose()
    await clock.advance(60)
    await running.agent.drain(0)
    network.gate.set()
    await settle()
    assert network.sessions[1].closing
    assert running.agent.links == set()


async def test_a_session_whose_stub_has_not_spoken_is_ended_when_the_drain_begins(
    running: Running, network: Network, clock: Clock
) -> None:
    network.silent = True
    await clock.advance(1)
    await running.agent.drain(0)
    assert network.sessions[1].closing
    assert not network.sessions[0].closing


async def test_stopping_does_not_wait_for_what_is_being_dialled(
    network: Network, settings: AgentSettings, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialer, "target_of", lambda settings: target())
    stopping = asyncio.Event()
    running = asyncio.get_running_loop().create_task(dialer.run(settings, stopping))
    await settle()
    network.ask(request(1))  # its connection to the apiserver will never be there
    stopping.set()
    await settle()
    await clock.advance(settings.drain_grace)
    await running
    assert network.sessions[0].closed


async def test_cancelling_ends_everything_at_once(
    network: Network, settings: AgentSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialer, "target_of", lambda settings: target())
    running = asyncio.get_running_loop().create_task(dialer.run(settings, asyncio.Event()))
    await settle()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert network.sessions[0].closed


async def test_a_credential_that_can_be_renewed_is_had_before_anything_is_dialled(
    network: Network, settings: AgentSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refuses(NoToken):
        can_renew = True

        async def renew(self) -> None:
            raise ConnectionError("no plugin")

    bad = target().__class__("h", 1, b"h", b"", None, "h", Refuses())
    monkeypatch.setattr(dialer, "target_of", lambda settings: bad)
    with pytest.raises(ConnectionError):
        await dialer.run(settings, asyncio.Event())
    assert network.dials == []
