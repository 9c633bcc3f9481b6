"""Several stubs of one lease in front of one agent, and clients that try again as client-go does."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from agent.dialer import run as run_agent
from stub.election.choice import FileLease
from stub.server import Stub
from tests.integration.client import Answer, Client, Cut, request
from tests.integration.tls_end import TlsEnd
from tests.integration.tunnel_fixture import Tunnel
from tests.integration.waiting import soon, until
from tunnel.kit.values import Address

TIMING: Final = {"lease_duration": 3, "lease_renew_deadline": 2.0, "lease_retry": 0.4}
"""A short lease, so that a crash is not waited for long."""

ATTEMPTS: Final = 11
"""client-go tries ten times more where it is told to."""


class Member:
    """One stub of several, and its part in the election."""

    def __init__(self, stub: Stub) -> None:
        assert stub.leadership is not None
        self.stub = stub
        self.leadership = stub.leadership
        self.task = asyncio.get_running_loop().create_task(self.leadership.run())

    @property
    def port(self) -> int:
        return self.stub.addresses[0][1]

    async def end(self) -> None:
        """End its election, and the stub then."""
        self.task.cancel()
        await asyncio.wait([self.task])
        await self.stub.stop()


async def start_member(parts: Tunnel, lease: Path, **settings: Any) -> Member:
    """Start one more stub of a file lease."""
    chosen: dict[str, Any] = {"lease": FileLease(lease), "drain_delay": 0.5} | TIMING
    return Member(await parts.start_stub(**chosen | settings))


@contextlib.asynccontextmanager
async def serving_agent(parts: Tunnel, ports: Sequence[int]) -> AsyncIterator[None]:
    """An agent that dials all stubs, for as long as the block lasts."""
    stopping = asyncio.Event()
    addresses = tuple(Address("localhost", port) for port in ports)
    settings = parts.agent_settings(stub=addresses, stub_port=ports[0])
    task = asyncio.get_running_loop().create_task(run_agent(settings, stopping))
    try:
        yield
    finally:
        stopping.set()
        await soon(asyncio.wait([task]))


@contextlib.asynccontextmanager
async def three(parts: Tunnel, lease: Path) -> AsyncIterator[tuple[Member, list[Member]]]:
    """Three stubs and an agent that all of them can ask: the active one, and those that stand by."""
    members = [await start_member(parts, lease) for _ in range(3)]
    try:
        async with serving_agent(parts, [member.port for member in members]):
            await until(lambda: all(_can_ask(member.stub) for member in members))
            await until(lambda: _active(members))
            (active,) = _active(members)
            yield active, [member for member in members if member is not active]
    finally:
        for member in members:
            await member.end()


def _active(members: Iterable[Member]) -> list[Member]:
    return [member for member in members if member.leadership.active]


def _can_ask(stub: Stub) -> bool:
    return any(len(link.channels) >= 2 for link in stub.registry.links)


async def dial(parts: Tunnel, port: int) -> Client:
    """A connection of the user `jane` to one of the stubs. Raises OSError or EOFError where it is not there."""
    context = parts.certificates.client_context(parts.certificates.users["jane"])
    end = TlsEnd(*await soon(asyncio.open_connection("127.0.0.1", port)), context, "localhost")
    await soon(end.handshake())
    return Client(end)


class User:
    """A client that is led to one stub after the other, as by a load balancer that knows nothing of them.

    Args:
        parts: has its certificate.
        ports: of the stubs.
    """

    def __init__(self, parts: Tunnel, ports: Sequence[int]) -> None:
        self._parts = parts
        self._ports = list(ports)
        self._client: Client | None = None
        self.refusals: list[Answer] = []

    async def ask(self, line: str, body: bytes = b"") -> Answer:
        """Ask until the answer is none that says when to try again; anything else that fails is raised."""
        for _ in range(ATTEMPTS):
            if self._client is None:
                self._client = await dial(self._parts, self._next_port())
            answer = await self._client.ask(line, body=body)
            if answer.values("connection") == ["close"]:
                await self.close()
            if answer.status != 503 or not answer.values("retry-after"):
                return answer
            self.refusals.append(answer)
            await asyncio.sleep(int(answer.values("retry-after")[0]))
        raise AssertionError(f"refused {ATTEMPTS} times: {answer.message}")

    def _next_port(self) -> int:
        self._ports.append(self._ports.pop(0))
        return self._ports[-1]

    async def close(self) -> None:
        """Close its connection."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()


async def try_once(parts: Tunnel, port: int, line: str = "GET /try") -> Answer | None:
    """Ask one stub over a connection of its own; None where it is not there, or goes away."""
    try:
        client = await dial(parts, port)
    except (OSError, EOFError):
        return None
    try:
        client.send(request(line, close=True))
        return await client.answer()
    except Cut:
        return None
    finally:
        await client.end.abort()


def carried(parts: Tunnel, prefix: str) -> list[str]:
    """The targets beginning so that reached the apiserver; the agent asks it things of its own, too."""
    targets = [incoming.target.decode() for incoming in parts.upstream.requests]
    return [target for target in targets if target.startswith(prefix)]


async def first_answer(parts: Tunnel, ports: Sequence[int], seconds: float) -> int:
    """Ask stubs in turn until one carries a request, and return its port."""
    async with asyncio.timeout(seconds):
        while True:
            for port in ports:
                answer = await try_once(parts, port)
                if answer is not None and answer.status == 200:
                    return port
            await asyncio.sleep(0.02)
