"""A connection to the apiserver: HTTP/1.1, one exchange at a time, kept alive between them."""

from enum import Enum, auto
from typing import Any, Protocol

import httptools

from agent.upstream.known import KnownAnswer, KnownAnswers
from tunnel.aio.sockets import UPSTREAM_LEG, UPSTREAM_PATIENT_LEG
from tunnel.aio.stream import ByteStream
from tunnel.core import limits
from tunnel.core.errors import BadGateway
from tunnel.core.http.body import NONE, UNTIL_CLOSE, response_body
from tunnel.core.http.message import Field, ResponseHead


class Responder(Protocol):
    """Whoever waits for the answer."""

    def upstream_head(self, head: ResponseHead, length: int) -> None:
        """The final head; `length` is bytes, CHUNKED, UNTIL_CLOSE or NONE."""

    def upstream_data(self, data: bytes | memoryview) -> None:
        """Some of the body; a view is valid only during the call."""

    def upstream_end(self) -> None:
        """The body is whole. The connection has gone back to the pool, or closes."""

    def upstream_switched(self, head: ResponseHead, early: memoryview) -> None:
        """A 101; `early` is what came behind it. The connection belongs to the responder now, until it calls `abort` or
        `pipe_closed`."""

    def upstream_lost(self, reason: str, *, answered: bool, reused: bool) -> None:
        """The connection is gone before the end. `answered` where any byte of an answer had come; `reused` where the
        connection had served others before, so that it may have been closing already."""

    def upstream_write_paused(self) -> None: ...
    def upstream_write_resumed(self) -> None: ...


class Returns(Protocol):
    """Takes connections back."""

    def connection_free(self, connection: "UpstreamConnection") -> None: ...
    def connection_gone(self, connection: "UpstreamConnection") -> None: ...


class _Reading(Enum):
    HEAD = auto()
    PARSED_BODY = auto()
    COUNTED_BODY = auto()
    OVER = auto()


