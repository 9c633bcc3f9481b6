"""Writes one response to a client, with framing of the stub's own, so that no agent can desynchronise a connection, and at the
client's pace."""

import re
from typing import Final, Protocol

from tunnel.aio.stream import ByteStream
from tunnel.core import limits
from tunnel.core.http.body import (
    CHUNK_END,
    CHUNKED,
    LAST_CHUNK,
    NONE,
    UNTIL_CLOSE,
    chunk_head,
    response_framing,
)
from tunnel.core.http.message import Field
from tunnel.core.http.render import field_lines, render_response
from tunnel.core.wire.exchange import Head

_NEWLINE: Final = 0x0A
_JSON: Final = re.compile(rb"(?i)(?:\A|\n)content-type: *application/json[;\r ]")


class Source(Protocol):
    """What the body of an answer comes from."""

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


class AnswerWriter:
    """One response on its way to a client.

    Args:
        stream: the client's connection.
        version_1_1: whether the client knows chunks.
        keep_alive: whether the connection may carry another request afterwards.

    Attributes:
        source: what the body comes from; None before and behind it.
        client_paused: whether the client leaves untaken what was written.
    """

    __slots__ = (
        "_chunked",
        "_has_lines",
        "_stream",
        "_version_1_1",
        "between_lines",
        "bytes_sent",
        "client_paused",
        "keep_alive",
        "source",
        "status",
    )

    def __init__(self, stream: ByteStream, *, version_1_1: bool, keep_alive: bool) -> None:
        self._stream = stream
        self._version_1_1 = version_1_1
        self._chunked = False
        self.keep_alive = keep_alive
        self.status = 0
        self.bytes_sent = 0
        self.source: Source | None = None
        self.client_paused = False
        self._has_lines = False
        self.between_lines = False
        """Whether a body of JSON lines, without a length, has just ended one or not begun. An event of protobuf may end in a newline
        by chance."""

    def start(self, head: Head, lines: bytes) -> None:
        """Write the head of an agent's answer; `lines` are its checked and sanitised fields."""
        framing = self._framing(head, lines)
        self._write_head(head.response.status, lines, framing)

    def _framing(self, head: Head, lines: bytes) -> int:
        if head.bodiless:
            # RFC 9110 8.6: a 204 has no Content-Length, whatever the agent says.
            return head.length if head.length >= 0 and head.response.status != 204 else NONE
        if head.length >= 0:
            return head.length
        if self._version_1_1:
            self._chunked = True
            self._has_lines = self.between_lines = _JSON.search(lines) is not None
            return CHUNKED
        self.keep_alive = False
        return UNTIL_CLOSE

    def data(self, data: memoryview) -> None:
        """Write part of the body as it comes, without waiting for more."""
        size = len(data)
        self.bytes_sent += size
        if self._chunked:
            self.between_lines = self._has_lines and data[-1] == _NEWLINE
            self._stream.write(b"".join((chunk_head(size), data, CHUNK_END)))
        else:
            self._stream.write(data)
        if self.client_paused:
            self._pause_source()

    def client_write_paused(self) -> None:
        """The client does not take what was written."""
        self.client_paused = True
        self._pause_source()

    def client_write_resumed(self) -> None:
        """The client takes more."""
        self.client_paused = False
        if self.source is not None:
            self.source.resume_reading()

    def _pause_source(self) -> None:
        """A small answer is taken from the agent all the same, so that it does not hold a channel; of a larger one no more is
        read."""
        if self.source is not None and self.bytes_sent > limits.SMALL_RESPONSE_BYTES:
            self.source.pause_reading()

    def end(self) -> None:
        """The body is whole."""
        self.source = None
        if self._chunked:
            self._stream.write(LAST_CHUNK)

    def whole(self, status: int, fields: list[Field], body: bytes, *, bodiless: bool) -> None:
        """Write an answer of the stub's own; to a HEAD only its head."""
        self._write_head(status, field_lines(fields), len(body))
        if not bodiless:
            self._stream.write(body)
            self.bytes_sent += len(body)

    def _write_head(self, status: int, lines: bytes, framing: int) -> None:
        self.status = status
        length = (
            b"Content-Length: %d\r\n" % framing if framing >= 0 else field_lines(response_framing(framing))
        )
        connection = b""
        if not self.keep_alive:
            connection = b"Connection: close\r\n"
        elif not self._version_1_1:
            connection = b"Connection: keep-alive\r\n"
        self._stream.write(render_response(status, lines, length, connection))
