"""Asking an HTTP proxy for a connection to somewhere else: CONNECT (RFC 9110 9.3.6), with Basic authentication.

The reply is read byte for byte by `ReplyHead`, whatever carries it: a plain socket (`connect_on_socket`) or a TLS stream
(`ConnectHandler`). A proxy is not trusted: its reply is bounded, and nothing behind the reply is taken for the far end's.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from tunnel.aio.errors import DialFailed
from tunnel.aio.stream import ByteStream
from tunnel.core.limits import KIB

REPLY_HEAD_BYTES: Final = 16 * KIB
"""A proxy's reply, interim ones included; Squid's and Envoy's are below 1 KiB, error pages come behind it."""

_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: ([^\r\n]*))?\r\n")
_SCHEME: Final = re.compile(rb"(?im)^proxy-authenticate:[ \t]*([A-Za-z0-9-]+)")
_START: Final = b"HTTP/1."
_REASON_CHARACTERS: Final = 80
_PIECE_BYTES: Final = 4 * KIB


class ProxyFailed(DialFailed):
    """The proxy was reached and does not give the connection."""

    step = "reach by proxy"


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy.

    Attributes:
        host, port: where it listens.
        context: for TLS to it; None for a plain `http://` proxy.
        authorization: returns the value of Proxy-Authorization as it is now, or None for none.
    """

    host: str
    port: int
    context: ssl.SSLContext | None = None
    authorization: Callable[[], bytes | None] = field(default=lambda: None, repr=False)

    def __str__(self) -> str:
        return f"{'https' if self.context else 'http'}://{authority(self.host, self.port)}"


def authority(host: str, port: int) -> str:
    """Return `host:port`, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class BadReply(Exception):
    """What came is not a reply to CONNECT; the text says how not."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A proxy's answer.

    Attributes:
        status: 200 to 599.
        reason: its reason phrase, cut and printable.
        schemes: what it would take for authentication, in lower case.
    """

    status: int
    reason: str
    schemes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.status} {self.reason}".rstrip()


class ReplyHead:
    """Reads the head of a reply to CONNECT."""

    def __init__(self) -> None:
        self._data = b""

    def receive(self, data: bytes) -> Reply | None:
        """Return the reply once its head is whole.

        Raises:
            BadReply: it is none, is too large, or a connection was granted and something already came through it.
        """
        self._data += data
        while self._data:
            if self._data[: len(_START)] != _START[: len(self._data)]:
                raise BadReply("does not speak HTTP/1.1")
            head, end, rest = self._data.partition(b"\r\n\r\n")
            if not end or len(head) > REPLY_HEAD_BYTES:
                break
            reply = _parse(head + b"\r\n")
            if reply.status // 100 == 2 and rest:
                # A TLS server waits for its client, so these are the proxy's own: the 200 has a body, or lies.
                raise BadReply("sent bytes behind its reply that nobody asked for")
            if reply.status >= 200:
                return reply
            self._data = rest
        if len(self._data) > REPLY_HEAD_BYTES:
            raise BadReply(f"sent a reply of more than {REPLY_HEAD_BYTES // KIB} KiB")
        return None


def _parse(head: bytes) -> Reply:
    line = _STATUS_LINE.match(head)
    if line is None:
        raise BadReply("sent a malformed status line")
    reason = (line[2] or b"")[:_REASON_CHARACTERS].decode("latin-1")
    shown = "".join(c if c.isascii() and c.isprintable() else "?" for c in reason)
    schemes = (scheme.decode().lower() for scheme in _SCHEME.findall(head))
    return Reply(int(line[1]), shown, tuple(dict.fromkeys(schemes)))


