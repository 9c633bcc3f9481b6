"""An agent's session with one stub worker: hears its requests and answers them."""

import asyncio
import logging
from collections.abc import Callable
from importlib.metadata import version
from typing import Final, Protocol, TypeAlias

from agent.audit import Asked, AuditLog
from agent.channels import ChannelPool
from agent.exchange import Exchange, Phase
from agent.facts.vitals import Vitals
from agent.inspection import Inspection
from agent.settings import AgentSettings
from agent.upstream.credential import Credential
from agent.upstream.pool import UpstreamPool
from tunnel.aio.session import SessionRunner
from tunnel.core import limits
from tunnel.core.audit import Stage
from tunnel.core.errors import BadGateway, Refusal, TooManyRequests, Unavailable
from tunnel.core.http.upgrade import Upgrade
from tunnel.core.identifiers import RequestId
from tunnel.core.session.agent_side import AgentSession
from tunnel.core.session.events import (
    AgentEvent,
    BodyBroken,
    BodyEnded,
    BodyReceived,
    DrainHeard,
    SessionClosed,
)
from tunnel.core.wire.control import Active, AgentHello, Drain, Reject, Report, StubHello, choose_version
from tunnel.core.wire.exchange import Cancel, Refused, Request
from tunnel.kit.failures import CommandFailed

_log = logging.getLogger(__name__)

MakeChannels = Callable[[StubHello], ChannelPool]
ExchangeCall = Callable[[Exchange], None]
Control: TypeAlias = StubHello | Active | Drain | DrainHeard | Reject | SessionClosed
"""What is not about one request."""

_LEASES_KEPT: Final = 64

BACKLOG_BYTES: Final = 4 * limits.MIB
"""What a stub may leave untaken on its lane before it is taken for hostile: 40 000 refusals, more than a broken network causes at once."""


class Needed(Protocol):
    """Something that a request may have to wait for."""

    async def renew(self) -> None:
        """Get it. Raises CommandFailed or Refusal: it cannot be had."""


class Fence:
    """The newest epoch seen of each lease, shared by all sessions of this agent: a stub that was the active one must not be
    obeyed once another has taken over."""

    def __init__(self) -> None:
        self._epochs: dict[str, int] = {}

    def learn(self, active: Active) -> None:
        """A stub says that it holds a lease."""
        self._epochs[active.lease] = max(active.epoch, self._epochs.get(active.lease, 0))
        if len(self._epochs) > _LEASES_KEPT:
            # Stubs invent them: an agent serves one lease, or a few while an installation is moved.
            del self._epochs[next(iter(self._epochs))]

    def admits(self, lease: str, epoch: int) -> bool:
        """Whether a request of this epoch is still to be obeyed, from a stub that holds (or held) `lease`."""
        return epoch >= self._epochs.get(lease, 0)


