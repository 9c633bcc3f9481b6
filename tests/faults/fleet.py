"""A whole installation of real processes: several stubs, several agents, what stands before and behind them."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import yaml

from certs.lifetime import USER_LIFE, Lifetime, utc_now
from certs.store import CertificateStore
from tests.faults.processes import (
    LOOK_SECONDS,
    START_SECONDS,
    AgentProcess,
    FaultFailed,
    Member,
    StubProcess,
    ports,
)
from tests.faults.relay import Relay, relay
from tests.faults.service import Service, service
from tests.faults.upstream import USER, Counting, upstream

CLUSTER: Final = "blue"
SIMULATED: Final = "green"
LEASE: Final = "kubernetes:default/stub"
CHANNELS: Final = 4
"""An agent's idle channels, by its default."""


@dataclass(frozen=True, slots=True)
class Timing:
    """The times of the election, and what a drain takes.

    Attributes:
        lease, deadline, retry: `--lease-duration`, `--lease-renew-deadline`, `--lease-retry`, in seconds.
        delay: `--drain-delay`.
        grace: `--drain-grace`, of agents too.
    """

    lease: int = 3
    deadline: float = 2.0
    retry: float = 0.5
    delay: float = 1.0
    grace: float = 5.0

    @property
    def flags(self) -> list[str]:
        """As a stub takes them."""
        return [
            f"--lease-duration={self.lease}s",
            f"--lease-renew-deadline={self.deadline:g}s",
            f"--lease-retry={round(self.retry * 1000)}ms",
            f"--drain-delay={self.delay:g}s",
            f"--drain-grace={self.grace:g}s",
        ]


