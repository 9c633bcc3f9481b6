"""A connected agent as the stub sees it: its session, the requests it was asked, the channels it answers on."""

import asyncio
import logging
import secrets
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Final

from certs.peer import PeerCertificate
from stub.agents.asking import Asker
from tunnel.aio.bodies import UploadBody, Uploads
from tunnel.aio.session import SessionRunner
from tunnel.core import limits
from tunnel.core.errors import HeadTooLarge, LocalMisuse, PeerViolation, TooManyRequests
from tunnel.core.http.message import RequestHead
from tunnel.core.identifiers import ClusterId, RequestId
from tunnel.core.session.events import BodyRefused, BodyWanted, SessionClosed, StubEvent
from tunnel.core.session.stub_side import StubSession
from tunnel.core.wire.control import Active, AgentHello, Drain, Reject, Report, StubHello, choose_version
from tunnel.core.wire.exchange import Refused, Request

if TYPE_CHECKING:
    from stub.agents.channel import ResponseChannel
    from stub.agents.registry import Registry

_log = logging.getLogger(__name__)

_CANCELLED_KEPT: Final = 4096
"""Cancelled or refused requests whose late answer is expected rather than an offence; an answer takes its own out."""

LANE_BACKLOG_BYTES: Final = 4 * limits.MIB
"""Frames that an agent may leave untaken before it gets no more requests: it has stopped reading."""


