"""One request at the agent: from the stub's REQUEST through the apiserver to a response channel.

It is what the upstream connection answers to (`Responder`), what waits for connections and channels (`Borrower`,
`Speaker`), and it ends exactly once.
"""

from enum import Enum, auto
from typing import TYPE_CHECKING

from agent.channel import Channel
from agent.inspection import Checked
from agent.upstream.connection import UpstreamConnection
from agent.upstream.tokens import AccountToken
from tunnel.aio.splice import Splice
from tunnel.core import limits
from tunnel.core.errors import BadGateway, Forbidden, Refusal, Unavailable
from tunnel.core.http.body import CHUNK_END, LAST_CHUNK, NONE, chunk_head, declared_length
from tunnel.core.http.fields import check_upstream_fields, sanitise_response
from tunnel.core.http.kubernetes import is_safe_to_repeat, parse_request_info
from tunnel.core.http.location import with_own_location
from tunnel.core.http.message import Field, ResponseHead
from tunnel.core.http.shapes import RESPONSE_SPECIAL, Shapes
from tunnel.core.http.upgrade import (
    UpgradeOutcome,
    check_plain_status,
    check_upgrade_response,
    upgrade_outcome,
    upgrade_request_fields,
)
from tunnel.core.wire.exchange import BODY_UNKNOWN, Head, Request

if TYPE_CHECKING:
    from agent.session import AgentLink

_REPLACED = (
    "the apiserver refused the agent's credential, which has just been replaced; the request's body cannot be sent again from "
    "the agent, so please try again"
)
_NEWLINE = 0x0A


def _sanitise(fields: list[Field]) -> list[Field]:
    return sanitise_response(fields, forward_set_cookie=True)


_HEAD_ROOM = limits.RESPONSE_HEAD_BYTES - 64
"""What fields may take of a HEAD frame, beside its fixed part."""

_SHAPES = Shapes(_sanitise, RESPONSE_SPECIAL)


class Phase(Enum):
    """Where an exchange stands."""

    CONNECTING = auto()
    SENT = auto()
    WAITING_FOR_CHANNEL = auto()
    ANSWERING = auto()
    SPLICED = auto()
    OVER = auto()