SHORT: Final = Timing()
DEFAULTS: Final = Timing(lease=15, deadline=10.0, retry=2.0, delay=5.0, grace=30.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a fleet consists of.

    Attributes:
        stubs, agents: how many.
        lease: `kubernetes` (in the simulator), `file`, or `none`.
        timing: of election and drain.
        relayed: whether a relay stands between each agent and each stub.
        stub_flags, agent_flags: beside the usual ones.
        wall_clocks: how far the stubs' wall clocks are ahead, in seconds.
        kubectl: whether the simulator is a cluster too, `green`, with an agent of its own. It needs `kubernetes`.
    """

    stubs: int = 3
    agents: int = 3
    lease: str = "kubernetes"
    timing: Timing = SHORT
    relayed: bool = False
    stub_flags: Sequence[str] = ()
    agent_flags: Sequence[str] = ()
    wall_clocks: Sequence[float] = ()
    kubectl: bool = False


@dataclass(eq=False)
class Fleet:
    """See the module; `fleet` makes one.

    Attributes:
        counting: what reached the apiserver.
        service: leads users to the active stub.
        api: for each stub the relay between it and the apiserver that has the Lease.
        links: for agents behind relays, the relay between an agent and a stub, by both their names.
        guests: agents of other clusters.
    """

    folder: Path
    plan: Plan
    stubs: list[StubProcess] = field(default_factory=list)
    agents: list[AgentProcess] = field(default_factory=list)
    api: dict[str, Relay] = field(default_factory=dict)
    links: dict[tuple[str, str], Relay] = field(default_factory=dict)
    guests: list[AgentProcess] = field(default_factory=list)
    others: list[Member] = field(default_factory=list)
    counting: Counting = field(init=False)
    service: Service = field(init=False)
    context: ssl.SSLContext = field(init=False)

    @property
    def members(self) -> list[Member]:
        """Every stub and every agent."""
        return [*self.stubs, *self.agents, *self.guests]

    # Waiting ---------------------------------------------------------------------------------------

    async def active(self, seconds: float = START_SECONDS) -> StubProcess:
        """Wait until one stub says that it is the active one, and return it."""
        deadline = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < deadline:
            for stub in self.stubs:
                if stub.alive and await stub.is_active():
                    return stub
            await asyncio.sleep(LOOK_SECONDS)
        raise FaultFailed(f"no stub is active\n{self.said()}")

    async def standbys(self) -> list[StubProcess]:
        """Return the others."""
        active = await self.active()
        return [stub for stub in self.stubs if stub is not active]

    async def whole(self, seconds: float = START_SECONDS) -> None:
        """Wait until every member runs, every stub has every agent with its idle channels, and users are led to the active one."""
        deadline = asyncio.get_running_loop().time() + seconds
        while problem := await self._missing():
            for member in self.members:
                if not member.alive:
                    raise FaultFailed(f"{member.name} ended by itself\n{member.said()}")
            if asyncio.get_running_loop().time() > deadline:
                raise FaultFailed(f"{problem}\n{self.said()}")
            await asyncio.sleep(LOOK_SECONDS)

    async def _missing(self) -> str:
        names = sorted(agent.name for agent in [*self.agents, *self.guests])
        for stub in self.stubs:
            sessions = await stub.sessions()
            serving = sorted(
                each["agent"] for each in sessions if each["channels"] >= CHANNELS and not each["draining"]
            )
            # A session that is left over from before is as bad as one that is missing.
            if serving != names or len(sessions) != len(names):
                return f"{stub.name} has {serving} of {names}"
        active = [stub for stub in self.stubs if await stub.is_active()]
        if len(active) != 1:
            return f"{len(active)} stubs say that they are the active one"
        return "" if self.service.active is active[0] else f"users are not led to {active[0].name} yet"

    async def ready(self, member: Member) -> None:
        """Wait until a kubelet would call it ready: a stub as soon as it listens, an agent with its first session."""

        async def is_listed() -> bool:
            listed = [each["agent"] for stub in self.stubs if stub.alive for each in await stub.sessions()]
            return member.name in listed

        await member.until(member.is_ready if isinstance(member, StubProcess) else is_listed)

    async def restart(self, member: Member) -> None:
        """Ask a member to end, wait until it has, start it again, and wait until it is ready, as a rollout does."""
        member.terminate()
        if (code := await member.ended()) != 0:
            raise FaultFailed(f"{member.name} ended with {code}\n{member.said()}")
        await member.start()
        await self.ready(member)

    async def mend(self) -> None:
        """Start every member that has ended, and wait until all is as at the beginning."""
        for member in self.members:
            if not member.alive:
                await member.start()
        for member in self.members:
            await self.ready(member)
        for agent in [*self.agents, *self.guests]:
            agent.hurry()
        await self.whole()

    def said(self) -> str:
        """Return what all members wrote last."""
        return "\n".join(f"--- {member.name}\n{member.said(15)}" for member in self.members)


@asynccontextmanager
async def fleet(folder: Path, plan: Plan | None = None) -> AsyncIterator[Fleet]:
    """Run a fleet while the block runs; it is whole when it is given.

    Args:
        folder: an empty one, for certificates, tokens and logs.
        plan: what it consists of.
    """
    found = Fleet(folder, plan or Plan())
    async with AsyncExitStack() as stack:
        stack.push_async_callback(_end, found)
        await _prepare(found, stack)
        # The stubs first: what an agent dials in vain it dials again ever later.
        for members in (found.stubs, [*found.agents, *found.guests]):
            for member in members:
                await member.start()
            for member in members:
                await found.ready(member)
        await found.whole()
        yield found


async def _end(found: Fleet) -> None:
    for member in [*found.members, *found.others]:
        await member.stop()


async def _prepare(found: Fleet, stack: AsyncExitStack) -> None:
    tokens = {f"agent-{number}": f"token-of-agent-{number}" for number in range(found.plan.agents)}
    _make_files(found.folder, tokens)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(found.folder / "ca/server.crt", found.folder / "ca/server.key")
    agents = {token: name for name, token in tokens.items()}
    found.counting, upstream_port = await stack.enter_async_context(upstream(context, agents))
    found.context = user_context(found.folder)
    api_port = await _start_api(found) if found.plan.lease == "kubernetes" else 0
    for number in range(found.plan.stubs):
        await _add_stub(found, number, api_port, stack)
    upstream_flags = [f"--upstream=https://localhost:{upstream_port}", "--upstream-ca=upstream-ca.crt"]
    for name in tokens:
        flags = [*upstream_flags, f"--token-file={name}.token"]
        found.agents.append(await _make_agent(found, name, CLUSTER, flags, stack))
    if found.plan.kubectl:
        where = [f"--upstream=https://127.0.0.1:{api_port}", "--upstream-ca=api/ca.crt"]
        flags = [*where, "--token-file=api/admin.token", "--mode=token"]
        found.guests.append(await _make_agent(found, "guest", SIMULATED, flags, stack))
    found.service = await stack.enter_async_context(service(found.stubs))


def _make_files(folder: Path, tokens: dict[str, str]) -> None:
    store = CertificateStore(folder / "ca")
    store.make_authorities(utc_now())
    lifetime = Lifetime.starting(utc_now(), USER_LIFE)
    store.issue_server(["localhost"], lifetime)
    store.issue_user(USER, ["devs"], lifetime)
    store.issue_agent(CLUSTER, lifetime)
    store.issue_agent(SIMULATED, lifetime)
    (folder / "upstream-ca.crt").write_bytes(store.authority_pem("server-ca"))
    for name, token in tokens.items():
        (folder / f"{name}.token").write_text(token)


def user_context(folder: Path) -> ssl.SSLContext:
    """Return what the user of a fleet in `folder` connects with."""
    context = ssl.create_default_context(cafile=str(folder / "ca/server-ca.crt"))
    context.load_cert_chain(folder / f"ca/user-{USER}.crt", folder / f"ca/user-{USER}.key")
    context.set_alpn_protocols(["http/1.1"])
    return context


async def _start_api(found: Fleet) -> int:
    """Start the simulator that has the Lease, and return its port."""
    (port,) = ports(1)
    samples = [] if found.plan.kubectl else ["--no-samples"]
    arguments = ["--dir", "api", "--listen", f"127.0.0.1:{port}", *samples]
    api = Member("api", found.folder, arguments, module="tests.kubesim")
    found.others.append(api)
    await api.start()
    deadline = asyncio.get_running_loop().time() + START_SECONDS
    while not api.has_said("ready"):
        if not api.alive or asyncio.get_running_loop().time() > deadline:
            raise FaultFailed(f"the simulator does not start\n{api.said()}")
        await asyncio.sleep(LOOK_SECONDS)
    return port


async def _add_stub(found: Fleet, number: int, api_port: int, stack: AsyncExitStack) -> None:
    name, plan = f"stub-{number}", found.plan
    port, admin_port = ports(2)
    flags = [
        *("--ca-dir=ca", f"--listen=127.0.0.1:{port}", f"--admin-listen=127.0.0.1:{admin_port}"),
        *(f"--default-cluster={CLUSTER}", f"--audit={name}.audit", *plan.timing.flags),
    ]
    if plan.lease == "kubernetes":
        found.api[name] = between = await stack.enter_async_context(relay(api_port))
        flags += [f"--lease={LEASE}", f"--lease-kubeconfig={_kubeconfig(found.folder, name, between.port)}"]
    elif plan.lease == "file":
        flags.append("--lease=file:lease")
    settings = {"FAULTS_WALL_CLOCK": str(plan.wall_clocks[number] if plan.wall_clocks else 0)}
    arguments = ["stub", *flags, *plan.stub_flags]
    found.stubs.append(StubProcess(name, found.folder, arguments, settings, port=port, admin_port=admin_port))


def _kubeconfig(folder: Path, name: str, port: int) -> Path:
    """Write how a stub reaches the apiserver of the Lease: through a relay of its own."""
    config = yaml.safe_load((folder / "api/kubeconfig").read_text())
    config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{port}"
    path = folder / f"{name}.kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


async def _make_agent(
    found: Fleet, name: str, cluster: str, upstream_flags: Sequence[str], stack: AsyncExitStack
) -> AgentProcess:
    plan = found.plan
    stubs = []
    for stub in found.stubs:
        port = stub.port
        if plan.relayed:
            found.links[name, stub.name] = between = await stack.enter_async_context(relay(stub.port))
            port = between.port
        stubs.append(f"--stub=localhost:{port}")
    flags = [
        *(f"--cert=ca/agent-{cluster}.crt", f"--key=ca/agent-{cluster}.key", "--ca=ca/server-ca.crt"),
        *(f"--name={name}", f"--drain-grace={plan.timing.grace:g}s", "--facts-interval=off", "--proxy=off"),
        f"--audit={name}.audit",
    ]
    arguments = ["agent", *stubs, *flags, *upstream_flags, *plan.agent_flags]
    return AgentProcess(name, found.folder, arguments)
