"""A user's connection: HTTP/1.1 requests in, one exchange at a time, until it closes or becomes a raw pipe."""

import asyncio
from typing import TYPE_CHECKING

from certs.peer import PeerCertificate
from stub.front.admission import OWN_TARGETS, Verdict
from stub.front.answer import AnswerWriter
from stub.front.client import Client
from stub.front.deadline import Deadline
from stub.front.exchange import Exchange
from stub.front.known import READ_BYTES
from stub.front.parser import RequestParser
from stub.front.pipeline import Pipeline
from stub.signing.endpoints import Answer
from stub.signing.turn import SigningTurn
from tunnel.aio.stream import ByteStream, StreamHandler
from tunnel.core import limits
from tunnel.core.errors import BadRequest, Refusal, RequestTimeout
from tunnel.core.http.message import RequestHead
from tunnel.core.identifiers import ClusterId

if TYPE_CHECKING:
    from stub.front.office import FrontOffice, Signing


class FrontConnection:
    """The handler of one client's connection.

    Args:
        office: what all connections share.
        server_name: the SNI.

    Attributes:
        client: who is at the other end.
        write_paused: whether the client leaves untaken what was written.
    """

    stream: ByteStream

    def __init__(self, office: "FrontOffice", server_name: str | None) -> None:
        self.office = office
        self.client = Client(office, server_name)
        self._loop = asyncio.get_running_loop()
        self._parser = RequestParser(self)
        self._deadline = Deadline(self._timed_out)
        self._brief = False  # nothing will be carried out here
        self._between = True  # behind one request and before the next, with nothing of it here yet
        self._whole_read = b""  # the read under way, where it began there
        self._requests = Pipeline()
        self._heads = 0  # of the read under way
        self._body: list[bytes] = []  # what it holds of a body
        self._signing: SigningTurn | None = None
        self._early = bytearray()
        self._pipe: StreamHandler | None = None
        self._upgrading = False
        self._ending = False
        self._broken = False
        self._lingering = False
        self._body_paused = False
        self.write_paused = False

    # The stream ------------------------------------------------------------------------------------

    def stream_opened(self, stream: ByteStream) -> None:
        self.stream = stream
        self.office.connection_opened(self)
        self.client.opened(stream)
        self._brief = self.client.turned_away or self.office.draining
        self._deadline.set(limits.TURN_AWAY_SECONDS if self._brief else self.office.idle_seconds)

    def stream_received(self, data: memoryview) -> None:
        if self._lingering or self._broken:
            return
        if self._upgrading:
            self._keep_early(data)
            return
        self._whole_read = b""
        if self._between and len(data) <= READ_BYTES:
            self._whole_read = bytes(data)
            verdict = self.client.recognise(self._whole_read)
            if verdict is not None:
                self._take_known(verdict)
                return
        self._between = False
        self._heads = 0
        if not self._parser.head_bytes and self._requests.receiving is None and not self._brief:
            # With the first byte alone: neither single bytes nor empty lines in front of a head move its deadline.
            self._deadline.set(self.office.head_seconds)
        self._feed(data)
        receiving = self._requests.receiving
        if receiving is not None:
            self._pass_body_on()
            receiving.read_over()
            self._expect_body()
        self._update_reading()

    def stream_ended(self) -> None:
        """The client sends no more. Over TLS that is how clients leave: Go's closes both ways at once and does not wait for an
        answer, so one that is still under way (a watch, above all) is given up, as Go's own server does."""
        if not self._requests.unanswered and self._signing is None:
            self.stream.close()
        else:
            self._lose("it closed the connection")

    def stream_write_paused(self) -> None:
        self.write_paused = True
        if self._requests.current is not None:
            self._requests.current.client_write_paused()

    def stream_write_resumed(self) -> None:
        self.write_paused = False
        if self._requests.current is not None:
            self._requests.current.client_write_resumed()
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
        self._requests.lose(reason)
        self.stream.abort()

    def _take_no_more(self) -> None:
        """Close behind the answers to the requests that are here."""
        self._ending = True
        last = self._requests.last
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
        self._heads += 1
        if self._heads > limits.PIPELINED_REQUESTS:
            raise BadRequest("too many requests were sent before the first was answered", close=True)
        if self._ending or self._lingering or self.stream.closing:
            # It came behind the last request that is answered here. To carry it out all the same would be to believe bytes
            # behind a refusal that ends the connection, and its answer could not be sent.
            return
        if (
            head.target.startswith(OWN_TARGETS)
            and self.office.signing is not None
            and not self.client.turned_away
        ):
            self._begin_signing(head, self.office.signing)
            return
        version = self._parser.version
        exchange = self._requests.receiving = Exchange(
            self,
            head.method,
            head.target,
            self.client.judge(head, version, self._whole_read),
            version_1_1=version == "1.1",
            keep_alive=self._parser.may_keep_alive and not self.office.draining,
        )
        # A client that pipelines is not read further until its turn comes. One request of a read begins in the loop's turn in which
        # it came, the others in turns of their own: a refusal is an answer at once, and a read may hold many.
        if self._requests.take(exchange, at_once=self._heads == 1):
            self._loop.call_soon(self._next)

    def _begin_signing(self, head: RequestHead, signing: "Signing") -> None:
        """A call for a certificate: the last request of its connection, and, so that answers keep their order, its only one."""
        if self._requests.unanswered:
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

    def body_received(self, body: bytes) -> None:
        if self._signing is not None:
            self._signing.body_received(body)
        elif self._requests.receiving is not None:
            self._body.append(body)

    def _pass_body_on(self) -> None:
        """In one piece: a read holds eleven thousand chunks of one byte, and each piece is a frame of its own to the agent."""
        if self._body:
            body, self._body = b"".join(self._body), []
            if self._requests.receiving is not None:
                self._requests.receiving.body_received(body)

    def request_completed(self) -> None:
        self._whole_read = b""  # what follows came with another
        if self._signing is not None:
            self._deadline.clear()
            self._signing.body_completed()
            return
        self._pass_body_on()
        exchange, self._requests.receiving = self._requests.receiving, None
        if exchange is not None:
            exchange.body_completed()
            exchange.read_over()
            if self._lingering:
                # It was answered before it was whole, and now nothing is left to linger for.
                self._deadline.clear()
                self.stream.close()

    def _take_known(self, verdict: Verdict) -> None:
        """Begin a request that needs no parsing."""
        admitted = verdict.admitted
        assert admitted is not None
        self._between = False
        self._deadline.clear()
        exchange = self._requests.current = Exchange(
            self,
            admitted.head.method,
            admitted.target,
            verdict,
            version_1_1=True,
            keep_alive=not self.office.draining,
            complete=True,
        )
        exchange.begin()

    def _refuse_connection(self, refusal: Refusal, head: RequestHead | None = None) -> None:
        """The bytes on this connection can no longer be told apart: answer what came whole before, say so, and close.

        Args:
            head: of what is refused, as far as it is known.
        """
        if self._lingering or self.stream.closing:
            return  # refused and closed in the middle of this very read, and the parser went on
        self._broken = True
        refusal.close = True
        receiving, self._requests.receiving = self._requests.receiving, None
        self._body = []
        signing, self._signing = self._signing, None
        if signing is not None:
            signing.drop()
            head = signing.head
        if receiving is None:
            self._requests.take(self._broken_exchange(refusal, head))
        elif receiving is not self._requests.current:
            self._requests.drop(receiving, refusal.message)
            self._requests.take(self._broken_exchange(refusal))
        elif receiving.status:
            # Its answer is under way; a second one would corrupt it.
            self._lose(refusal.message)
        else:
            receiving.refuse(refusal)

    def _broken_exchange(self, refusal: Refusal, head: RequestHead | None = None) -> Exchange:
        method, target = (head.method, head.target) if head is not None else (b"", b"")
        verdict = Verdict(self.client.caller, None, refusal)
        return Exchange(self, method, target, verdict, version_1_1=True, keep_alive=False)

    # Turns -----------------------------------------------------------------------------------------

    def exchange_over(self, exchange: Exchange, *, cut: bool, keep_alive: bool) -> None:
        """An answer is written; the next one may begin."""
        requests = self._requests
        if exchange is not requests.current:
            return
        requests.current = None
        self._body_paused = False
        if cut:
            self.stream.cut()
        elif not keep_alive:
            self._close(exchange)
        elif requests.waiting:
            # Not from within this call: an exchange may end in the middle of the parser's callbacks.
            self._loop.call_soon(self._next)
        else:
            self._between = requests.receiving is None and not (
                self._parser.in_head or self._parser.head_bytes
            )
            self._deadline.set(self.office.head_seconds if self._parser.in_head else self.office.idle_seconds)
            self._update_reading()

    def _next(self) -> None:
        """Begin the next request, but not while the client leaves the answers before it untaken: they would pile up here."""
        if self._lingering or self.stream.closing:
            return
        if self.write_paused:
            self._deadline.set(self.office.idle_seconds)
        elif self._requests.next():
            if self._requests.receiving is not None:
                self._requests.receiving.read_over()  # more of its body may never come
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
        untaken = self.write_paused and self._requests.current is None
        if self._requests.waiting or self._body_paused or untaken or len(self._early) >= limits.EARLY_BYTES:
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
        self._requests.current = None
        self._gone()

    def _gone(self) -> None:
        self.office.connection_gone(self)
        self.client.closed()

    # Time and draining -----------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Whether no request is under way."""
        return (
            not self._requests.unanswered
            and self._requests.receiving is None
            and self._signing is None
            and not self._parser.in_head
        )

    @property
    def running(self) -> Exchange | None:
        """The request that is being answered, or the pipe that it has become."""
        return self._requests.current

    def uses(self, slot: ClusterId) -> bool:
        """Whether a request that is not answered yet, or the pipe, goes where this slot led."""
        return any(each.admitted is not None and each.admitted.slot == slot for each in self._requests)

    @property
    def certificate(self) -> PeerCertificate | None:
        """The certificate of whoever holds it, once that is known."""
        return self.client.certificate

    def drain(self) -> None:
        """Close as soon as nothing is under way. What lingers ends by its deadline: to break it off could destroy its answer."""
        if self._lingering:
            return
        if self.idle:
            self._deadline.clear()
            self.stream.close()
        elif self._requests.unanswered:
            self._take_no_more()
            if self._requests.current is not None:
                self._requests.current.drain()

    def abort(self, reason: str) -> None:
        """Break everything off."""
        if self._requests.current is not None:
            self._requests.current.abort_pipe(reason)
        self._lose(reason)

    def _expect_body(self) -> None:
        """More of a body is to come, if one is under way; where it has come meanwhile, the deadline means nothing."""
        if self._requests.receiving is not None and not self._lingering:
            self._deadline.set(self.office.body_idle_seconds)

    def _body_stalled(self, exchange: Exchange) -> None:
        if self._body_paused or exchange is not self._requests.current:
            self._expect_body()  # it is not read here; the client may well be sending
        else:
            exchange.body_stalled(self.office.body_idle_seconds)

    def _timed_out(self) -> None:
        untaken = self.write_paused and self._requests.current is None
        if self._lingering or untaken:
            self.stream.abort()
        elif self._parser.in_head:
            self._refuse_connection(BadRequest("the request's head did not arrive in time", close=True))
        elif self._signing is not None and not self._signing.complete:
            self._refuse_connection(RequestTimeout("the request's body did not arrive in time"))
        elif self._requests.receiving is not None:
            self._body_stalled(self._requests.receiving)
        elif self.idle:  # else it was white space behind a request that still runs
            self.stream.close()
