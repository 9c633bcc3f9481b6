"""A whole tunnel in this process: scripted upstream, agents, stub and clients, over real sockets and real TLS."""

import asyncio
import contextlib
import shutil
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from agent.dialer import Agent
from agent.session import AgentLink as AgentSide
from agent.settings import AgentSettings
from agent.upstream.target import target_of
from stub.agents.link import AgentLink as StubSide
from stub.server import Stub
from stub.settings import StubSettings
from tests import pki
from tests.integration.client import Client
from tests.integration.tls_end import TlsEnd
from tests.integration.upstream import Upstream
from tests.integration.waiting import soon, until
from tunnel.core.identifiers import ClusterId
from tunnel.kit.values import Address

TOKEN: Final = "the-agents-own-token"
BLUE: Final = ClusterId("blue")
DOMAIN: Final = "clusters.test"
NAMES: Final = ("localhost", "127.0.0.1", f"*.{DOMAIN}", DOMAIN)


class Certificates:
    """The three authorities, and what they signed.

    Args:
        folder: an empty one.
    """

    def __init__(self, folder: Path) -> None:
        self.server_ca = pki.Authority(folder, "server-ca")
        self.user_ca = pki.Authority(folder, "user-ca")
        self.agent_ca = pki.Authority(folder, "agent-ca")
        self.cluster_ca = pki.Authority(folder, "cluster-ca")
        self.ca_dir = folder
        self.server = server = self.server_ca.server(NAMES)
        shutil.copy(server.cert_path, folder / "server.crt")
        shutil.copy(server.key_path, folder / "server.key")
        self.agents = {name: self._agent(name) for name in ("blue", "green")}
        self.users = {"jane": self.user_ca.client("jane", ["devs", "ops"]), "joe": self.user_ca.client("joe")}
        self.upstream = pki.server_context(self.cluster_ca.server(), alpn=["http/1.1"])
        self._contexts: dict[tuple[Path | None, tuple[str, ...]], ssl.SSLContext] = {}

    def _agent(self, cluster: str) -> pki.KeyPair:
        return self.agent_ca.client(f"agent-{cluster}", uri=f"cluster-tunnel://agent/{cluster}")

    def client_context(self, pair: pki.KeyPair | None, alpn: Sequence[str] = ()) -> ssl.SSLContext:
        """A context that trusts the stub and shows `pair`."""
        key = (pair.cert_path if pair else None, tuple(alpn))
        if key not in self._contexts:
            self._contexts[key] = pki.client_context(self.server_ca, pair=pair, alpn=alpn)
        return self._contexts[key]


@dataclass
class RunningAgent:
    """An agent and the task that owns it."""

    agent: Agent
    stub_address: Address
    task: "asyncio.Task[None]" = field(init=False)
    ending: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def link(self) -> AgentSide:
        """Its only session."""
        (link,) = self.agent.links
        return link

    async def stop(self) -> None:
        """End it at once, as behind a drain."""
        self.ending.set()
        await soon(asyncio.wait([self.task]))
        if not self.task.cancelled():
            self.task.result()

    async def cut(self) -> None:
        """End it as a machine does that is switched off: every connection is cut, nothing more is said."""
        for link in self.agent.links:
            cut(link.runner._stream)
            for channel in list(link.channels._open):
                cut(getattr(channel, "stream", None))
        self.task.cancel()
        await asyncio.wait([self.task])


