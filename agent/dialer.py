"""One agent process: it dials every stub, for ever, keeps a session with each, and drains when told to stop."""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from agent.audit import AuditLog
from agent.channel import Channel
from agent.dialling.address import AddressDialer
from agent.dialling.channels import FiledChannels
from agent.dialling.endpoint import EndpointDialer
from agent.dialling.failures import DialFailures
from agent.dialling.road import Endpoint, Road
from agent.dialling.roster import Roster
from agent.dialling.session import FiledSession, Outcome
from agent.enrolment_parts import AgentTls, follow_tls
from agent.facts.apiserver import Apiserver
from agent.facts.collector import Collector
from agent.facts.probe import Probe
from agent.facts.vitals import Vitals
from agent.measures import AgentMeasures
from agent.modes import make_inspection, shown_credential
from agent.preparation import Preparation, Prepared
from agent.session import Fence
from agent.settings import AgentSettings
from agent.upstream.pool import UpstreamPool
from agent.upstream.target import UpstreamTarget, target_of
from certs.followed import RELOAD_SECONDS
from tunnel.aio.control import control_socket
from tunnel.aio.memory import keep_returning
from tunnel.aio.stream import StreamHandler
from tunnel.core.wire.control import CHANNEL_ALPN, SESSION_ALPN, StubHello
from tunnel.kit.values import Address

if TYPE_CHECKING:
    from tunnel.aio.admin import AdminListener

_log = logging.getLogger(__name__)

SHUTTING_DOWN = "this agent is shutting down"


class Stopped(Exception):
    """Ends the task group of an agent that was told to stop, with whatever is still being dialled or renewed."""


class Agent:
    """One agent process.

    Args:
        settings: as `cluster-tunnel agent` has them.
        target: the apiserver.
        tasks: owns everything that is awaited.

    Raises:
        CommandFailed: a certificate, a key or a file that is given cannot be used.
    """

    def __init__(self, settings: AgentSettings, target: UpstreamTarget, tasks: asyncio.TaskGroup) -> None:
        self._settings = settings
        self._target = target
        self._tasks = tasks
        self._tls = follow_tls(settings)
        self.upstream = UpstreamPool(
            target, tasks, limit=settings.upstream_connections, connect_seconds=settings.connect_timeout
        )
        self.vitals = Vitals()
        self._inspection = make_inspection(settings, target, self.upstream)
        self._audit = AuditLog.open(settings.audit, settings.name) if settings.audit else None
        self._fence = Fence()
        self._road = Road(settings)
        self.roster = Roster()
        self._dialers: set[AddressDialer] = set()
        self._sessions: set[FiledSession] = set()
        self._draining = False

    @property
    def links(self) -> set[FiledSession]:
        """The sessions with stubs; what outlives its session on a channel keeps it listed."""
        return {each for each in self._sessions if each.outcome is Outcome.FILED and not _is_over(each)}

    @property
    def in_flight(self) -> int:
        """Requests and pipes that a drain would wait for."""
        return sum(session.in_flight for session in self._sessions)

    # Dialling --------------------------------------------------------------------------------------

    async def serve_stub(self, address: Address) -> None:
        """Keep a session with every stub behind `address` until cancelled, or until `drain` is called."""
        dialer = AddressDialer(
            address, self._road, DialFailures(str(address), self.roster), self._endpoint_dialer
        )
        self._dialers.add(dialer)
        try:
            await dialer.run()
        finally:
            self._dialers.discard(dialer)

    def _endpoint_dialer(self, endpoint: Endpoint, on_failure: Callable[[], None]) -> EndpointDialer:
        return EndpointDialer(endpoint, self._open_session, self.roster, on_failure)

    async def _open_session(self, endpoint: Endpoint) -> FiledSession:
        self._sessions = {each for each in self._sessions if not _is_over(each)}
        opened: list[FiledSession] = []

        tls = self._tls.current(asyncio.get_running_loop().time())

        def make() -> StreamHandler:
            opened.append(self._session(endpoint, tls))
            return opened[0].runner

        await self._road.dial(endpoint, tls.session, make, SESSION_ALPN)
        (session,) = opened
        if self._draining:
            session.stop(SHUTTING_DOWN)
        await session.settled()
        return session

    def _session(self, endpoint: Endpoint, tls: AgentTls) -> FiledSession:
        session = FiledSession(
            self._settings,
            self.upstream,
            self.vitals,
            self._inspection,
            shown_credential(self._settings, self._target),
            self._fence,
            self._target.url,
            lambda stub: self._channels(endpoint, stub, tls),
            self._tasks,
            str(endpoint),
            self._audit,
        )
        session.file_in(self.roster, endpoint.server_name, tls)
        self._sessions.add(session)
        return session

    def _channels(self, endpoint: Endpoint, stub: StubHello, tls: AgentTls) -> FiledChannels:
        async def dial(channel: Channel) -> None:
            # To the very address at which the session found its stub, which may be one of many that its name has.
            await self._road.dial(endpoint, tls.channel, lambda: channel, CHANNEL_ALPN)

        return FiledChannels(
            self.roster,
            endpoint.server_name,
            tls,
            stub,
            dial,
            self._tasks,
            floor=self._settings.channels_floor,
            limit=self._settings.channels_limit,
        )

    async def follow_certificate(self) -> None:
        """Move to new sessions when the certificate has changed."""
        tls = self._tls.value
        while True:
            await asyncio.sleep(RELOAD_SECONDS)
            if self._tls.current(asyncio.get_running_loop().time()) is not tls:
                tls = self._tls.value
                self.hurry()

    def hurry(self) -> None:
        """Dial what is missing now, whatever its turn."""
        for dialer in self._dialers:
            dialer.hurry()

    # Watching itself -------------------------------------------------------------------------------

    async def observe(self) -> None:
        """Find out how the apiserver and the cluster are, until cancelled."""
        apiserver = Apiserver(self._target, self.upstream)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(Probe(apiserver, self.upstream, self.vitals).run(), name="probe the apiserver")
            collector = Collector(apiserver, self.vitals, self._settings.facts_interval)
            tasks.create_task(collector.run(), name="collect facts")

    def problem(self) -> str | None:
        """Return why this agent cannot serve, or None."""
        if self._draining:
            return "draining"
        if not self.upstream.reachable:
            return self.vitals.problem or "the apiserver cannot be reached"
        return None if self.roster.workers else "no session with a stub"

    # Ends ------------------------------------------------------------------------------------------

    async def drain(self, grace_seconds: float) -> None:
        """Ask for no new requests, let what runs finish within the grace, and wait until the stubs have all of it."""
        self._draining = True
        for dialer in self._dialers:
            dialer.stop()
        for session in list(self._sessions):
            if session.stub is None:
                session.stop(SHUTTING_DOWN)  # its stub knows nothing of this agent yet
            else:
                session.drain(SHUTTING_DOWN)
        try:
            async with asyncio.timeout(grace_seconds):
                for session in list(self._sessions):
                    await _finish(session)
        except TimeoutError:
            _log.warning("breaking off what still runs", extra={"requests": self.in_flight})

    def stop(self) -> None:
        """End everything at once."""
        for session in list(self._sessions):
            session.stop("this agent shut down")
        self.upstream.close()
        if self._audit is not None:
            self._audit.close()


