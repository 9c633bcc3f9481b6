"""A user's connection: HTTP/1.1 requests in, one exchange at a time, until it closes or becomes a raw pipe."""

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from certs.peer import PeerCertificate
from stub.front.admission import OWN_TARGETS, Admitted, Caller, Verdict
from stub.front.answer import AnswerWriter
from stub.front.deadline import Deadline
from stub.front.exchange import Exchange
from stub.front.known import READ_BYTES
from stub.front.parser import RequestParser
from stub.front.quotas import ConnectionCount
from stub.signing.endpoints import Answer
from stub.signing.turn import SigningTurn
from tunnel.aio.stream import ByteStream, StreamHandler
from tunnel.core import limits
from tunnel.core.errors import BadRequest, Refusal, RequestTimeout
from tunnel.core.http.message import RequestHead
from tunnel.core.http.target import is_version_1_1
from tunnel.core.identifiers import ClusterId

if TYPE_CHECKING:
    from stub.front.office import FrontOffice, Signing


class FrontConnection:
    """The handler of one client's connection.

    Args:
        office: what all connections share.
        server_name: the SNI.
    """

    stream: ByteStream

    def __init__(self, office: "FrontOffice", server_name: str | None) -> None:
        self.office = office
        self._server_name = server_name
        self._loop = asyncio.get_running_loop()
        self._parser = RequestParser(self)
        self._deadline = Deadline(self._timed_out)
        self._count = ConnectionCount(office.quotas)
        self._between = True  # behind one request and before the next, with nothing of it here yet
        self._whole_read = b""  # the read under way, where it began there
        self._caller: Caller | None = None
        self._receiving: Exchange | None = None
        self._current: Exchange | None = None
        self._queue: deque[Exchange] = deque()
        self._signing: SigningTurn | None = None
        self._early = bytearray()
        self._pipe: StreamHandler | None = None
        self._upgrading = False
        self._ending = False
        self._broken = False
        self._lingering = False
        self._body_paused = False
        self.write_paused = False
        self.slot: ClusterId | None = None
        """The slot that was asked for here."""

    # The stream ------------------------------------------------------------------------------------

    def stream_opened(self, stream: ByteStream) -> None:
        self.stream = stream
        self.office.connection_opened(self)
        self._count.opened(stream.peer)
        self._deadline.set(self.office.idle_seconds)

    def stream_received(self, data: memoryview) -> None:
        if self._lingering or self._broken:
            return
        if self._upgrading:
            self._keep_early(data)
            return
        self._whole_read = b""
        if self._between and len(data) <= READ_BYTES:
            self._whole_read = bytes(data)
            admitted = self.office.admission.recognise(self._whole_read, self._server_name)
            if admitted is not None:
                self._take_known(admitted)
                return
        self._between = False
        if not self._parser.head_bytes and self._receiving is None:
            # With the first byte alone: neither single bytes nor empty lines in front of a head move its deadline.
            self._deadline.set(self.office.head_seconds)
        self._feed(data)
        if self._receiving is not None:
            self._receiving.read_over()
            self._expect_body()
        self._update_reading()

    def stream_ended(self) -> None:
        """The client sends no more. Over TLS that is how clients leave: Go's closes both ways at once and does not wait for an
        answer, so one that is still under way (a watch, above all) is given up, as Go's own server does."""
        if self._current is None and not self._queue and self._signing is None:
            self.stream.close()
        else:
            self._lose("it closed the connection")

    def stream_write_paused(self) -> None:
        self.write_paused = True
        if self._current is not None:
            self._current.client_write_paused()

    def stream_write_resumed(self) -> None:
        self.write_paused = False
        if self._current is not None:
            self._current.client_write_resumed()
        else:
            self._next()
            self._update_reading()

    def stream_closed(self, error: Exception | None) -> None:
        self._deadline.stop()
        self._gone()
        self._lose(str(error) if error else "it closed the connection")

    def _lose(self, reason: str) -> None:
        if self._signing is not None:
            self._signing.drop()
        exchanges = [self._current, *self._queue]
        self._current, self._receiving = None, None
        self._queue.clear()
        for exchange in exchanges:
            if exchange is not None:
                exchange.client_lost(reason)
        self.stream.abort()

    def _take_no_more(self) -> None:
        """Close behind the answers to the requests that are here."""
        self._ending = True
        last = self._queue[-1] if self._queue else self._current
        if last is not None:
            last.close_behind()

    # Requests --------------------------------------------------------------------------------------

    def _feed(self, data: memoryview) -> None:
        try:
            upgrade_at = self._parser.feed(data)
        except Refusal as refusal:
            self._refuse_connection(refusal)
            return
        if upgrade_at is not None:
            self._upgrading = True
            self._keep_early(data[upgrade_at:])

    def request_began(self) -> None:
        self._between = False

    def head_received(self, head: RequestHead) -> None:
        self._deadline.clear()
        if self._ending or self._lingering or self.stream.closing:
            # It came behind the last request that is answered here. To carry it out all the same would be to believe bytes
            # behind a refusal that ends the connection, and its answer could not be sent.
            return
        if head.target.startswith(OWN_TARGETS) and self.office.signing is not None:
            self._begin_signing(head, self.office.signing)
            return
        exchange = self._new_exchange(head)
        if exchange.admitted is not None:
            self._note_slot(exchange.admitted)
        self._receiving = exchange
        self._take(exchange)

    def _begin_signing(self, head: RequestHead, signing: "Signing") -> None:
        """A call for a certificate: the last request of its connection, and, so that answers keep their order, its only one."""
        if self._current is not None or self._queue:
            crowded = BadRequest("a call for a certificate needs a connection of its own")
            self._refuse_connection(crowded, head)
            return
        self._ending = True
        self._deadline.set(self.office.head_seconds)
        certificate = self.stream.tls.certificate if self.stream.tls is not None else None
        self._signing = SigningTurn(
            signing.endpoints, signing.tasks, head, certificate, self.stream.peer, self._signing_answered
        )

    def _signing_answered(self, answer: Answer) -> None:
        status, fields, body = answer
        self._signing = None
        AnswerWriter(self.stream, version_1_1=True, keep_alive=False).whole(
            status, fields, body, bodiless=False
        )
        self.stream.close()

    def _take(self, exchange: Exchange) -> None:
        if self._current is None:
            self._current = exchange
            exchange.begin()
        else:
            # A client that pipelines is answered in order; it is not read further until its turn comes.
            self._queue.append(exchange)

    def body_received(self, body: bytes) -> None:
        if self._signing is not None:
            self._signing.body_received(body)
        elif self._receiving is not None:
            self._receiving.body_received(body)

    def request_completed(self) -> None:
        self._whole_read = b""  # what follows came with another
        if self._signing is not None:
            self._deadline.clear()
            self._signing.body_completed()
            return
        exchange, self._receiving = self._receiving, None
        if exchange is not None:
            exchange.body_completed()
            exchange.read_over()
            if self._lingering:
                # It was answered before it was whole, and now nothing is left to linger for.
                self._deadline.clear()
                self.stream.close()

    def _take_known(self, admitted: Admitted) -> None:
        """Begin a request that needs no parsing."""
        self._between = False
        self._deadline.clear()
        self._note_slot(admitted)
        caller: Caller | None = None
        refusal: Refusal | None = None
        try:
            caller = self._authenticate()
            self.office.admission.authorise(caller, admitted)
        except Refusal as fault:
            refusal = fault
        exchange = self._current = Exchange(
            self,
            admitted.head.method,
            admitted.target,
            Verdict(caller, admitted, refusal),
            version_1_1=True,
            keep_alive=not self.office.draining,
            complete=True,
        )
        exchange.begin()

    def _note_slot(self, admitted: Admitted) -> None:
        if admitted.slot is not None:
            self.slot = admitted.slot

    def _new_exchange(self, head: RequestHead) -> Exchange:
        refusal: Refusal | None = None
        admitted: Admitted | None = None
        version_1_1 = False
        try:
            version_1_1 = is_version_1_1(self._parser.version)
            caller = self._authenticate()
            admitted = self.office.admission.admit(
                head, version_1_1=version_1_1, server_name=self._server_name, data=self._whole_read
            )
            self.office.admission.authorise(caller, admitted)
        except Refusal as fault:
            refusal = fault
        return Exchange(
            self,
            head.method,
            head.target,
            Verdict(self._caller, admitted, refusal),
            version_1_1=version_1_1,
            keep_alive=self._parser.may_keep_alive and not self.office.draining,
        )

    def _authenticate(self) -> Caller:
        caller = self._caller
        if caller is None:
            caller = self._caller = self.office.admission.authenticate(self.stream.tls, self.stream.peer)
            self._count.identified(caller.counted_as)
        if self._count.refusal is not None:
            raise self._count.refusal
        self.office.admission.check_dates(caller)
        return caller

    def _refuse_connection(self, refusal: Refusal, head: RequestHead | None = None) -> None:
        """The bytes on this connection can no longer be told apart: answer what came whole before, say so, and close.

        Args:
            head: of what is refused, as far as it is known.
        """
        if self._lingering or self.stream.closing:
            return  # refused and closed in the middle of this very read, and the parser went on
        self._broken = True
        refusal.close = True
        receiving, self._receiving = self._receiving, None
        signing, self._signing = self._signing, None
        if signing is not None:
            signing.drop()
            head = signing.head
        if receiving is None:
            self._take(self._broken_exchange(refusal, head))
        elif receiving is not self._current:
            self._queue.remove(receiving)
            receiving.client_lost(refusal.message)
            self._take(self._broken_exchange(refusal))
        elif receiving.status:
            # Its answer is under way; a second one would corrupt it.
            self._lose(refusal.message)
        else:
            receiving.refuse(refusal)

    def _broken_exchange(self, refusal: Refusal, head: RequestHead | None = None) -> Exchange:
        method, target = (head.method, head.target) if head is not None else (b"", b"")
        verdict = Verdict(self._caller, None, refusal)
        return Exchange(self, method, target, verdict, version_1_1=True, keep_alive=False)

    # Turns -----------------------------------------------------------------------------------------

    def exchange_over(self, exchange: Exchange, *, cut: bool, keep_alive: bool) -> None:
        """An answer is written; the next one may begin."""
        if exchange is not self._current:
            return
        self._current = None
        self._body_paused = False
        if cut:
            self.stream.cut()
        elif not keep_alive:
            self._close(exchange)
        elif self._queue:
            # Not from within this call: an exchange may end in the middle of the parser's callbacks.
            self._loop.call_soon(self._next)
        else:
            self._between = self._receiving is None and not (self._parser.in_head or self._parser.head_bytes)
            self._deadline.set(self.office.head_seconds if self._parser.in_head else self.office.idle_seconds)
            self._update_reading()

    def _next(self) -> None:
        """Begin the next request, but not while the client leaves the answers before it untaken: they would pile up here."""
        if self._current is None and self._queue and not (self.write_paused or self.stream.closing):
            self._current = self._queue.popleft()
            self._current.begin()
            self._expect_body()
            self._update_reading()

    def _close(self, exchange: Exchange) -> None:
        """Close behind an answer. Where the client is still sending, a close at once would reset the connection and could
        destroy the answer on its way (RFC 9112 9.6): say the end, and read on for a while."""
        if exchange.request_complete and not self._upgrading:
            self._deadline.clear()
            self.stream.close()
            return
        self._lingering = True
        self.stream.write_end()
        self.stream.resume_reading()
        self._deadline.set(limits.LINGER_SECONDS)

    def _update_reading(self) -> None:
        """Read while the running exchange can use it; a queue or a stopped body is TCP's to hold."""
        if self._lingering or self._pipe is not None:
            return
        untaken = self.write_paused and self._current is None
        if self._queue or self._body_paused or untaken or len(self._early) >= limits.EARLY_BYTES:
            self.stream.pause_reading()
        else:
            self.stream.resume_reading()

    def pause_body(self) -> None:
        """The agent takes no more of the body for now."""
        self._body_paused = True
        self.stream.pause_reading()

    def resume_body(self) -> None:
        """The agent takes more."""
        self._body_paused = False
        self._expect_body()
        self._update_reading()

    # The pipe --------------------------------------------------------------------------------------

    def _keep_early(self, data: memoryview) -> None:
        """Bytes behind an upgrade wait until the upstream's 101 was seen: until then they could be a smuggled request, and the
        apiserver's port-forward refuses a client that speaks before the handshake is done."""
        self._early += data
        if len(self._early) >= limits.EARLY_BYTES:
            self.stream.pause_reading()

    def hand_over(self, pipe: StreamHandler) -> None:
        """The connection is a pipe from here on; what came early goes first."""
        self._deadline.stop()
        self._pipe = pipe
        early, self._early = bytes(self._early), bytearray()
        if early:
            pipe.stream_received(memoryview(early))
        self.stream.resume_reading()

    def pipe_closed(self) -> None:
        """The pipe is over, and the connection with it."""
        self._current = None
        self._gone()

    def _gone(self) -> None:
        self.office.connection_gone(self)
        self._count.closed()

    # Time and draining -----------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Whether no request is under way."""
        return (
            self._current is None
            and not self._queue
            and self._receiving is None
            and self._signing is None
            and not self._parser.in_head
        )

    @property
    def certificate(self) -> PeerCertificate | None:
        """The certificate of whoever holds it, once that is known."""
        return self._caller.peer if self._caller is not None else None

    def drain(self) -> None:
        """Close as soon as nothing is under way."""
        if self.idle:
            self._deadline.clear()
            self.stream.close()
        elif self._current is not None:
            self._take_no_more()
            self._current.drain()

    def abort(self, reason: str) -> None:
        """Break everything off."""
        if self._current is not None:
            self._current.abort_pipe(reason)
        self._lose(reason)

    def _expect_body(self) -> None:
        """More of a body is to come, if one is under way; where it has come meanwhile, the deadline means nothing."""
        if self._receiving is not None and not self._lingering:
            self._deadline.set(self.office.body_idle_seconds)

    def _body_stalled(self, exchange: Exchange) -> None:
        if self._body_paused or exchange is not self._current:
            self._expect_body()  # it is not read here; the client may well be sending
        else:
            exchange.body_stalled(self.office.body_idle_seconds)

    def _timed_out(self) -> None:
        if self._parser.in_head:
            self._refuse_connection(BadRequest("the request's head did not arrive in time", close=True))
        elif self._lingering:
            self.stream.abort()
        elif self._signing is not None and not self._signing.complete:
            self._refuse_connection(RequestTimeout("the request's body did not arrive in time"))
        elif self._receiving is not None:
            self._body_stalled(self._receiving)
        elif self.idle:  # else it was white space behind a request that still runs
            self.stream.close()