class UpstreamConnection:
    """The handler of one connection.

    Args:
        pool: gets it back.
        known: heads of this apiserver's answers.
    """

    stream: ByteStream

    def __init__(self, pool: Returns, known: KnownAnswers) -> None:
        self._pool = pool
        self._known = known
        self._parser: Any = None  # httptools declares its parser without types
        self._responder: Responder | None = None
        self._method = b""
        self._fields: list[Field] = []
        self._head_bytes = 0
        self._reading = _Reading.OVER
        self._left = 0
        self._first_read: memoryview | None = None  # of an answer, while it is parsed
        self._answered = False
        self._request_whole = True
        self._write_paused = False
        self._keep_alive = False
        self._served = 0
        self._patient = False
        self._fault: BadGateway | None = None
        self.idle_since = 0.0

    def begin(self, responder: Responder, method: bytes, data: bytes, *, whole: bool) -> None:
        """Send a request.

        Args:
            data: its head, and what is there of its body.
            whole: whether that is all of it; else `request_ended` follows.
        """
        self._responder = responder
        self._method = method
        self._request_whole = whole
        self._answered = False
        self._fault = None
        self._expect_head()
        if not whole:
            self._be_patient()
        self.stream.write(data)

    def _be_patient(self) -> None:
        """What goes up from here on may wait in front of an apiserver, or a pod behind it, that is alive and reads nothing."""
        self._patient = True
        self.stream.set_socket_options(UPSTREAM_PATIENT_LEG)

    def request_ended(self) -> None:
        """The request's body is sent. Until then an answer does not free the connection: the apiserver would read the next
        request as the rest of that body."""
        self._request_whole = True

    def _expect_head(self) -> None:
        self._parser = None
        self._reading = _Reading.HEAD
        self._fields = []
        self._head_bytes = 0

    # The stream ------------------------------------------------------------------------------------

    def stream_opened(self, stream: ByteStream) -> None:
        self.stream = stream

    def stream_received(self, data: memoryview) -> None:
        if self._responder is None:
            # Nobody asked: an apiserver that answers an idle connection (408, or a second body) is out of step.
            self._drop()
            return
        self._answered = True
        if self._reading is _Reading.COUNTED_BODY:
            self._count(data)
        elif self._parser is not None:
            self._parse(data)
        else:
            self._begin_answer(data)

    def stream_ended(self) -> None:
        if self._reading is _Reading.PARSED_BODY and self._left == UNTIL_CLOSE:
            self._keep_alive = False
            self._complete()
        else:
            self._lost("the apiserver closed the connection")

    def stream_write_paused(self) -> None:
        self._write_paused = True
        if self._responder is not None:
            self._responder.upstream_write_paused()

    def stream_write_resumed(self) -> None:
        self._write_paused = False
        if self._responder is not None:
            self._responder.upstream_write_resumed()

    def stream_closed(self, error: Exception | None) -> None:
        self._lost(
            f"the connection to the apiserver broke: {error}"
            if error
            else "the apiserver closed the connection"
        )

    def abort(self) -> None:
        """Break the connection off; the responder hears nothing more."""
        self._responder = None
        self._drop()

    def pipe_closed(self) -> None:
        """The pipe that this connection became is over."""
        self._pool.connection_gone(self)

    def _drop(self) -> None:
        self._pool.connection_gone(self)
        self.stream.abort()

    def _lost(self, reason: str) -> None:
        responder, self._responder = self._responder, None
        self._drop()
        if responder is not None:
            responder.upstream_lost(reason, answered=self._answered, reused=self._served > 0)

    # Reading ---------------------------------------------------------------------------------------

    def _begin_answer(self, data: memoryview) -> None:
        """Take the first read of an answer."""
        known = self._known.recognise(data) if self._method != b"HEAD" else None
        if known is None:
            self._parser = httptools.HttpResponseParser(self)
            self._first_read = data
            self._parse(data)
            self._first_read = None
        else:
            self._take_known(known, data)

    def _take_known(self, known: KnownAnswer, data: memoryview) -> None:
        """Begin an answer whose head needs no parsing; what is behind it in the read is of its body."""
        responder = self._responder
        assert responder is not None
        self._keep_alive = True
        self._left = known.length
        self._reading = _Reading.COUNTED_BODY
        responder.upstream_head(ResponseHead(known.status, block=known.block), known.length)
        if self._responder is responder and len(data) > known.end:
            self._count(data[known.end :])

    def _count(self, data: memoryview) -> None:
        """A body of known length needs no parser: its bytes go on as the views they came in."""
        assert self._responder is not None
        take = min(len(data), self._left)
        self._left -= take
        self._responder.upstream_data(data[:take])
        if self._left == 0:
            self._keep_alive = self._keep_alive and take == len(data)
            self._complete()

    def _parse(self, data: memoryview) -> None:
        if self._reading is _Reading.HEAD:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._reading is _Reading.HEAD:
                self._switch(data[upgrade.args[0] :])
                return
            self._keep_alive = False  # a 101 behind the answer: it belongs to nobody
        except httptools.HttpParserError as error:
            if self._reading is not _Reading.OVER:
                self._lost(
                    self._fault.message if self._fault else f"the apiserver's answer is not HTTP/1.1: {error}"
                )
                return
            self._keep_alive = False
        # Not within the parser's callbacks: a connection that is given back may be asked again at once, and what the old
        # parser still says would be taken for the new answer.
        if self._reading is _Reading.OVER:
            self._complete()
        elif self._reading is _Reading.PARSED_BODY and self._left > 0:
            self._reading = _Reading.COUNTED_BODY
        elif self._reading is _Reading.HEAD and self._head_bytes > limits.RESPONSE_HEAD_BYTES:
            self._lost("the apiserver's head is too large")

    def on_message_begin(self) -> None:
        if self._reading is _Reading.HEAD:
            self._fields = []  # an interim answer's are not the final one's
        elif self._reading is _Reading.OVER:
            self._keep_alive = False  # more than one answer: whatever follows belongs to nobody

    def on_header(self, name: bytes, value: bytes) -> None:
        # Trailers come through the same callback, behind the head; they are dropped.
        if self._reading is _Reading.HEAD:
            self._fields.append((name, value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200 or self._reading is not _Reading.HEAD:
            return  # 100 and 103 are for this hop alone; a 101 raises HttpParserUpgrade behind this
        head = ResponseHead(status, self._fields)
        try:
            length = response_body(self._method, status, head.fields)
        except BadGateway as fault:
            self._fault = fault
            raise
        self._keep_alive = self._parser.should_keep_alive() and length != UNTIL_CLOSE
        self._reading = _Reading.PARSED_BODY
        self._left = length
        if self._first_read is not None:
            self._known.learn(self._first_read, self._fields)
        assert self._responder is not None
        self._responder.upstream_head(head, length)
        if length in (NONE, 0):
            self._reading = _Reading.OVER

    def on_body(self, body: bytes) -> None:
        if self._reading is _Reading.OVER:
            self._keep_alive = False  # a body where none may be
        elif self._responder is not None:
            self._responder.upstream_data(body)
            if self._left >= 0:
                self._left -= len(body)

    def on_message_complete(self) -> None:
        if self._reading is _Reading.PARSED_BODY:
            self._reading = _Reading.OVER

    def _switch(self, early: memoryview) -> None:
        responder, self._responder = self._responder, None
        self._reading = _Reading.OVER
        self._be_patient()
        assert responder is not None
        responder.upstream_switched(ResponseHead(101, self._fields), early)

    def _complete(self) -> None:
        responder, self._responder = self._responder, None
        self._reading = _Reading.OVER
        self._parser = None
        self._served += 1
        if responder is None:
            return
        taken = self._request_whole and not self._write_paused
        if self._keep_alive and taken and not self.stream.closing:
            if self._patient:
                self._patient = False
                self.stream.set_socket_options(UPSTREAM_LEG)
            self._pool.connection_free(self)
        else:
            self._pool.connection_gone(self)
            self.stream.close()
        responder.upstream_end()
