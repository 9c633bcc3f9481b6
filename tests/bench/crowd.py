"""The agents of many clusters in one process, as light as they can be: no upstream, the real protocol over real connections.

    python -m tests.bench.crowd FOLDER PORT

A worker: `connect` dials for so many clusters (`c0`, `c1`, ...) and waits until each can be asked, `cut` breaks all connections,
`dial` lets every agent dial again, all in the same instant. An agent answers a list itself; what it dials, when it tries again
and how many response channels it keeps is the real agent's.
"""

import asyncio
import random
import ssl
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from agent.channel import Channel
from agent.channels import ChannelPool
from certs.contexts import agent_context
from certs.issue import issue_agent
from certs.lifetime import USER_LIFE, Lifetime, utc_now
from certs.store import CertificateStore
from tests.bench.upstream import LIST
from tests.bench.users import percentile
from tests.bench.worker import obey, run
from tunnel.aio.dial import dial_tls
from tunnel.aio.errors import StreamError
from tunnel.aio.session import SessionRunner
from tunnel.aio.sockets import TUNNEL_LEG
from tunnel.aio.stream import StreamHandler
from tunnel.core import limits
from tunnel.core.http.message import Field, ResponseHead
from tunnel.core.session.agent_side import AgentSession
from tunnel.core.session.events import AgentEvent
from tunnel.core.wire.control import CHANNEL_ALPN, SESSION_ALPN, AgentHello, Drain, Reject, Report, StubHello
from tunnel.core.wire.exchange import Head, Request
from tunnel.kit.backoff import Backoff

CHANNELS: Final = 4
"""Idle channels of an agent: the default of `--channels-floor`."""

FIELDS: Final[list[Field]] = [
    (b"Content-Type", b"application/json"),
    (b"Cache-Control", b"no-cache, private"),
]


class Answer:
    """The answer to one request, on whichever channel is free.

    Args:
        request: what was asked.
    """

    def __init__(self, request: Request) -> None:
        self._request = request

    def channel_ready(self, channel: Channel) -> None:
        channel.start(Head(self._request.id, ResponseHead(200, FIELDS), len(LIST)))
        channel.data(LIST)
        channel.end()

    def channel_write_paused(self) -> None:
        """The list is small: nothing has to wait."""

    def channel_write_resumed(self) -> None:
        """See `channel_write_paused`."""

    def channel_lost(self, reason: str) -> None:
        """The stub tells whoever asked."""


class SimulatedAgent:
    """One cluster's agent.

    Args:
        crowd: what all have in common.
        cluster: its id.
    """

    def __init__(self, crowd: "Crowd", cluster: str) -> None:
        self._crowd = crowd
        self._cluster = cluster
        self._loop = asyncio.get_running_loop()
        self._contexts = crowd.contexts(cluster)
        self._backoff = Backoff(random.random)
        self._over = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self.ready = asyncio.Event()
        self.complete = asyncio.Event()
        self.ready_at = 0.0

    async def serve(self) -> None:
        """Keep a session, until cancelled."""
        while True:
            self._over.clear()
            self._served = False
            self._core = AgentSession(self._loop.time())
            self.runner: SessionRunner[AgentEvent] = SessionRunner(self._core, self)
            try:
                await self._dial(SESSION_ALPN, self.runner)
                await self._over.wait()
            except StreamError:
                self._over.set()
            if self._served:
                await self._crowd.may_dial.wait()
            else:
                await asyncio.sleep(self._backoff.next_seconds())

    async def _dial(self, alpn: str, handler: StreamHandler) -> None:
        await dial_tls(
            "127.0.0.1",
            self._crowd.port,
            self._contexts[alpn],
            server_hostname="localhost",
            handler_factory=lambda: handler,
            require_alpn=alpn,
            options=TUNNEL_LEG,
        )

    # As the owner of its session -------------------------------------------------------------------

    def session_event(self, event: AgentEvent) -> None:
        match event:
            case StubHello():
                self._greet(event)
            case Request():
                answer = Answer(event)
                channel = self.channels.take(answer)
                if channel is not None:
                    answer.channel_ready(channel)
            case Reject() | Drain():
                self.runner.close(event.reason)
            case _:
                pass

    def session_writable(self) -> None:
        """Nothing waits: the lane carries small frames only."""

    def session_closed(self, reason: str, *, dead: bool) -> None:
        self.ready.clear()
        self.complete.clear()
        if self._timer is not None:
            self._timer.cancel()
        if self._core.stub is not None:
            self.channels.close(reason, abort=True)
        self._over.set()

    def _greet(self, hello: StubHello) -> None:
        self._core.send_hello(AgentHello(name=self._cluster))

        async def dial(channel: Channel) -> None:
            await self._dial(CHANNEL_ALPN, channel)

        self.channels = Channels(self, hello, dial, self._crowd.tasks, floor=CHANNELS, limit=1024)
        self.channels.fill()
        self._report()

    def _report(self) -> None:
        self._core.send_report(Report())
        self.runner.flush_soon()
        self._timer = self._loop.call_later(limits.REPORT_SECONDS, self._report)

    def channel_idle(self, channels: int) -> None:
        """The first idle channel makes the agent one that can answer; with all of them it is at rest."""
        if not self.ready.is_set():
            self._backoff.succeeded()
            self._served = True
            self.ready_at = time.perf_counter()
            self.ready.set()
        if channels >= CHANNELS:
            self.complete.set()

    def cut(self) -> None:
        """Break everything off, as a network does that is gone."""
        self.channels.close("cut", abort=True)
        self.runner.close("cut")