def _is_over(session: FiledSession) -> bool:
    if not session.closed.is_set():
        return False
    return not session.in_flight and (session.stub is None or not session.channels.in_use)


async def _finish(session: FiledSession) -> None:
    await session.finish()
    if session.stub is not None:
        # An exchange is over when its answer is written; a slow client may still be taking that.
        await session.channels.finish(SHUTTING_DOWN)


class _Shown:
    """What operators are shown: how far the preparation is, and then the agent.

    Args:
        preparation: of the agent that is not there yet.
    """

    def __init__(self, preparation: Preparation) -> None:
        self._preparation = preparation
        self._agent: Agent | None = None
        self._measures: AgentMeasures | None = None

    def made(self, agent: Agent) -> None:
        """There is an agent."""
        self._agent = agent
        self._measures = AgentMeasures(agent)

    def problem(self) -> str | None:
        if self._agent is not None:
            return self._agent.problem()
        return self._preparation.problem() or "starting"

    def metrics(self) -> bytes:
        return b"" if self._measures is None else self._measures.render()


async def _start_admin(shown: _Shown, settings: AgentSettings) -> "AdminListener | None":
    if settings.admin_listen is None:
        return None
    # aiohttp takes 12 MiB, which an agent without these endpoints does not need.
    from tunnel.aio.admin import AdminListener

    admin = AdminListener(shown.problem, shown.metrics)
    await admin.start(settings.admin_listen)
    return admin


async def _hurry_when_told(agent: Agent, hurry: asyncio.Event) -> None:
    while True:
        await hurry.wait()
        hurry.clear()
        _log.info("dialling at once")
        agent.hurry()


async def run(
    settings: AgentSettings,
    stopping: asyncio.Event,
    hurry: asyncio.Event | None = None,
    made: Callable[[Agent], None] = lambda agent: None,
    drained: Callable[[Agent], None] = lambda agent: None,
) -> None:
    """Run an agent until `stopping` is set, and drain it then.

    Args:
        hurry: set, by whoever knows that a stub is back, to dial without waiting for the next try.
        made: called with the agent as soon as it dials.
        drained: called with it behind the drain; what is still in flight then is about to be broken off.

    Raises:
        CommandFailed: it cannot start.

    Cancelling it ends the agent at once.
    """
    target = target_of(settings)
    preparation = Preparation(settings, target)
    shown = _Shown(preparation)
    admin = await _start_admin(shown, settings)

    def serving(agent: Agent) -> None:
        shown.made(agent)
        made(agent)

    try:
        prepared = await preparation.run(stopping)
        if prepared is None:
            _log.info("stopped before it had a certificate")
            return
        await _serve(prepared, target, stopping, hurry or asyncio.Event(), serving, drained)
    finally:
        if admin is not None:
            await admin.stop()


async def _serve(
    prepared: Prepared,
    target: UpstreamTarget,
    stopping: asyncio.Event,
    hurry: asyncio.Event,
    made: Callable[[Agent], None],
    drained: Callable[[Agent], None],
) -> None:
    settings = prepared.settings
    try:
        async with asyncio.TaskGroup() as tasks:
            if prepared.enrolment is not None:
                tasks.create_task(prepared.enrolment.keep_renewed(), name="renew the certificate")
            agent = Agent(settings, target, tasks)
            tasks.create_task(agent.follow_certificate(), name="follow the certificate")
            tasks.create_task(agent.observe(), name="observe the cluster")
            tasks.create_task(keep_returning(), name="return memory")
            tasks.create_task(_hurry_when_told(agent, hurry), name="hurry when told")
            for address in settings.stub:
                tasks.create_task(agent.serve_stub(address), name=f"serve {address}")
            made(agent)
            try:
                async with control_socket(settings.control, stopping, lambda: agent.in_flight):
                    await stopping.wait()
                    await agent.drain(settings.drain_grace)
                    drained(agent)
            finally:
                agent.stop()
            raise Stopped
    except* Stopped:
        _log.info("stopped")
