"""Puts a stub together, serves, and drains when told to stop."""

import asyncio
import logging
import secrets
import ssl
from collections.abc import Callable
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from certs.errors import PeerRefused
from certs.followed import Followed
from stub.access import open_access
from stub.agents.acceptance import AgentAcceptance
from stub.agents.quotas import AgentLimits
from stub.agents.registry import Registry
from stub.audit import AuditLog
from stub.election.choice import NoLease
from stub.front.admission import Admission, AdmissionRules
from stub.front.connection import FrontConnection
from stub.front.office import FrontOffice, Ledger, Signing
from stub.front.quotas import QuotaLimits
from stub.leadership import make_leadership
from stub.measures import StubMeasures
from stub.recording.recorder import start_recorder
from stub.settings import StubSettings
from stub.signing.contexts import follow_agent_context, follow_public_context
from stub.signing.opening import open_signing, open_standing
from stub.slots import SlotBoard, Switch
from stub.sweep import Sweep
from tunnel.aio.admittance import HandshakeLimits
from tunnel.aio.basestream import BaseStream
from tunnel.aio.control import control_socket
from tunnel.aio.errors import HandshakeFailed
from tunnel.aio.listen import Listener, ListenerSettings, listen
from tunnel.aio.memory import keep_returning
from tunnel.aio.sockets import TUNNEL_LEG
from tunnel.aio.stream import StreamHandler
from tunnel.aio.workers.seat import Seat
from tunnel.core.wire.control import CHANNEL_ALPN, SESSION_ALPN, StubHello
from tunnel.kit.failures import CommandFailed
from tunnel.kit.values import Address

if TYPE_CHECKING:
    from stub.admin import AdminEndpoints

HTTP_ALPN = "http/1.1"
HAND_OVER_DELAY_SECONDS: Final = 5.0
"""The default of `--drain-delay` with a lease. The label moves at once; kube-proxy gathers changes for a second before it follows."""

_AGENT_ALPN = (SESSION_ALPN, CHANNEL_ALPN)

_log = logging.getLogger(__name__)