class Asked:
    """One CONNECT: what is sent, and what the reply means.

    Args:
        proxy: that is asked.
        target: `host:port` of the far end.
    """

    def __init__(self, proxy: Proxy, target: str) -> None:
        self._proxy = proxy
        self._target = target
        self._authorization = proxy.authorization()
        self._head = ReplyHead()

    @property
    def request(self) -> bytes:
        """The bytes to send."""
        target = self._target.encode("ascii")
        lines = [b"CONNECT %b HTTP/1.1" % target, b"Host: %b" % target, b"User-Agent: cluster-tunnel"]
        if self._authorization is not None:
            lines.append(b"Proxy-Authorization: " + self._authorization)
        return b"\r\n".join([*lines, b"", b""])

    def receive(self, data: bytes) -> bool:
        """Return whether the connection is granted; not yet, while False.

        Raises:
            ProxyFailed: it is refused, or the reply is malformed.
        """
        try:
            reply = self._head.receive(data)
        except BadReply as fault:
            raise self.failed(str(fault)) from None
        if reply is None:
            return False
        if reply.status // 100 != 2:
            raise self.failed(f"answered {reply}{self._advice(reply)}")
        return True

    def failed(self, what: str) -> ProxyFailed:
        """Return the error that says what the proxy did."""
        return ProxyFailed(self._target, f"the proxy {self._proxy} {what}")

    def _advice(self, reply: Reply) -> str:
        if reply.status != 407:
            return ""
        if reply.schemes and "basic" not in reply.schemes:
            return f": it takes only {', '.join(reply.schemes)}, and Basic is all that is spoken here"
        if self._authorization is not None:
            return ": it refuses this user name or password"
        return ": it wants a user name and a password (in its URL, or --proxy-credentials)"


async def connect_on_socket(
    loop: asyncio.AbstractEventLoop, sock: socket.socket, proxy: Proxy, target: str, deadline: float
) -> None:
    """Ask a plain proxy, to which `sock` is connected; behind this the socket leads to `target`.

    Args:
        deadline: when to give up, in `loop.time()`.

    Raises:
        ProxyFailed: the proxy refuses, breaks off, or does not answer in time. The socket is the caller's to close.
    """
    asked = Asked(proxy, target)
    try:
        async with asyncio.timeout_at(deadline):
            await loop.sock_sendall(sock, asked.request)
            granted = False
            while not granted:
                data = await loop.sock_recv(sock, _PIECE_BYTES)
                if not data:
                    raise asked.failed("closed the connection instead of answering")
                granted = asked.receive(data)
    except TimeoutError:
        raise asked.failed("did not answer in time") from None
    except OSError as error:
        raise asked.failed(f"broke the connection: {error.strerror or error}") from None


class ConnectHandler:
    """Asks a proxy that is reached over TLS; the stream's owner until `wait` has returned.

    Args:
        proxy: that is asked.
        target: `host:port` of the far end.
    """

    stream: ByteStream

    def __init__(self, proxy: Proxy, target: str) -> None:
        self._asked = Asked(proxy, target)
        self._answered = asyncio.Event()
        self._failure: ProxyFailed | None = None

    async def wait(self, deadline: float) -> None:
        """Wait for the proxy's answer, until `deadline` in `loop.time()`.

        Raises:
            ProxyFailed: as `connect_on_socket`. The stream is the caller's to close.
        """
        try:
            async with asyncio.timeout_at(deadline):
                await self._answered.wait()
        except TimeoutError:
            raise self._asked.failed("did not answer in time") from None
        if self._failure is not None:
            raise self._failure

    def stream_opened(self, stream: ByteStream) -> None:
        self.stream = stream
        stream.write(self._asked.request)

    def stream_received(self, data: memoryview) -> None:
        try:
            if self._answered.is_set():
                raise self._asked.failed("sent bytes behind its reply that nobody asked for")
            if self._asked.receive(bytes(data)):
                self._answered.set()
        except ProxyFailed as failure:
            self._fail(failure)

    def stream_ended(self) -> None:
        self._fail(self._asked.failed("closed the connection instead of answering"))

    def stream_write_paused(self) -> None:
        """The request is far smaller than any buffer."""

    def stream_write_resumed(self) -> None:
        """See above."""

    def stream_closed(self, error: Exception | None) -> None:
        self._fail(self._asked.failed(f"broke the connection: {error or 'closed'}"))

    def _fail(self, failure: ProxyFailed) -> None:
        self._failure = self._failure or failure
        self._answered.set()
        self.stream.abort()
