"""An agent finds every stub: behind one address, at many, and again after each loss."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.dialer import run as run_agent
from agent.dialling import endpoint, road
from agent.dialling.proxyrules import ProxyUrl
from stub.server import Stub
from stub.settings import StubSettings
from tests import pki
from tests.integration.balancer import Balancer, balancer
from tests.integration.client import Client, request
from tests.integration.connect_proxy import connect_proxy
from tests.integration.test_lifecycle import next_of
from tests.integration.test_upgrades import echo, opened
from tests.integration.tunnel_fixture import BLUE, RunningAgent, Tunnel
from tests.integration.upstream import by_hand
from tests.integration.waiting import soon, until
from tunnel.kit import backoff
from tunnel.kit.values import Address


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits a hundredth as long; their lengths are the unit tests' subject."""
    monkeypatch.setattr(backoff, "FIRST_SECONDS", 0.01)
    monkeypatch.setattr(endpoint, "PROBE_SECONDS", 0.2)


class Fleet:
    """Several stubs behind one balancer, and an agent that knows the balancer alone."""

    def __init__(self, tunnel: Tunnel, balancer: Balancer, stubs: list[Stub]) -> None:
        self.tunnel = tunnel
        self.balancer = balancer
        self.stubs = stubs

    async def start_agent(self) -> RunningAgent:
        stub = (Address("localhost", self.balancer.port),)
        return await self.tunnel.start_agent(ready=False, stub=stub)

    async def client(self, stub: Stub) -> Client:
        """A client of one of the stubs."""
        self.tunnel.stub = stub
        return await self.tunnel.connect()

    async def replace(self, number: int) -> None:
        """End a stub at once, and start another one that the balancer leads to in its place."""
        old = self.stubs[number]
        port = old.addresses[0][1]
        await old.stop()
        self.stubs[number] = new = await self.tunnel.start_stub()
        self.balancer.ports[self.balancer.ports.index(port)] = new.addresses[0][1]


def serves(stub: Stub, floor: int = 2) -> bool:
    """Whether one agent has a session with this stub, and its idle channels."""
    links = list(stub.registry.links)
    return len(links) == 1 and len(links[0].channels) >= floor


@pytest.fixture
async def fleet(parts: Tunnel) -> AsyncIterator[Fleet]:
    stubs = [await parts.start_stub() for _ in range(3)]
    async with balancer(*[stub.addresses[0][1] for stub in stubs]) as found:
        yield Fleet(parts, found, stubs)
        for running in parts.agents:
            await running.stop()


# One address, many stubs ---------------------------------------------------------------------------


async def test_every_stub_behind_one_address_gets_one_session_and_channels_of_its_own(fleet: Fleet) -> None:
    running = await fleet.start_agent()
    await until(lambda: all(serves(stub) for stub in fleet.stubs))
    assert len(running.agent.links) == 3
    for stub in fleet.stubs:
        client = await fleet.client(stub)
        assert (await client.ask("GET /api")).body == b"ok"


async def test_a_stub_that_is_replaced_is_found_and_the_others_notice_nothing(fleet: Fleet) -> None:
    running = await fleet.start_agent()
    await until(lambda: all(serves(stub) for stub in fleet.stubs))
    kept = [link for stub in fleet.stubs[1:] for link in stub.registry.links]
    await fleet.replace(0)
    await until(lambda: serves(fleet.stubs[0]))
    assert [link for stub in fleet.stubs[1:] for link in stub.registry.links] == kept
    assert len(running.agent.links) == 3
    assert (await (await fleet.client(fleet.stubs[0])).ask("GET /api")).body == b"ok"


async def test_a_burst_gets_its_channels_although_each_dial_may_lead_elsewhere(fleet: Fleet) -> None:
    await fleet.start_agent()
    await until(lambda: all(serves(stub) for stub in fleet.stubs))
    fleet.tunnel.upstream.script = echo
    clients = [await fleet.client(fleet.stubs[1]) for _ in range(20)]
    for client in clients:
        await opened(client)
        client.send(b"hello")
        assert await soon(client.end.read_exactly(5)) == b"hello"
    for client in clients:
        await client.close()


async def test_everything_behind_the_balancer_comes_back_when_it_breaks(fleet: Fleet) -> None:
    running = await fleet.start_agent()
    await until(lambda: all(serves(stub) for stub in fleet.stubs))
    fleet.balancer.cut()
    await until(lambda: not running.agent.roster.workers)
    await until(lambda: all(serves(stub) for stub in fleet.stubs))