class AgentLink:
    """One agent's session.

    Args:
        registry: where it is listed once it has said HELLO.
        cluster: from its certificate.
        fingerprint: of its certificate.
        hello: what the stub says of itself; the session's token is added here.
        address: where it dials from, for lists.
    """

    def __init__(
        self, registry: "Registry", cluster: ClusterId, fingerprint: str, hello: StubHello, address: str
    ) -> None:
        self._registry = registry
        self._loop = asyncio.get_running_loop()
        self.cluster = cluster
        self.fingerprint = fingerprint
        self.address = address
        self.peer: PeerCertificate | None = None
        """The certificate that the sweep looks at again."""
        self.token = secrets.token_urlsafe(32)
        self.name = "unnamed"
        self.software = ""
        self.connected_at = self._loop.time()
        self.report = Report()
        self.draining = False
        self.channels: set[ResponseChannel] = set()
        self.pipes: set[Asker] = set()
        """Those whose answer was a 101; their channels are theirs."""
        self._core = StubSession(_with_token(hello, self.token, cluster), self._loop.time())
        self.runner: SessionRunner[StubEvent] = SessionRunner(self._core, self)
        self._uploads = Uploads(self._core, self.runner)
        self._waiting: dict[RequestId, Asker] = {}
        self._uploading: dict[RequestId, Asker] = {}
        self._cancelled: OrderedDict[RequestId, None] = OrderedDict()
        self._last_id = 0
        self._asked: deque[tuple[int, RequestId]] = deque()
        """Requests whose frame may still be waiting here, each with the lane's byte that ends it."""
        self._hello_timer = self._loop.call_later(
            limits.HELLO_SECONDS, self.runner.reject, "no HELLO came in time"
        )

    # Asking ----------------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether it can be asked."""
        core = self._core
        return (
            not self.runner.closed
            and not self.draining
            and core.agent is not None
            and core.lane_waiting_bytes < LANE_BACKLOG_BYTES
            and core.body_streams_left > 0
        )

    @property
    def answering(self) -> bool:
        """Whether it has given a sign of life since it was last sent a PING; the pick prefers those that have."""
        return self._core.answering

    def doubt(self) -> None:
        """Send a PING now: what was heard of the agent makes it likely that this session is dead."""
        self._core.doubt(self._loop.time())
        self.runner.look_now()

    @property
    def in_flight(self) -> int:
        """Requests whose answer has not started; the pick prefers the agent with fewer."""
        return len(self._waiting)

    def ask(
        self,
        asker: Asker,
        head: RequestHead,
        *,
        epoch: int,
        audit: bytes,
        caller: bytes,
        body: bytes,
        body_length: int,
        body_stream: bool,
        upgrade: bool,
    ) -> RequestId:
        """Send a request; `asker` hears what becomes of it.

        Raises:
            TooManyRequests: its body needs a stream, and the session has none left.
        """
        if body_stream and not self._core.body_streams_left:
            raise TooManyRequests("the agent takes no more request bodies now", retry_after=1)
        self._last_id += 1
        number = RequestId(self._last_id)
        request = Request(
            number, epoch, audit, head, caller, body, body_length, body_stream=body_stream, upgrade=upgrade
        )
        try:
            self._core.send_request(request)
        except LocalMisuse as misuse:
            raise HeadTooLarge(f"the request does not fit into a frame: {misuse}") from misuse
        self._waiting[number] = asker
        self._note_asked(number)
        self.runner.flush_soon()
        return number

    def _note_asked(self, number: RequestId) -> None:
        asked, sent = self._asked, self._core.lane_sent_bytes
        while asked and asked[0][0] <= sent:
            asked.popleft()
        asked.append((sent + self._core.lane_waiting_bytes, number))

    def open_body(self, number: RequestId, asker: Asker) -> UploadBody:
        """Begin the body of a request that was sent with `body_stream`."""
        self._uploading[number] = asker
        return self._uploads.open(number, asker.body_room)

    def cancel(self, number: RequestId) -> None:
        """The answer is no longer wanted; one that is already under way is thrown away when it comes."""
        if self._waiting.pop(number, None) is not None:
            self._note_cancelled(number)
            self.withdraw(number)

    def withdraw(self, number: RequestId) -> None:
        """Tell the agent that nobody wants an answer any more, which may have begun."""
        if not self.runner.closed:
            self._core.send_cancel(number)
            self.runner.flush_soon()

    def _note_cancelled(self, number: RequestId) -> None:
        self._cancelled[number] = None
        if len(self._cancelled) > _CANCELLED_KEPT:
            self._cancelled.popitem(last=False)

    def take(self, number: RequestId) -> Asker | None:
        """Return who asked `number`, once; None where it was cancelled meanwhile.

        Raises:
            PeerViolation: this session was never asked it, or has answered it before.
        """
        asker = self._waiting.pop(number, None)
        if asker is None and number not in self._cancelled:
            raise PeerViolation(f"an answer to request {number}, which this session was not asked")
        self._cancelled.pop(number, None)
        return asker

    def channel_opened(self, channel: "ResponseChannel") -> None:
        """One of its channels has said HELLO.

        Raises:
            PeerViolation: its cluster has as many as it may have.
        """
        self._registry.channels.take(self.cluster)
        self.channels.add(channel)

    def channel_closed(self, channel: "ResponseChannel") -> None:
        """It is closed; may be said more than once."""
        if channel in self.channels:
            self.channels.remove(channel)
            self._registry.channels.give_back(self.cluster)

    def channel_piped(self, channel: "ResponseChannel", asker: Asker) -> None:
        """Its connection is `asker`'s from here on."""
        self.channels.remove(channel)
        self.pipes.add(asker)

    def pipe_closed(self, asker: Asker) -> None:
        """The connection is closed."""
        self.pipes.remove(asker)
        self._registry.channels.give_back(self.cluster)

    def distrust(self, reason: str) -> None:
        """The agent broke the protocol on a response channel: its session ends, and its other channels with it."""
        self._loop.call_soon(self.runner.reject, reason)

    def drain(self, reason: str) -> None:
        """Tell the agent that this stub takes no new requests."""
        self._core.send_drain(reason)
        self.runner.flush_soon()

    def activate(self, active: Active) -> None:
        """Tell the agent that this stub holds the lease."""
        self._core.send_active(active)
        self.runner.flush_soon()

    # Hearing ---------------------------------------------------------------------------------------

    def session_event(self, event: StubEvent) -> None:
        match event:
            case BodyWanted():
                self._uploads.wanted(event.id)
            case Refused():
                self._refused(event)
            case Report():
                self.report = event
            case BodyRefused():
                self._body_refused(event.id)
            case AgentHello():
                self._hello(event)
            case Drain():
                self.draining = True
                _log.info("an agent drains", extra=self._facts(reason=event.reason))
            case Reject():
                self.runner.close(f"the agent rejects the session: {event.reason}")
            case SessionClosed():
                self.runner.close(event.reason)

    def session_writable(self) -> None:
        self._uploads.pump()

    def session_closed(self, reason: str, *, dead: bool) -> None:
        self._hello_timer.cancel()
        self._registry.remove(self, reason)
        waiting, self._waiting = self._waiting, {}
        uploading, self._uploading = self._uploading, {}
        for number in uploading:
            self._uploads.forget(number)
        unwritten = {number for end, number in self._asked if end > self._core.lane_sent_bytes}
        for number, asker in waiting.items():
            asker.lost(reason, written=number not in unwritten)
        for number, asker in uploading.items():
            if number not in waiting:
                asker.body_refused()
        for channel in list(self.channels):
            if dead or channel.idle:
                channel.close(reason)
        if dead:
            for pipe in list(self.pipes):
                pipe.abort_pipe(reason)

    def _hello(self, hello: AgentHello) -> None:
        if choose_version(hello.versions) is None:
            self.runner.reject(f"no common protocol version; the agent speaks {list(hello.versions)}")
            return
        self._hello_timer.cancel()
        self.name, self.software = hello.name or "unnamed", hello.software
        self._registry.add(self)

    def _refused(self, refused: Refused) -> None:
        asker = self._waiting.pop(refused.id, None)
        if asker is not None:
            # Its answer may still be under way, on a channel that broke behind it: late, but no offence.
            self._note_cancelled(refused.id)
            asker.refused(refused)

    def _body_refused(self, number: RequestId) -> None:
        self._uploads.forget(number)
        asker = self._uploading.pop(number, None)
        if asker is not None:
            asker.body_refused()

    def body_finished(self, number: RequestId) -> None:
        """The owner of an upload has ended it or broken it off."""
        self._uploading.pop(number, None)

    def _facts(self, **more: str) -> dict[str, str]:
        return {"cluster": self.cluster, "agent": self.name, **more}


def _with_token(hello: StubHello, token: str, cluster: ClusterId) -> StubHello:
    return StubHello(
        instance=hello.instance,
        worker=hello.worker,
        workers=hello.workers,
        instances=hello.instances,
        token=token,
        cluster=cluster,
        software=hello.software,
    )