class Exchange:
    """See the module.

    Args:
        link: the session it came from.
        request: what the stub asks.
        checked: what inspection made of it.
        account: the credential of the service account that it is asked as.

    Attributes:
        started_at: when it came, in `loop.time()`.
        status: of the answer; 0 before there is one.
        received_bytes, sent_bytes: of the request's body and of the answer's, or of the pipe.
        reason: why it ended otherwise than it should.
    """

    def __init__(
        self,
        link: "AgentLink",
        request: Request,
        checked: Checked,
        account: AccountToken | None = None,
    ) -> None:
        self._link = link
        self.request = request
        self.account = account
        self.started_at = link.now()
        self.status = 0
        self.received_bytes = len(request.body)
        self.sent_bytes = 0
        self.reason = ""
        self._upgrade, self._lines, self.acting = checked
        self.phase = Phase.CONNECTING
        self._connection: UpstreamConnection | None = None
        self._channel: Channel | None = None
        self._splice: Splice | None = None
        self._head: Head | None = None
        self._held: list[bytes] = []
        self._ended = False
        self._at_line_end = False
        self._ends_at_line = False
        self._tried_again = False
        self._unanswered = False  # it was sent on a connection that broke
        self._shown: list[Field] = []  # the credential that it was sent with, where it cannot be sent again
        self._body: list[bytes] = []
        self._body_ended = not request.body_stream
        self._owed_bytes = 0
        self._write_paused = False

    def go_on(self) -> None:
        """What it needs is there: ask, or ask once more. A body that was sent is gone, and the 401 stands unless the credential has
        changed meanwhile: nothing was carried out then, and its client may send it again."""
        if self._head is None:
            self.start()
        elif self._link.credential_of(self).fields(self._link.now()) == self._shown:
            self._get_channel()
        else:
            self.not_connected(Unavailable(_REPLACED))

    def start(self, *, fresh: bool = False) -> None:
        """Get a connection to the apiserver; the rest follows."""
        self.phase = Phase.CONNECTING
        self._link.upstream.borrow(self, fresh=fresh)

    # The request's way up --------------------------------------------------------------------------

    def connected(self, connection: UpstreamConnection) -> None:
        if self.phase is not Phase.CONNECTING:
            connection.abort()
            return
        self._connection = connection
        self.phase = Phase.SENT
        request = self.request
        head = self._link.render(request, self._lines, self._upgrade, self.account)
        connection.begin(self, request.head.method, head + request.body, whole=not request.body_stream)
        pieces, self._body = self._body, []
        for piece in pieces:
            self._send_body(piece)
        if request.body_stream:
            self._shown = self._link.credential_of(self).fields(self._link.now())
            if self._body_ended:
                self._end_body()

    def not_connected(self, refusal: Refusal) -> None:
        self._drop_connection()
        # What the cluster does not allow, it allows no other agent either.
        self._refuse(refusal, retryable=not (self._unanswered or isinstance(refusal, Forbidden)))

    def body_received(self, data: bytes) -> None:
        """Part of a streamed body. What the apiserver does not take is owed, and the stub's window closes."""
        if self.phase is Phase.OVER:
            return
        self.received_bytes += len(data)
        if self._connection is None:
            self._body.append(data)
        else:
            self._send_body(data)

    def body_ended(self) -> None:
        """The streamed body is whole."""
        self._body_ended = True
        if self._connection is not None and self.phase is not Phase.OVER:
            self._end_body()

    def body_broken(self) -> None:
        """The client broke its body off: the apiserver must see it cut."""
        if self.phase is not Phase.OVER:
            self.cancel("the client broke the request's body off")

    def _send_body(self, data: bytes) -> None:
        assert self._connection is not None
        stream = self._connection.stream
        if self.request.body_length == BODY_UNKNOWN:
            stream.write(b"".join((chunk_head(len(data)), data, CHUNK_END)))
        else:
            stream.write(data)
        self._owed_bytes += len(data)
        if not self._write_paused:
            self._return_credit()

    def _end_body(self) -> None:
        assert self._connection is not None
        if self.request.body_length == BODY_UNKNOWN:
            self._connection.stream.write(LAST_CHUNK)
        self._connection.request_ended()

    def _return_credit(self) -> None:
        owed, self._owed_bytes = self._owed_bytes, 0
        if owed:
            self._link.body_consumed(self.request.id, owed)

    def upstream_write_paused(self) -> None:
        self._write_paused = True

    def upstream_write_resumed(self) -> None:
        self._write_paused = False
        self._return_credit()

    # The answer's way down -------------------------------------------------------------------------

    def upstream_head(self, head: ResponseHead, length: int) -> None:
        try:
            renews = head.status == 401 and self._is_about_us()
            if not renews or self.request.body_stream:
                self._head = self._checked_head(head, length)
        except Refusal as refusal:
            self._drop_connection()
            self._refuse(refusal, retryable=False)
            return
        if renews:
            self._renew()
        else:
            self._get_channel()

    def _checked_head(self, head: ResponseHead, length: int) -> Head:
        if self._upgrade is None:
            check_plain_status(head.status)
        elif upgrade_outcome(head.status) is UpgradeOutcome.SPLICE:
            check_upgrade_response(self._upgrade, head)
        block = None if head.status == 101 else _SHAPES.block(head.block)
        fields = self._judged(head) if block is None else None
        bodiless = length == NONE
        if bodiless:
            declared = declared_length(head.fields)
            length = BODY_UNKNOWN if declared is None or head.status == 204 else declared
        size = length if length >= 0 else BODY_UNKNOWN
        return Head(self.request.id, ResponseHead(head.status, fields, block=block), size, bodiless)

    def _judged(self, head: ResponseHead) -> list[Field]:
        """Return what may travel on of a head, judged field by field."""
        check_upstream_fields(head.fields)
        if sum(len(name) + len(value) + 2 for name, value in head.fields) > _HEAD_ROOM:
            raise BadGateway("the apiserver's answer has too large a head")
        fields = with_own_location(
            _sanitise(head.fields), self._link.upstream_url, b"", target=self.request.head.target
        )
        if head.status == 101:
            assert self._upgrade is not None
            fields += upgrade_request_fields(self._upgrade)
        return fields

    def _get_channel(self) -> None:
        channel = self._link.channels.take(self)
        if channel is not None:
            self.channel_ready(channel)
            return
        self.phase = Phase.WAITING_FOR_CHANNEL
        if self._connection is not None:
            self._connection.stream.pause_reading()

    def channel_ready(self, channel: Channel) -> None:
        head = self._head
        assert head is not None
        self._channel = channel
        self.status = head.response.status
        channel.start(head)
        self._link.answer_begun(self)
        if head.response.status == 101:
            self._start_pipe(channel)
            return
        self.phase = Phase.ANSWERING
        held, self._held = self._held, []
        for piece in held:
            channel.data(piece)
            self._at_line_end = piece[-1] == _NEWLINE
        if self._ended:
            self._finish()
        elif self._connection is not None and channel.write_paused:
            # By an answer before this one, so nobody will say it again.
            self._connection.stream.pause_reading()
        elif self._connection is not None:
            self._connection.stream.resume_reading()

    def upstream_data(self, data: bytes | memoryview) -> None:
        self.sent_bytes += len(data)
        if self._channel is not None:
            self._channel.data(data)
            self._at_line_end = data[-1] == _NEWLINE
            if self._ends_at_line:
                self._end_watch()
        elif self._head is not None:
            # Only what came in the same read as the head: reading is paused while a channel is awaited.
            self._held.append(bytes(data))

    def upstream_end(self) -> None:
        self._connection = None
        self._ended = True
        if self._channel is not None:
            self._finish()

    def _finish(self) -> None:
        channel, self._channel = self._channel, None
        assert channel is not None
        channel.end()
        self._over()

    def channel_write_paused(self) -> None:
        if self._connection is not None:
            self._connection.stream.pause_reading()

    def channel_write_resumed(self) -> None:
        if self._connection is not None:
            self._connection.stream.resume_reading()

    def channel_lost(self, reason: str) -> None:
        """The stub gave the channel up: the client is gone, or the tunnel broke."""
        self._channel = None
        if self.phase is not Phase.OVER:
            self.reason = reason
            self._drop_connection()
            self._over()

    def drain(self) -> None:
        """This agent is about to stop: end a watch behind its latest whole event, as the apiserver itself does every half an hour,
        so that clients go on with the next agent where it stopped. Everything else runs on until the grace is over."""
        head = self._head
        if self._upgrade is not None or head is None or not _is_json(head):
            return  # protobuf has no line ends: such a watch is cut when the grace is over, and clients resume it as well
        if parse_request_info(self.request.head.method, self.request.head.target).verb == "watch":
            self._ends_at_line = True
            self._end_watch()

    def _end_watch(self) -> None:
        if self.phase is Phase.ANSWERING and self._at_line_end:
            self._drop_connection()
            self._finish()

    # Upgrades --------------------------------------------------------------------------------------

    def upstream_switched(self, head: ResponseHead, early: memoryview) -> None:
        try:
            if self._upgrade is None:
                raise BadGateway("the apiserver answered a plain request with 101")
            self._head = self._checked_head(head, NONE)
        except Refusal as refusal:
            self._drop_connection()
            self._refuse(refusal, retryable=False)
            return
        if len(early):
            self._held.append(bytes(early))
        self._get_channel()

    def _start_pipe(self, channel: Channel) -> None:
        connection = self._connection
        assert connection is not None
        self.phase = Phase.SPLICED
        channel.become_pipe()
        self._splice = Splice(channel.stream, connection.stream, self._pipe_closed)
        for piece in self._held:
            self._splice.right.stream_received(memoryview(piece))
        self._held = []
        connection.stream.resume_reading()
        self._link.pipe_opened(self)

    def _pipe_closed(self, sent: int, received: int, reason: str) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.pipe_closed()
        self.received_bytes, self.sent_bytes, self.reason = sent, received, reason
        channel, self._channel = self._channel, None
        if channel is not None and self._splice is not None and self._splice.broken is self._splice.left:
            channel.pipe_broke()
        self._over()

    def abort_pipe(self, reason: str) -> None:
        """Break the pipe, where there is one."""
        if self._splice is not None and self.phase is Phase.SPLICED:
            self._splice.abort(reason)

    # Ends ------------------------------------------------------------------------------------------

    def upstream_lost(self, reason: str, *, answered: bool, reused: bool) -> None:
        self._connection = None
        if self._channel is not None:
            self._channel.cut()
            self._channel = None
            self.reason = reason
            self._over()
        elif self._head is not None:
            # The head is there and the body is not: only a cut answer can say so, and that needs the channel.
            self._link.channels.leave(self)
            self._refuse(BadGateway(f"{reason} in the middle of its answer"), retryable=False)
        elif reused and not answered and self._may_send_again():
            # A kept-alive connection that the apiserver closed at this very moment; the request was not looked at, most likely.
            self._tried_again = self._unanswered = True
            self.start(fresh=True)
        else:
            self._refuse(BadGateway(f"{reason} before it answered"), retryable=False)

    def _may_send_again(self) -> bool:
        request = self.request
        if self._tried_again:
            return False
        info = parse_request_info(request.head.method, request.head.target)
        has_body = request.body_stream or bool(request.body)
        return is_safe_to_repeat(
            request.head.method, info, upgrade=self._upgrade is not None, has_body=has_body
        )

    def _is_about_us(self) -> bool:
        """Whether a newer credential may turn a 401 into an answer. One from behind a proxy is most likely the pod's or the service's own,
        which has had the request."""
        if self._tried_again or not self._link.credential_of(self).can_renew:
            return False
        return not parse_request_info(self.request.head.method, self.request.head.target).is_proxied

    def _renew(self) -> None:
        """The apiserver does not know our credential (any more): get a newer one and ask once more, for an upgrade too, since nothing
        was carried out. Where a body was sent, which cannot be sent again, the answer waits for what `go_on` makes of it."""
        self._tried_again = True
        self.phase = Phase.CONNECTING
        if self._head is None:
            self._drop_connection()
        elif self._connection is not None:
            self._connection.stream.pause_reading()
        self._link.renew_credential(self)

    def seconds(self) -> float:
        """Return how long ago it came."""
        return self._link.now() - self.started_at

    @property
    def needs_session(self) -> bool:
        """Whether the rest of it has to come by the session: the answer has not begun, or the body is not whole."""
        return not self._body_ended or self.phase not in {Phase.ANSWERING, Phase.SPLICED}

    def cancel(self, reason: str) -> None:
        """Nobody wants the answer any more."""
        if self.phase in {Phase.OVER, Phase.SPLICED}:
            return
        self.reason = reason
        self._link.channels.leave(self)
        self._drop_connection()
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.cut(wanted=False)
        self._over()

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()

    def _refuse(self, refusal: Refusal, *, retryable: bool) -> None:
        if self.phase is not Phase.OVER:
            self.status, self.reason = refusal.code, refusal.message
            self._link.refuse(self.request.id, refusal, retryable=retryable)
            self._over()

    def _over(self) -> None:
        self.phase = Phase.OVER
        self._body = []
        self._link.exchange_over(self)


def _is_json(head: Head) -> bool:
    return any(
        name.lower() == b"content-type" and value.startswith(b"application/json")
        for name, value in head.response.fields
    )
