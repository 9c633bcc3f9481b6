"""Dialling: from a host's name to a stream that is ready, with one clear error where that fails."""

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from tunnel.aio.basestream import BaseStream
from tunnel.aio.connect import ConnectHandler, Proxy, authority, connect_on_socket
from tunnel.aio.errors import ConnectFailed, DialFailed, HandshakeFailed, ResolveFailed
from tunnel.aio.nested import NestedTransport
from tunnel.aio.plain import PlainStream
from tunnel.aio.sockets import PLAIN_LEG, SocketOptions
from tunnel.aio.stream import StreamHandler
from tunnel.aio.tls import TlsStream
from tunnel.core import limits

Address = tuple[socket.AddressFamily, tuple[Any, ...]]
HandlerFactory = Callable[[], StreamHandler]
Stream = TypeVar("Stream", bound=BaseStream)


async def dial_tls(
    host: str,
    port: int,
    context: ssl.SSLContext,
    *,
    server_hostname: str | None = None,
    handler_factory: HandlerFactory,
    deadline: float | None = None,
    require_alpn: str | None = None,
    via: Proxy | None = None,
    options: SocketOptions = PLAIN_LEG,
    read_budget: int = limits.READ_BUDGET_BYTES,
    write_high: int = limits.WRITE_HIGH_BYTES,
) -> TlsStream:
    """Connect to `host:port`, directly or through a proxy, and do the TLS handshake.

    A TLS 1.3 server judges our certificate behind our handshake: its refusal reaches the handler as `stream_closed(TlsBroken)`.

    Args:
        host: a name or an address.
        context: a client's, with the trust and certificate to use.
        server_hostname: the name the server's certificate must have; `host` where None.
        handler_factory: makes the owner; `stream_opened` is called before this returns.
        deadline: when to give up, in `loop.time()`; None is `limits.HANDSHAKE_SECONDS` from now.
        require_alpn: the protocol the server must agree to.
        via: a proxy that is asked for the connection; it resolves `host`.
        options: what is set on the socket.
        read_budget: see `BaseStream`.
        write_high: see `BaseStream`.

    Raises:
        ResolveFailed, ConnectFailed, HandshakeFailed: at that step, towards the server or the proxy.
        ProxyFailed: the proxy does not give the connection. All are `DialFailed`.

    Cancelling it closes what was open.
    """
    loop = asyncio.get_running_loop()
    opening = _Opening[TlsStream](loop, authority(host, port), handler_factory, require_alpn)
    deadline = _deadline(loop, deadline)

    def make() -> TlsStream:
        return TlsStream(
            loop,
            opening.choose,
            opening.failed,
            context=context,
            server_hostname=server_hostname or host,
            options=options,
            handshake_seconds=deadline - loop.time(),
            read_budget=read_budget,
            write_high=write_high,
        )

    if via is not None and via.context is not None:
        outer = await _tls_to_proxy(via, via.context, authority(host, port), deadline, options)
        return await opening.open_inside(outer, make)
    sock = await _connect_via(loop, via, host, port, options, deadline)
    return await opening.open(sock, make())


async def _tls_to_proxy(
    via: Proxy, context: ssl.SSLContext, target: str, deadline: float, options: SocketOptions
) -> TlsStream:
    """Return a stream to the proxy, behind which is `target`."""
    handler = ConnectHandler(via, target)
    stream = await dial_tls(
        via.host, via.port, context, handler_factory=lambda: handler, deadline=deadline, options=options
    )
    try:
        await handler.wait(deadline)
    except BaseException:
        stream.abort()
        raise
    return stream


async def resolve(host: str, port: int, deadline: float) -> tuple[str, ...]:
    """Return every IP address of `host`, in the system's order, each once.

    Args:
        deadline: when to give up, in `loop.time()`.

    Raises:
        ResolveFailed: the name has none, or the resolver did not answer.
    """
    found = await _resolve(asyncio.get_running_loop(), host, port, deadline)
    return tuple(dict.fromkeys(address[0] for _, address in found))


async def dial_plain(
    host: str,
    port: int,
    *,
    handler_factory: HandlerFactory,
    deadline: float | None = None,
    options: SocketOptions = PLAIN_LEG,
    read_budget: int = limits.READ_BUDGET_BYTES,
    write_high: int = limits.WRITE_HIGH_BYTES,
) -> PlainStream:
    """Connect to `host:port` over plain TCP. Arguments, errors and cancellation are those of `dial_tls`."""
    loop = asyncio.get_running_loop()
    opening = _Opening[PlainStream](loop, authority(host, port), handler_factory)
    sock = await _connect(loop, host, port, options, _deadline(loop, deadline))
    stream = PlainStream(
        loop,
        opening.choose,
        opening.failed,
        options=options,
        read_budget=read_budget,
        write_high=write_high,
    )
    return await opening.open(sock, stream)