class Tunnel:
    """Everything that runs in one test.

    Args:
        certificates: for all of it.
        folder: for the token file.
    """

    stub: Stub

    def __init__(self, certificates: Certificates, folder: Path) -> None:
        self.certificates = certificates
        self.token_file = folder / "token"
        self.token_file.write_text(TOKEN)
        self.audit = folder / "audit"
        self.upstream = Upstream(certificates.upstream)
        self.agents: list[RunningAgent] = []
        self._stubs: list[Stub] = []
        self._clients: list[TlsEnd] = []

    @property
    def agent(self) -> RunningAgent:
        """The only agent."""
        (agent,) = self.agents
        return agent

    @property
    def link(self) -> StubSide:
        """The stub's side of the only agent's session."""
        (link,) = self.stub.registry.links
        return link

    @property
    def port(self) -> int:
        """Of the stub."""
        return self.stub.addresses[0][1]

    # Parts -----------------------------------------------------------------------------------------

    async def start_stub(self, *, port: int = 0, **settings: Any) -> Stub:
        """Start a stub; it becomes the one that agents dial and clients ask."""
        chosen: dict[str, Any] = {"default_cluster": BLUE, "admin_listen": None, "audit": str(self.audit)}
        own = StubSettings(
            listen=Address("127.0.0.1", port), ca_dir=self.certificates.ca_dir, **chosen | settings
        )
        self.stub = Stub(own)
        self._stubs.append(self.stub)
        await self.stub.start()
        return self.stub

    def agent_settings(self, cluster: str = "blue", **settings: Any) -> AgentSettings:
        """What an agent of this test is given."""
        pair = self.certificates.agents[cluster]
        chosen: dict[str, Any] = {
            "name": f"{cluster}-{len(self.agents)}",
            "channels_floor": 2,
            "upstream": f"https://localhost:{self.upstream.port}",
            "upstream_ca": self.certificates.cluster_ca.path,
            "token_file": self.token_file,
            "cert": pair.cert_path,
            "key": pair.key_path,
        }
        chosen.setdefault("stub", (Address("localhost", settings.pop("stub_port", 0) or self.port),))
        return AgentSettings(ca=self.certificates.server_ca.path, **chosen | settings)

    async def start_agent(
        self, cluster: str = "blue", *, ready: bool = True, **settings: Any
    ) -> RunningAgent:
        """Start an agent and wait until it can answer."""
        own = self.agent_settings(cluster, **settings)
        started: asyncio.Future[RunningAgent] = asyncio.get_running_loop().create_future()
        task = asyncio.get_running_loop().create_task(_run_agent(own, started))
        running = await soon(started)
        running.task = task
        self.agents.append(running)
        if ready:
            await until(lambda: self._is_served_by(own))
        return running

    def _is_served_by(self, own: AgentSettings) -> bool:
        """Whether the stub can ask this agent, and has its idle channels."""
        links = [link for link in self.stub.registry.links if link.name == own.name]
        return any(len(link.channels) >= own.channels_floor for link in links)

    async def dial(
        self,
        user: str | pki.KeyPair | None = "jane",
        *,
        alpn: Sequence[str] = (),
        server_name: str = "localhost",
        kernel_buffer: int | None = None,
    ) -> TlsEnd:
        """A TLS connection to the stub, with a user's certificate or without any."""
        pair = self.certificates.users[user] if isinstance(user, str) else user
        context = self.certificates.client_context(pair, alpn)
        end = await soon(TlsEnd.connect(self.port, context, server_name, kernel_buffer))
        self._clients.append(end)
        return end

    async def connect(self, user: str | pki.KeyPair | None = "jane", **options: Any) -> Client:
        """A client of the stub; see `dial`."""
        return Client(await self.dial(user, **options))

    # Counts ----------------------------------------------------------------------------------------

    def is_quiet(self) -> bool:
        """Whether nothing of any request is left: on either side, in any table."""
        stub_side = all(
            not (link._waiting or link._uploading or link._uploads._bodies or link._core._bodies._bodies)
            for link in self.stub.registry.links
        )
        links = [link for running in self.agents for link in running.agent.links if link.stub is not None]
        agent_side = all(
            not link._exchanges
            and not link._core._bodies._bodies
            and not link._core._bodies._announced
            and not link.channels.in_use
            for link in links
        )
        return stub_side and agent_side

    async def quiet(self) -> None:
        """Wait until `is_quiet`."""
        await until(self.is_quiet)

    # The end ---------------------------------------------------------------------------------------

    async def stop(self) -> None:
        """End everything."""
        for end in self._clients:
            await end.abort()
        for running in self.agents:
            await running.stop()
        for stub in self._stubs:
            await stub.stop()
        await self.upstream.__aexit__(None, None, None)


async def _run_agent(settings: AgentSettings, started: "asyncio.Future[RunningAgent]") -> None:
    """As `agent.dialer.run`, which keeps its Agent to itself."""
    target = target_of(settings)
    if target.credential.can_renew:
        await target.credential.renew()
    async with asyncio.TaskGroup() as tasks:
        agent = Agent(settings, target, tasks)
        running = RunningAgent(agent, settings.stub[0])
        dialling = [tasks.create_task(agent.serve_stub(address)) for address in settings.stub]
        started.set_result(running)
        try:
            await running.ending.wait()
        finally:
            for task in dialling:
                task.cancel()
            agent.stop()


def cut(stream: Any) -> None:
    """End a stream's TCP connection without a word of TLS; its owner is told, as when the network breaks."""
    if stream is not None and stream._transport is not None:
        with contextlib.suppress(OSError):
            stream._transport.abort()