class AgentLink:
    """See the module.

    Args:
        settings: of the agent.
        upstream: connections to the apiserver, shared by all sessions.
        vitals: what is known of the cluster, for reports.
        inspection: checks requests.
        credential: renewed on a 401.
        fence: shared by all sessions.
        make_channels: makes the session's channel pool, once the stub has said HELLO.
        address: of the stub, for logs.
        audit: hears what becomes of each request.
    """

    channels: ChannelPool

    def __init__(
        self,
        settings: AgentSettings,
        upstream: UpstreamPool,
        vitals: Vitals,
        inspection: Inspection,
        credential: Credential,
        fence: Fence,
        upstream_url: bytes,
        make_channels: MakeChannels,
        tasks: asyncio.TaskGroup,
        address: str,
        audit: AuditLog | None = None,
    ) -> None:
        self._settings = settings
        self.upstream = upstream
        self._vitals = vitals
        self._inspection = inspection
        self._credential = credential
        self._fence = fence
        self.upstream_url = upstream_url
        self._make_channels = make_channels
        self._tasks = tasks
        self._address = address
        self._audit = audit
        self._loop = asyncio.get_running_loop()
        self._core = AgentSession(self._loop.time())
        self.runner: SessionRunner[AgentEvent] = SessionRunner(self._core, self)
        self._exchanges: dict[RequestId, Exchange] = {}
        self._pipes: set[Exchange] = set()
        self._report_timer: asyncio.TimerHandle | None = None
        self.stub: StubHello | None = None
        self._lease = ""
        self._hello_timer = self._loop.call_later(
            limits.HELLO_SECONDS, self.runner.reject, "no HELLO came in time"
        )
        self.draining = self._stub_drains = False
        self.idle = asyncio.Event()
        """Set while no request or pipe is under way."""
        self.idle.set()
        self._drain_heard = asyncio.Event()
        self.closed = asyncio.Event()
        self.close_reason = ""

    @property
    def in_flight(self) -> int:
        """Requests and pipes under way."""
        return len(self._exchanges)

    # Hearing ---------------------------------------------------------------------------------------

    def session_event(self, event: AgentEvent) -> None:
        match event:
            case Request():
                self._request(event)
            case BodyReceived():
                self._body(event)
            case BodyEnded():
                self._with(event.id, Exchange.body_ended)
            case BodyBroken():
                self._with(event.id, Exchange.body_broken)
            case Cancel():
                exchange = self._exchanges.get(event.id)
                if exchange is not None:
                    exchange.cancel("the client is gone")
            case _:
                self._control(event)

    def _control(self, event: Control) -> None:
        match event:
            case StubHello():
                self._hello(event)
            case Active():
                self._lease = event.lease
                self._fence.learn(event)
            case Drain():
                self._stub_drains = True
                _log.info("the stub drains", extra={"stub": self._address, "reason": event.reason})
            case DrainHeard():
                self._drain_heard.set()
            case Reject():
                self.runner.close(f"the stub rejects the session: {event.reason}")
            case SessionClosed():
                self.runner.close(event.reason)

    def session_writable(self) -> None:
        """Nothing waits: the agent's lane carries only small frames."""

    def session_closed(self, reason: str, *, dead: bool) -> None:
        self.close_reason = reason
        self._hello_timer.cancel()
        if self._report_timer is not None:
            self._report_timer.cancel()
        if self.stub is not None:
            worth = logging.INFO if self.draining or self._stub_drains else logging.WARNING
            _log.log(worth, "disconnected", extra={**self._facts(self.stub), "reason": reason})
            self.channels.close(reason, abort=dead)
        for exchange in list(self._exchanges.values()):
            # What only its channel carries goes on by itself. The rest could never be answered, and the stub counts it as
            # lost; or its body would never end.
            if dead or exchange.needs_session:
                exchange.abort_pipe(reason)
                exchange.cancel(reason)
        self._drain_heard.set()
        self.closed.set()

    def _hello(self, hello: StubHello) -> None:
        if choose_version(hello.versions) is None:
            self.runner.reject(f"no common protocol version; the stub speaks {list(hello.versions)}")
            return
        self.stub = hello
        self._hello_timer.cancel()
        self.channels = self._make_channels(hello)
        self.channels.on_answer_lost = self._answer_lost
        own = f"cluster-tunnel/{version('cluster-tunnel')}"
        self._core.send_hello(AgentHello(name=self._settings.name, software=own))
        self.runner.flush_soon()
        self.channels.fill()
        self._send_report()
        _log.info("connected", extra=self._facts(hello))

    def _facts(self, hello: StubHello) -> dict[str, str]:
        return {"stub": self._address, "instance": hello.instance, "cluster": hello.cluster}

    # Requests --------------------------------------------------------------------------------------

    def _request(self, request: Request) -> None:
        try:
            self._check_state(request)
            checked = self._inspection.check(request)
            account = self._inspection.account(request)
            permission = self._inspection.permission(request, checked.acting)
        except Refusal as refusal:
            self.refuse(request.id, refusal, retryable=isinstance(refusal, Unavailable | TooManyRequests))
            if self._audit is not None:
                self._audit.refused(self._asked(request), refusal)
            return
        exchange = Exchange(self, request, checked, account)
        self._exchanges[request.id] = exchange
        self.idle.clear()
        if self._audit is not None:
            self._audit.reached(self._asked(request), exchange, Stage.RECEIVED)
        # No mode knows both.
        needed = permission or account
        if needed is None or needed.ready(self._loop.time()):
            exchange.start()
        else:
            self._tasks.create_task(self._go_on_behind(exchange, needed), name="get what a request needs")

    def _check_state(self, request: Request) -> None:
        if self.draining:
            raise Unavailable("this agent is shutting down")
        if not self._fence.admits(self._lease, request.epoch):
            raise Unavailable("this stub is no longer the active one")
        # A channel that waits for a slow client has no exchange any more, and is not free: what the apiserver is asked for beyond them could
        # not be answered.
        if len(self._exchanges) + self.channels.lingering >= self._settings.channels_limit:
            raise TooManyRequests(f"{self._settings.channels_limit} requests are under way")

    def _body(self, event: BodyReceived) -> None:
        exchange = self._exchanges.get(event.id)
        if exchange is None:
            self.body_consumed(event.id, len(event.data))
        else:
            exchange.body_received(event.data)

    def _with(self, number: RequestId, what: ExchangeCall) -> None:
        exchange = self._exchanges.get(number)
        if exchange is not None:
            what(exchange)

    def now(self) -> float:
        """Return the monotonic time in seconds."""
        return self._loop.time()

    def render(
        self, request: Request, lines: bytes, upgrade: Upgrade | None, account: Credential | None
    ) -> bytes:
        """Return the head for the apiserver, with the credential of this moment."""
        return self._inspection.render(request, lines, upgrade, self._loop.time(), account)

    def body_consumed(self, number: RequestId, amount: int) -> None:
        """The apiserver took part of a body."""
        self._core.body_consumed(number, amount)
        self.runner.flush_soon()

    def refuse(self, number: RequestId, refusal: Refusal, *, retryable: bool) -> None:
        """Answer with a Status that the stub writes."""
        if self.runner.closed:
            return
        self._core.refuse_body(number)
        self._core.send_refused(Refused(number, retryable, refusal.code, refusal.message))
        if self._core.lane_waiting_bytes + self.runner.waiting_bytes > BACKLOG_BYTES:
            # It asks and asks, and does not read; nothing else on the lane comes in such numbers.
            self.runner.reject("the stub takes none of the agent's refusals")
        else:
            self.runner.flush_soon()

    def _answer_lost(self, number: RequestId) -> None:
        lost = BadGateway("the response channel broke; whether the answer arrived is not known")
        self.refuse(number, lost, retryable=False)

    def credential_of(self, exchange: Exchange) -> Credential:
        """Return what `exchange` is sent with."""
        return exchange.account or self._credential

    def renew_credential(self, exchange: Exchange) -> None:
        """Get a newer credential, and let `exchange` go on with it."""
        credential = self.credential_of(exchange)
        self._tasks.create_task(self._go_on_behind(exchange, credential), name="renew the credential")

    async def _go_on_behind(self, exchange: Exchange, needed: Needed) -> None:
        """Get what a request needs, while all others go on, and let it go on then."""
        refusal: Refusal | None = None
        try:
            await needed.renew()
        except Refusal as none:
            refusal = none
        except CommandFailed as failure:
            _log.error("the credential cannot be renewed", extra={"reason": str(failure)})
            refusal = BadGateway("the apiserver refuses the agent's credential, and no newer one can be had")
        except Exception:
            # It would end every other request too, with the task group that they share.
            _log.exception("what a request needs cannot be had, by a fault of the agent's own")
            refusal = BadGateway("the agent failed to get what the request needs; its log says more")
        if exchange.phase is not Phase.CONNECTING:
            return
        if refusal is not None:
            exchange.not_connected(refusal)
        else:
            exchange.go_on()

    def answer_begun(self, exchange: Exchange) -> None:
        """The head of an answer has left."""
        if self._audit is not None:
            self._audit.reached(self._asked(exchange.request), exchange, Stage.STARTED)

    def pipe_opened(self, exchange: Exchange) -> None:
        """An upgrade succeeded."""
        self._pipes.add(exchange)

    def exchange_over(self, exchange: Exchange) -> None:
        """A request is answered, or will never be."""
        self._pipes.discard(exchange)
        number = exchange.request.id
        known = self._exchanges.pop(number, None) is not None
        if known and exchange.request.body_stream and not self.runner.closed:
            self._core.refuse_body(number)
            self.runner.flush_soon()
        if known and self._audit is not None:
            self._audit.completed(self._asked(exchange.request), exchange)
        if not self._exchanges:
            self.idle.set()

    def _asked(self, request: Request) -> Asked:
        cluster = self.stub.cluster if self.stub is not None else ""
        return Asked(request, self._inspection.caller(request), cluster, self._address)

    # Reports and ends ------------------------------------------------------------------------------

    def _send_report(self) -> None:
        if self.runner.closed:
            return
        vitals = self._vitals
        self._core.send_report(
            Report(
                upstream_reachable=self.upstream.reachable,
                upstream_milliseconds=round(vitals.milliseconds),
                requests=len(self._exchanges) - len(self._pipes),
                pipes=len(self._pipes),
                draining=self.draining,
                upstream_version=vitals.version,
                nodes=vitals.nodes,
                resources=vitals.resources,
            )
        )
        self.runner.flush_soon()
        self._report_timer = self._loop.call_later(limits.REPORT_SECONDS, self._send_report)

    def drain(self, reason: str) -> None:
        """Ask for no new requests."""
        self.draining = True
        if self.stub is not None and not self.runner.closed:
            self._core.send_drain(reason)
            self.runner.flush_soon()
        for exchange in list(self._exchanges.values()):
            exchange.drain()

    async def finish(self) -> None:
        """Wait, behind `drain`, until everything that this session was asked is over. What the stub had asked before it heard of the
        drain is still on its way then, and would be lost with the session: it could not be told from what was carried out."""
        await self._drain_heard.wait()
        await self.idle.wait()

    def stop(self, reason: str) -> None:
        """End the session and everything on it."""
        for exchange in list(self._exchanges.values()):
            exchange.abort_pipe(reason)
            exchange.cancel(reason)
        if self.stub is not None:
            self.channels.close(reason, abort=True)
        self.runner.close(reason)