# Many addresses ------------------------------------------------------------------------------------


async def test_every_address_of_a_name_is_dialled_and_the_same_stub_twice_only_once(
    parts: Tunnel, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await parts.start_stub()
    settings = StubSettings(
        listen=Address("127.0.0.2", parts.port),
        ca_dir=parts.certificates.ca_dir,
        default_cluster=BLUE,
        admin_listen=None,
    )
    second = Stub(settings)
    await second.start()
    addresses = ["127.0.0.1", "127.0.0.2"]

    async def resolve(host: str, port: int, deadline: float) -> tuple[str, ...]:
        return tuple(addresses)

    monkeypatch.setattr(road, "resolve", resolve)
    running = await parts.start_agent(ready=False, stub=(Address("localhost", parts.port),) * 2)
    await until(lambda: serves(first) and serves(second))
    assert len(running.agent.links) == 2
    await running.stop()
    await second.stop()


async def test_a_session_that_breaks_is_replaced_by_one_at_another_address(
    parts: Tunnel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both addresses lead to one stub; the one in use stops leading anywhere."""
    stub = await parts.start_stub()

    async def resolve(host: str, port: int, deadline: float) -> tuple[str, ...]:
        return ("127.0.0.1",)

    monkeypatch.setattr(road, "resolve", resolve)
    async with balancer(parts.port) as bad, balancer(parts.port) as good:
        running = await parts.start_agent(
            ready=False, stub=(Address("localhost", bad.port), Address("localhost", good.port))
        )
        await until(lambda: serves(stub))
        other, used = (good, bad) if str(bad.port) in running.link._address else (bad, good)
        used.ports[:] = [1]
        used.cut()
        await until(lambda: str(other.port) in "".join(link._address for link in running.agent.links))
        await until(lambda: serves(stub))
        await running.stop()


# By proxy ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
async def test_everything_passes_a_proxy_with_a_password(parts: Tunnel, tmp_path: Path, tls: bool) -> None:
    parts.upstream.script = echo
    context = pki.server_context(parts.certificates.server_ca.server()) if tls else None
    (tmp_path / "credentials").write_text("ann:geheim\n")
    await parts.start_stub()
    async with connect_proxy(context, password="ann:geheim") as proxy:
        running = await parts.start_agent(
            proxy=ProxyUrl("localhost", proxy.port, tls),
            proxy_ca=parts.certificates.server_ca.path,
            proxy_credentials=tmp_path / "credentials",
        )
        client = await parts.connect()
        await opened(client)
        client.send(b"x" * 300_000)
        assert await soon(client.end.read_exactly(300_000)) == b"x" * 300_000
        await client.close()
        assert set(proxy.asked) == {f"localhost:{parts.port}"}
        await running.stop()


async def test_a_proxy_that_refuses_is_told_of_and_asked_again(
    parts: Tunnel, caplog: pytest.LogCaptureFixture
) -> None:
    stub = await parts.start_stub()
    async with connect_proxy(password="ann:geheim") as proxy:
        running = await parts.start_agent(ready=False, proxy=ProxyUrl("127.0.0.1", proxy.port))
        await until(lambda: len(proxy.asked) > 2)
        (reason, *_) = {getattr(record, "reason", "") for record in caplog.records} - {""}
        assert "answered 407" in reason
        proxy.password = None
        await until(lambda: serves(stub))
        await running.stop()


# Draining ------------------------------------------------------------------------------------------


async def test_a_drained_agent_ends_when_its_slowest_client_has_the_whole_answer(parts: Tunnel) -> None:
    """The answer is written long before it is taken: what waits in the agent must not be thrown away."""
    size = 24 * 1024 * 1024
    await parts.start_stub()
    stopping = asyncio.Event()
    running = asyncio.get_running_loop().create_task(run_agent(parts.agent_settings(), stopping))
    await until(lambda: parts.stub.registry.links)
    parts.upstream.script = by_hand
    client = await parts.connect(kernel_buffer=8192)
    client.send(request("GET /api"))
    incoming = await next_of(parts.upstream, b"/api")
    incoming.whole_answer(200, b"x" * size)
    assert (await client.head()).status == 200
    stopping.set()
    await until(lambda: parts.link.draining)
    assert not running.done()
    assert await soon(client.end.read_exactly(size)) == b"x" * size
    await soon(running)
