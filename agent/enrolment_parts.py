"""Puts an agent's enrolment together, and the TLS contexts that follow the certificate it keeps."""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from agent.dialling.road import Road
from agent.enrolment import Enrolment
from agent.enrolment_cluster import ClusterUnknown, read_cluster_uid
from agent.facts.apiserver import Apiserver
from agent.settings import AgentSettings
from agent.upstream.pool import UpstreamPool
from agent.upstream.target import UpstreamTarget
from certs.contexts import HTTP, agent_context
from certs.followed import Followed
from tunnel.aio.errors import ConnectFailed, DialFailed
from tunnel.aio.stream import StreamHandler
from tunnel.core.wire.control import CHANNEL_ALPN, SESSION_ALPN
from tunnel.kit.failures import CommandFailed
from tunnel.kit.values import Address


@dataclass(frozen=True, slots=True)
class AgentTls:
    """The contexts of one state of the agent's certificate. A stub wants a session's channels to show the session's own, so a
    session keeps the pair with which it was opened.

    Attributes:
        session: for sessions.
        channel: for response channels.
    """

    session: ssl.SSLContext
    channel: ssl.SSLContext


def follow_tls(settings: AgentSettings) -> Followed[AgentTls]:
    """Return the contexts with which stubs are dialled, made again when the certificate, its key or the authority change.

    Args:
        settings: as `Enrolment.enrol` returns them.

    Raises:
        CertificateProblem: a file cannot be used.
    """
    paths = (settings.cert, settings.key, settings.ca)

    def make() -> AgentTls:
        return AgentTls(agent_context(*paths, [SESSION_ALPN]), agent_context(*paths, [CHANNEL_ALPN]))

    return Followed("the agent's certificate", paths, make)


def make_enrolment(settings: AgentSettings, target: UpstreamTarget) -> Enrolment | None:
    """Return what gets and renews the agent's certificate, or None where `--cert` gives one.

    Args:
        settings: of the agent.
        target: its apiserver, which knows the cluster's UID.

    Raises:
        CommandFailed: a file cannot be used, or the state folder cannot be made.
    """
    if settings.state is None:
        return None
    road = Road(settings)

    async def dial(stub: Address, context: ssl.SSLContext, make: Callable[[], StreamHandler]) -> None:
        failure: DialFailed = ConnectFailed(str(stub), "its name has no address")
        for endpoint in await road.endpoints(stub):
            try:
                await road.dial(endpoint, context, make, HTTP[0])
                return
            except DialFailed as error:
                failure = error
        raise failure

    async def read_uid() -> str:
        return await _read_uid(settings, target)

    return Enrolment(settings, dial, read_uid)


async def _read_uid(settings: AgentSettings, target: UpstreamTarget) -> str:
    """Ask over a connection of its own: those that serve requests are made when there is somebody to serve."""
    async with asyncio.TaskGroup() as tasks:
        pool = UpstreamPool(target, tasks, limit=1, connect_seconds=settings.connect_timeout)
        asking = tasks.create_task(_outcome(Apiserver(target, pool)), name="read the cluster's UID")
        asking.add_done_callback(lambda _: pool.close())
    uid, failure = asking.result()
    if failure is not None:
        raise failure
    return uid


async def _outcome(apiserver: Apiserver) -> tuple[str, Exception | None]:
    """What became of the question; an exception in a task would come out of the group wrapped."""
    try:
        return await read_cluster_uid(apiserver), None
    except (ClusterUnknown, CommandFailed) as failure:
        return "", failure