class Stub:
    """One stub process.

    Args:
        settings: as `cluster-tunnel stub` has them.
        seat: which worker of the stub this is; None where it is the whole stub. A worker has neither a part in the election nor
            admin endpoints.
        instance: what the stub calls itself, where there is a seat.
    """

    def __init__(self, settings: StubSettings, seat: Seat | None = None, instance: str | None = None) -> None:
        self.settings = settings
        self._seat = seat
        self.standing = open_standing(settings)
        self._peers = self.standing.peers
        self.registry = Registry(
            limits=AgentLimits(settings.max_sessions_per_cluster, settings.max_channels_per_cluster)
        )
        instance = instance or secrets.token_hex(8)
        hello = StubHello(
            instance,
            instances=(instance,),
            software=f"cluster-tunnel/{version('cluster-tunnel')}",
            worker=seat.number if seat else 0,
            workers=seat.count if seat else 1,
        )
        self.acceptance = AgentAcceptance(self.registry, self.standing, hello)
        self.measures = StubMeasures(self.registry)
        self._audit = AuditLog.open(settings.audit) if settings.audit else None
        loop = asyncio.get_running_loop()
        self.slots = SlotBoard(dict(settings.slot), settings.slot_settle, loop, self._slot_switched)
        self.registry.subscribe(lambda link: self.slots.cluster_connected(link.cluster))
        self.registry.subscribe_emptied(self.slots.cluster_gone)
        self.office = self._make_office()
        self.office.stages = self._audit
        self.leadership = (
            make_leadership(settings, instance, self.office, self.registry) if seat is None else None
        )
        if self.leadership is not None:
            leadership = self.leadership
            self.acceptance.known_instances = lambda: leadership.known_instances
        self.measures.leadership = self.leadership
        self.measures.slots = self.slots
        self.office.recorder = self.measures.recorder = start_recorder(settings)
        self._admin: AdminEndpoints | None = None
        self._listeners: list[Listener] = []
        self._listeners_with_contexts: list[tuple[Listener, Followed[ssl.SSLContext]]] = []

    def _make_office(self) -> FrontOffice:
        settings = self.settings
        rules = AdmissionRules(
            domain=settings.domain,
            default_cluster=settings.default_cluster,
            allow_users=frozenset(settings.allow_users),
            allow_groups=frozenset(settings.allow_groups),
            forward_cookies=settings.forward_cookies,
            forward_fingerprint=settings.forward_fingerprint,
        )
        ledgers: tuple[Ledger, ...] = (self.measures, *([self._audit] if self._audit else []))
        return FrontOffice(
            Admission(rules, self._peers, open_access(settings), self.slots, self.standing),
            self.registry,
            ledgers,
            idle_seconds=settings.idle_timeout,
            head_seconds=settings.head_timeout,
            body_idle_seconds=settings.body_idle_timeout,
            splice_drain_seconds=settings.splice_drain,
            retry_seconds=settings.retry_budget,
            quotas=QuotaLimits(
                connections_per_address=settings.max_connections_per_address,
                connections_per_user=settings.max_connections_per_user,
                requests_per_user=settings.max_requests_per_user,
                requests_per_cluster=settings.max_requests_per_cluster,
            ),
        )

    def _slot_switched(self, switch: Switch) -> None:
        self.office.slot_switched(switch)

    # Serving ---------------------------------------------------------------------------------------

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where users are served."""
        return self._listeners[0].addresses if self._listeners else []

    async def start(self) -> None:
        """Listen everywhere.

        Raises:
            CommandFailed: an address, a certificate or the lease cannot be used.
        """
        if self.leadership is not None:
            await self.leadership.open()
        settings = self.settings
        own = settings.agent_listen if settings.agent_listen != settings.listen else None
        shared = own is None
        alpn = (*(_AGENT_ALPN if shared else ()), HTTP_ALPN)
        public = follow_public_context(settings, alpn, agents=True)
        await self._listen("--listen", settings.listen, public)
        if own is not None:
            agents_only = follow_agent_context(settings, _AGENT_ALPN)
            await self._listen("--agent-listen", own, agents_only)
        if settings.admin_listen is not None:
            await self._start_admin(settings.admin_listen)
        _log.info("serving", extra={"address": str(Address(*self.addresses[0]))})

    async def _start_admin(self, address: Address) -> None:
        from stub.admin import AdminEndpoints  # aiohttp takes 12 MiB, which workers do not need

        render = self.measures.render
        self._admin = AdminEndpoints(self.registry, self.problem, render, self.leadership, self.slots)
        await self._admin.start(address)

    async def _listen(self, flag: str, address: Address, context: Followed[ssl.SSLContext]) -> None:
        settings = self.settings
        limits = ListenerSettings(
            handshakes=HandshakeLimits(
                pending=settings.max_pending_handshakes,
                per_second=settings.max_handshakes_per_second,
                per_address=settings.max_handshakes_per_address,
            ),
            handshake_seconds=settings.handshake_timeout,
            reuse_port=self._seat is not None,
        )
        try:
            listener = await listen(
                address.host or None,
                address.port,
                context.value,
                self._choose,
                on_handshake_failed=self._handshake_failed,
                settings=limits,
            )
        except OSError as error:
            raise CommandFailed(f"{flag} {address}: {error.strerror or error}") from None
        self._listeners.append(listener)
        self.measures.listeners.append(listener)
        self._listeners_with_contexts.append((listener, context))

    def _choose(self, stream: BaseStream) -> StreamHandler:
        tls = stream.tls
        assert tls is not None
        if tls.alpn in _AGENT_ALPN:
            stream.set_socket_options(TUNNEL_LEG)
            try:
                return self.acceptance.accept(tls, stream.peer)
            except PeerRefused as refusal:
                raise HandshakeFailed(stream.peer, str(refusal)) from None
        if len(self.office.connections) >= self.settings.max_connections:
            raise HandshakeFailed(stream.peer, f"{self.settings.max_connections} connections are open")
        return FrontConnection(self.office, tls.server_name)

    def _handshake_failed(self, peer: str, reason: str) -> None:
        self.measures.handshake_failed()
        _log.info("a connection failed its handshake", extra={"address": peer, "reason": reason})

    def sweep(self) -> Sweep:
        """Return what looks at certificates on a timer."""
        return Sweep(self.standing, self.office, self.registry, self._listeners_with_contexts)

    def open_signing(self, tasks: asyncio.TaskGroup) -> asyncio.Task[None]:
        """Issue certificates from now on; `tasks` owns that work. Return the part of it that is to be cancelled at the end."""
        ledgers = [self._audit] if self._audit is not None else []
        endpoints = open_signing(self.settings, self.standing, ledgers)
        self.office.signing = Signing(endpoints, tasks)
        return tasks.create_task(endpoints.run(), name="keep the issuer's keys")

    def problem(self) -> str | None:
        """Return why this stub is not ready, or None."""
        if self.office.draining:
            return "draining"
        if not self._listeners:
            return "not listening yet"
        return self.leadership.problem() if self.leadership is not None else None

    # Stopping --------------------------------------------------------------------------------------

    async def drain(self, grace_seconds: float) -> None:
        """Take no new requests, hand over to another stub, let what runs finish within the grace, then break off the rest."""
        began = asyncio.get_running_loop().time()
        self.office.draining = True
        for link in list(self.registry.links):
            link.drain("this stub is shutting down")
        if self.leadership is not None:
            await self.leadership.hand_over()
        if self._drain_delay:
            await self._refuse_until(began + min(self._drain_delay, grace_seconds))
        for listener in self._listeners:
            listener.close()
        for connection in list(self.office.connections):
            connection.drain()
        try:
            async with asyncio.timeout_at(began + grace_seconds):
                await self.office.empty.wait()
        except TimeoutError:
            _log.warning("breaking off what still runs", extra={"connections": len(self.office.connections)})

    @property
    def _drain_delay(self) -> float:
        given = self.settings.drain_delay
        if given is not None:
            return given
        return 0.0 if isinstance(self.settings.lease, NoLease) else HAND_OVER_DELAY_SECONDS

    async def _refuse_until(self, when: float) -> None:
        """Let users come and be refused: 503 with Retry-After is tried again, a refused connection is an error for kubectl.
        That also gives clients with idle connections time to hear of it; one that sends while its connection is being closed
        cannot know what became of a POST."""
        await asyncio.sleep(max(when - asyncio.get_running_loop().time(), 0))

    async def stop(self) -> None:
        """Close everything at once."""
        for listener in self._listeners:
            listener.close()
            listener.abort_pending()
        for connection in list(self.office.connections):
            connection.abort("this stub shut down")
        for link in list(self.registry.links):
            link.runner.close("this stub shut down")
            for channel in list(link.channels):
                channel.close("this stub shut down")
        self.slots.close()
        if self._admin is not None:
            await self._admin.stop()
        if self.leadership is not None:
            await self.leadership.close()
        if self.office.recorder is not None:
            await self.office.recorder.close()
        if self._audit is not None:
            self._audit.close()


async def serve(settings: StubSettings, stopping: asyncio.Event) -> None:
    """Run a stub until `stopping` is set, and drain it then.

    Raises:
        CommandFailed: it cannot start.

    Cancelling it ends the stub at once.
    """
    await serve_stub(Stub(settings), stopping)


async def serve_stub(
    stub: Stub,
    stopping: asyncio.Event,
    started: Callable[[], None] = lambda: None,
    drained: Callable[[], None] = lambda: None,
) -> None:
    """Run a stub that was put together; as `serve`.

    Args:
        started: called as soon as it listens.
        drained: called behind the drain; what is still open then is about to be broken off.
    """
    settings = stub.settings
    try:
        await stub.start()
        started()
        async with asyncio.TaskGroup() as tasks:
            signing = stub.open_signing(tasks)
            sweeping = tasks.create_task(stub.sweep().run(settings.sweep_interval), name="sweep")
            returning = tasks.create_task(keep_returning(), name="return memory")
            if stub.leadership is not None:
                tasks.create_task(stub.leadership.run(), name="election")
            async with control_socket(settings.control, stopping, lambda: len(stub.office.connections)):
                await stopping.wait()
                await stub.drain(settings.drain_grace)
                drained()
            for task in (signing, sweeping, returning):
                task.cancel()
    except ExceptionGroup as group:
        # A defect in the leading work: the lease has been released, and another stub takes over.
        raise group.exceptions[0] from None
    finally:
        await stub.stop()
