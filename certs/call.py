"""One HTTP request over a connection of its own, and its whole answer: for the few calls that get certificates and keys.

A `Call` is the owner of a byte stream, whoever dials it, so that such calls go through the same proxies and the same TLS as all
else. Enrolment, renewal, sign-in and an issuer's keys are a call a day: a client library would cost an agent 12 MiB for them.
"""

import asyncio
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse
from typing import Any, Final, Protocol, cast

ANSWER_BYTES: Final = 512 * 1024
"""A bundle of authorities or a key set has a few KiB."""

CALL_SECONDS: Final = 15.0
"""From dialling to the answer's last byte."""


class CallFailed(Exception):
    """No whole answer came; the text says why."""


class Connection(Protocol):
    """What a call needs of its connection."""

    def write(self, data: bytes) -> None: ...
    def abort(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked.

    Attributes:
        host: for the Host field, with the port where it is not the scheme's own.
        target: with its leading slash.
        body: as JSON; None for a GET.
        fields: beside those that the framing needs.
    """

    host: str
    target: str
    body: bytes | None = field(default=None, repr=False)
    fields: Sequence[tuple[bytes, bytes]] = field(default=(), repr=False)

    @property
    def method(self) -> str:
        """GET, or POST where there is a body."""
        return "GET" if self.body is None else "POST"

    def encoded(self) -> bytes:
        """Return the bytes to send."""
        lines = [
            f"{self.method} {self.target} HTTP/1.1".encode("ascii"),
            f"Host: {self.host}".encode("ascii"),
            b"Accept: application/json",
            b"User-Agent: cluster-tunnel",
            b"Connection: close",
            *(b"%b: %b" % pair for pair in self.fields),
        ]
        if self.body is not None:
            lines += [b"Content-Type: application/json", b"Content-Length: %d" % len(self.body)]
        return b"\r\n".join([*lines, b"", self.body or b""])


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    body: bytes = field(repr=False)


class Call:
    """The owner of a connection that asks `request` and gathers the answer.

    Args:
        request: what is asked.
        limit: how many bytes an answer may have, its head included.
    """

    def __init__(self, request: Request, limit: int = ANSWER_BYTES) -> None:
        self._request = request
        self._limit = limit
        self._data = bytearray()
        self._connection: Connection | None = None
        self._over = asyncio.Event()
        self._failure: str | None = None

    async def answer(self) -> Answer:
        """Wait for the answer; the connection is closed then.

        Raises:
            CallFailed: the connection broke, or what came is not one whole HTTP answer.

        Cancelling it closes the connection.
        """
        try:
            await self._over.wait()
        finally:
            if self._connection is not None:
                self._connection.abort()
        try:
            return _parse(bytes(self._data), self._request.method)
        except (HTTPException, ValueError) as error:
            reason = self._failure or f"what came is not one whole HTTP answer ({type(error).__name__})"
            raise CallFailed(reason) from None

    # The stream ------------------------------------------------------------------------------------

    def stream_opened(self, stream: Connection) -> None:
        self._connection = stream
        stream.write(self._request.encoded())

    def stream_received(self, data: memoryview) -> None:
        self._data += data
        if len(self._data) > self._limit:
            self._data.clear()
            self._end(f"the answer is larger than {self._limit} bytes")

    def stream_ended(self) -> None:
        self._end(None)

    def stream_write_paused(self) -> None:
        """A request is a few KiB."""

    def stream_write_resumed(self) -> None:
        """See above."""

    def stream_closed(self, error: Exception | None) -> None:
        self._end(str(error) if error is not None else None)

    def _end(self, failure: str | None) -> None:
        self._failure = self._failure or failure
        self._over.set()


class _Bytes:
    """Stands for the socket that the standard library's parser reads from."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


def _parse(data: bytes, method: str) -> Answer:
    response = HTTPResponse(cast(Any, _Bytes(data)), method=method)
    with response:
        response.begin()
        if response.length is None and not response.chunked:
            # An answer that lasts until the connection ends cannot be told from one that was cut.
            raise ValueError("the answer does not say how long it is")
        return Answer(response.status, response.read())