class _Opening(Generic[Stream]):
    """What waits for one connection to become ready."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        target: str,
        handler_factory: HandlerFactory,
        require_alpn: str | None = None,
    ) -> None:
        self._loop = loop
        self._target = target
        self._handler_factory = handler_factory
        self._require_alpn = require_alpn
        self._ready: asyncio.Future[None] = loop.create_future()

    def choose(self, stream: BaseStream) -> StreamHandler:
        """The connection is ready."""
        agreed, wanted = stream.tls.alpn if stream.tls is not None else None, self._require_alpn
        if wanted is not None and agreed != wanted:
            raise HandshakeFailed(
                self._target, f"the server agreed to the protocol {agreed}, not to {wanted}"
            )
        handler = self._handler_factory()
        if not self._ready.done():
            self._ready.set_result(None)
        return handler

    def failed(self, stream: BaseStream, error: Exception) -> None:
        """The connection ended before that."""
        if self._ready.done():
            return
        if isinstance(error, HandshakeFailed):
            error = HandshakeFailed(self._target, error.reason)
        elif not isinstance(error, DialFailed):
            error = ConnectFailed(self._target, str(error))
        self._ready.set_exception(error)

    async def open(self, sock: socket.socket, stream: Stream) -> Stream:
        """Put `stream` on the connected socket and wait until it is ready."""
        try:
            await self._loop.create_connection(lambda: stream, sock=sock)
            await self._ready
        except BaseException:
            stream.abort()
            sock.close()
            raise
        return stream

    async def open_inside(self, outer: BaseStream, make: Callable[[], Stream]) -> Stream:
        """Put a stream on another one and wait until it is ready."""
        stream = make()
        try:
            NestedTransport(outer, stream).start()
            await self._ready
        except BaseException:
            stream.abort()
            outer.abort()
            raise
        return stream


def _deadline(loop: asyncio.AbstractEventLoop, deadline: float | None) -> float:
    return loop.time() + limits.HANDSHAKE_SECONDS if deadline is None else deadline


async def _connect(
    loop: asyncio.AbstractEventLoop, host: str, port: int, options: SocketOptions, deadline: float
) -> socket.socket:
    """Return a connected socket to the first address of `host` that answers."""
    target = authority(host, port)
    addresses = await _resolve(loop, host, port, deadline)
    reasons: list[str] = []
    for left, (family, address) in zip(range(len(addresses), 0, -1), addresses, strict=True):
        # A dead address must leave time for the ones behind it.
        until = loop.time() + (deadline - loop.time()) / left
        try:
            return await _connect_one(loop, family, address, options, until)
        except TimeoutError:
            reasons.append(f"{address[0]} did not answer in time")
        except OSError as error:
            # asyncio puts a text of its own in place of the system's.
            reasons.append(f"{address[0]}: {os.strerror(error.errno) if error.errno else error}")
    raise ConnectFailed(target, "; ".join(reasons))


async def _connect_via(
    loop: asyncio.AbstractEventLoop,
    via: Proxy | None,
    host: str,
    port: int,
    options: SocketOptions,
    deadline: float,
) -> socket.socket:
    """Return a socket that is connected to `host`, by itself or behind a proxy that is spoken to in the clear."""
    if via is None:
        return await _connect(loop, host, port, options, deadline)
    sock = await _connect(loop, via.host, via.port, options, deadline)
    try:
        await connect_on_socket(loop, sock, via, authority(host, port), deadline)
    except BaseException:
        sock.close()
        raise
    return sock


async def _resolve(loop: asyncio.AbstractEventLoop, host: str, port: int, deadline: float) -> list[Address]:
    try:
        async with asyncio.timeout_at(deadline):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError:
        raise ResolveFailed(authority(host, port), "the resolver did not answer in time") from None
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ResolveFailed(authority(host, port), reason) from error
    return [(socket.AddressFamily(family), address) for family, _, _, _, address in found]


async def _connect_one(
    loop: asyncio.AbstractEventLoop,
    family: socket.AddressFamily,
    address: tuple[Any, ...],
    options: SocketOptions,
    until: float,
) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        options.apply(sock)
        async with asyncio.timeout_at(until):
            await loop.sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock
