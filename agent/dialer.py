"""Dials every stub, for ever, and keeps a session with each; drains when told to stop."""

import asyncio
import logging
import random
import ssl
from typing import TYPE_CHECKING

from agent.ceiling import Ceiling, open_ceiling
from agent.channels import Channel, ChannelPool
from agent.inspection import Inspection
from agent.measures import AgentMeasures
from agent.session import AgentLink, Fence
from agent.settings import AgentSettings
from agent.upstream.pool import UpstreamPool
from agent.upstream.target import UpstreamTarget, target_of
from certs.contexts import agent_context
from tunnel.aio.dial import dial_tls
from tunnel.aio.errors import StreamError
from tunnel.aio.sockets import TUNNEL_LEG
from tunnel.aio.stream import StreamHandler
from tunnel.core.wire.control import CHANNEL_ALPN, SESSION_ALPN, StubHello
from tunnel.kit.backoff import Backoff
from tunnel.kit.values import Address

if TYPE_CHECKING:
    from tunnel.aio.admin import AdminListener

_log = logging.getLogger(__name__)


class Stopped(Exception):
    """Ends the task group of an agent that was told to stop, with whatever is still being dialled or renewed."""


class Agent:
    """One agent process.

    Args:
        settings: as `cluster-tunnel agent` has them.
        target: the apiserver.
        tasks: owns everything that is awaited.

    Raises:
        CommandFailed: a certificate or key cannot be used.
    """

    def __init__(self, settings: AgentSettings, target: UpstreamTarget, tasks: asyncio.TaskGroup) -> None:
        self._settings = settings
        self._target = target
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._session_context = self._context(SESSION_ALPN)
        self._channel_context = self._context(CHANNEL_ALPN)
        self.upstream = UpstreamPool(
            target, tasks, limit=settings.upstream_connections, connect_seconds=settings.connect_timeout
        )
        ceiling = Ceiling(impersonate=settings.mode == "impersonate", file=open_ceiling(settings.ceiling))
        self._inspection = Inspection(ceiling, target.credential, target.authority, target.base_path)
        self._fence = Fence()
        self._draining = False
        self.links: set[AgentLink] = set()

    def _context(self, alpn: str) -> ssl.SSLContext:
        return agent_context(self._settings.cert, self._settings.key, self._settings.ca, [alpn])

    async def serve_stub(self, address: Address) -> None:
        """Keep a session with the stub behind `address` until cancelled, or until `drain` is called and it ends."""
        backoff = Backoff(random.random)
        while not self._draining:
            try:
                link = await self._open_session(address)
            except StreamError as error:
                _log.warning("a stub cannot be reached", extra={"stub": str(address), "reason": str(error)})
            else:
                await link.closed.wait()
                self._forget_finished()
                _log.warning("the session is over", extra={"stub": str(address), "reason": link.close_reason})
                if link.stub is not None:
                    backoff.succeeded()
            await asyncio.sleep(backoff.next_seconds())

    async def _open_session(self, address: Address) -> AgentLink:
        def make_channels(stub: StubHello) -> ChannelPool:
            async def dial(channel: Channel) -> None:
                await self._dial(address, self._channel_context, channel, CHANNEL_ALPN)

            return ChannelPool(
                stub,
                dial,
                self._tasks,
                floor=self._settings.channels_floor,
                limit=self._settings.channels_limit,
            )

        link = AgentLink(
            self._settings,
            self.upstream,
            self._inspection,
            self._target.credential,
            self._fence,
            self._target.origin,
            make_channels,
            self._tasks,
            str(address),
        )
        await self._dial(address, self._session_context, link.runner, SESSION_ALPN)
        self.links.add(link)
        if self._draining:
            link.stop("this agent is shutting down")
        return link

    def _forget_finished(self) -> None:
        """Drop the sessions that are over; what outlives its session on a channel keeps it listed, so that `drain` waits."""
        self.links = {link for link in self.links if link.in_flight or not link.closed.is_set()}

    async def _dial(
        self, address: Address, context: ssl.SSLContext, handler: StreamHandler, alpn: str
    ) -> None:
        await dial_tls(
            address.host,
            address.port,
            context,
            handler_factory=lambda: handler,
            deadline=self._loop.time() + self._settings.connect_timeout,
            require_alpn=alpn,
            options=TUNNEL_LEG,
        )

    def problem(self) -> str | None:
        """Return why this agent cannot serve, or None."""
        if self._draining:
            return "draining"
        if not self.upstream.reachable:
            return "the apiserver cannot be reached"
        return None if any(link.stub is not None for link in self.links) else "no session with a stub"

    async def drain(self, grace_seconds: float) -> None:
        """Ask for no new requests and let what runs finish within the grace."""
        self._draining = True
        for link in self.links:
            link.drain("this agent is shutting down")
        try:
            async with asyncio.timeout(grace_seconds):
                for link in list(self.links):
                    await link.idle.wait()
        except TimeoutError:
            running = sum(link.in_flight for link in self.links)
            _log.warning("breaking off what still runs", extra={"requests": running})

    def stop(self) -> None:
        """End everything at once."""
        for link in list(self.links):
            link.stop("this agent shut down")
        self.upstream.close()


async def _start_admin(agent: Agent, settings: AgentSettings) -> "AdminListener | None":
    if settings.admin_listen is None:
        return None
    # aiohttp takes 17 MiB, which an agent without these endpoints does not need.
    from tunnel.aio.admin import AdminListener

    admin = AdminListener(agent.problem, AgentMeasures(agent).render)
    await admin.start(settings.admin_listen)
    return admin


async def run(settings: AgentSettings, stopping: asyncio.Event) -> None:
    """Run an agent until `stopping` is set, and drain it then.

    Raises:
        CommandFailed: it cannot start.

    Cancelling it ends the agent at once.
    """
    target = target_of(settings)
    if target.credential.can_renew:
        await target.credential.renew()
    try:
        async with asyncio.TaskGroup() as tasks:
            agent = Agent(settings, target, tasks)
            admin = await _start_admin(agent, settings)
            for address in settings.stub:
                tasks.create_task(agent.serve_stub(address), name=f"serve {address}")
            try:
                await stopping.wait()
                await agent.drain(settings.drain_grace)
            finally:
                agent.stop()
                if admin is not None:
                    await admin.stop()
            raise Stopped
    except* Stopped:
        _log.info("stopped")