class Channels(ChannelPool):
    """The channels of an agent, which hears of each that is idle."""

    def __init__(self, owner: SimulatedAgent, *args: object, **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type]
        self._owner = owner

    def idle(self, channel: Channel) -> None:
        super().idle(channel)
        self._owner.channel_idle(len(self._idle))


class Crowd:
    """All agents.

    Args:
        folder: of the installation, with the agents' authority.
        port: of the stub.
        tasks: owns what is awaited.
    """

    def __init__(self, folder: Path, port: int, tasks: asyncio.TaskGroup) -> None:
        self.port = port
        self.tasks = tasks
        self.may_dial = asyncio.Event()
        self.may_dial.set()
        self._folder = folder
        self._authority = CertificateStore(folder / "ca").authority("agent-ca")
        self._agents: list[SimulatedAgent] = []

    def contexts(self, cluster: str) -> dict[str, ssl.SSLContext]:
        """Return what a cluster's agent dials with, by protocol."""
        pair = issue_agent(self._authority, cluster, Lifetime.starting(utc_now(), USER_LIFE))
        certificate, key = self._folder / f"{cluster}.crt", self._folder / f"{cluster}.key"
        certificate.write_bytes(pair.certificate_pem)
        key.write_bytes(pair.key_pem)
        ca = self._folder / "ca/server-ca.crt"
        return {alpn: agent_context(certificate, key, ca, [alpn]) for alpn in (SESSION_ALPN, CHANNEL_ALPN)}

    async def connect(self, count: int) -> Mapping[str, object]:
        """Let so many agents more dial, and wait until all can be asked."""
        agents = [SimulatedAgent(self, f"c{len(self._agents) + number}") for number in range(count)]
        self._agents += agents
        began = time.perf_counter()
        for agent in agents:
            self.tasks.create_task(agent.serve())
        return await self._until_ready(began)

    async def cut(self) -> Mapping[str, object]:
        """Break all connections; nobody dials until `dial`."""
        self.may_dial.clear()
        for agent in self._agents:
            agent.cut()
        return {}

    async def dial(self) -> Mapping[str, object]:
        """Let all dial at once, and wait until all can be asked."""
        began = time.perf_counter()
        self.may_dial.set()
        return await self._until_ready(began)

    async def _until_ready(self, began: float) -> Mapping[str, object]:
        for agent in self._agents:
            await agent.ready.wait()
        for agent in self._agents:
            await agent.complete.wait()  # which costs the stub as well, and must not count as something else
        times = sorted(agent.ready_at - began for agent in self._agents if agent.ready_at >= began)
        return {
            "seconds": times[-1],
            "p50_seconds": percentile(times, 0.5),
            "p99_seconds": percentile(times, 0.99),
        }


async def main(folder: str, port: str) -> None:
    async with asyncio.TaskGroup() as tasks:
        crowd = Crowd(Path(folder), int(port), tasks)
        await obey({"connect": crowd.connect, "cut": crowd.cut, "dial": crowd.dial})
        raise SystemExit  # the agents would dial for ever


if __name__ == "__main__":
    run(main(*sys.argv[1:]))
