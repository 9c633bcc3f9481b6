"""A small HTTP proxy that knows CONNECT, over plain TCP or TLS, with or without Basic authentication."""

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

REFUSED = (
    b"HTTP/1.1 407 Proxy Authentication Required\r\n"
    b'Proxy-Authenticate: Basic realm="test"\r\nContent-Length: 0\r\n\r\n'
)


def _cut(writer: asyncio.StreamWriter) -> None:
    # Before CPython 3.11.4 a TLS transport that is closed already has forgotten whom to ask.
    with contextlib.suppress(AttributeError):
        writer.transport.abort()


@dataclass
class ConnectProxy:
    """See the module.

    Attributes:
        password: `user:password` that it wants; None for nobody's.
        names: where it leads for a name of its own; every other host is asked of the system.
        asked: the targets of all CONNECTs, in order.
        script: answers in place of it, for proxies that misbehave.
    """

    password: str | None = None
    names: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    script: Script | None = None
    port: int = 0
    open: set[asyncio.StreamWriter] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.open.add(writer)
        try:
            with contextlib.suppress(OSError, EOFError, ssl.SSLError):
                await (self.script or self._connect)(reader, writer)
        except asyncio.CancelledError:
            pass  # the test is over
        finally:
            self.open.discard(writer)
            _cut(writer)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, *fields = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        target = line.split(" ")[1]
        self.asked.append(target)
        if self.password is not None and self._wanted not in fields:
            writer.write(REFUSED)
            await writer.drain()
            return
        host, _, port = target.rpartition(":")
        host = host.strip("[]")
        far_reader, far = await asyncio.open_connection(self.names.get(host, host), int(port))
        self.open.add(far)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            await asyncio.gather(_copy(reader, far), _copy(far_reader, writer))
        finally:
            self.open.discard(far)
            far.transport.abort()

    @property
    def _wanted(self) -> str:
        assert self.password is not None
        return f"Proxy-Authorization: Basic {base64.b64encode(self.password.encode()).decode()}"

    def cut(self) -> None:
        """Break every connection."""
        for writer in list(self.open):
            _cut(writer)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(64 * 1024):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
    else:
        writer.close()


@asynccontextmanager
async def connect_proxy(
    context: ssl.SSLContext | None = None, *, password: str | None = None, script: Script | None = None
) -> AsyncIterator[ConnectProxy]:
    """Listen while the block runs."""
    proxy = ConnectProxy(password, script=script)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, ssl=context)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        proxy.cut()
