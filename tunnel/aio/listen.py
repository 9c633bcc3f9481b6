"""Listening: each accepted connection becomes a stream whose owner is chosen once its handshake is done."""

import asyncio
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tunnel.aio.admittance import Admittance, HandshakeLimits, TurnedAway
from tunnel.aio.basestream import BaseStream
from tunnel.aio.errors import HandshakeFailed
from tunnel.aio.plain import PlainStream
from tunnel.aio.sockets import PLAIN_LEG, SocketOptions
from tunnel.aio.stream import StreamHandler
from tunnel.aio.tls import TlsStream, capture_server_name
from tunnel.core import limits

Choose = Callable[[BaseStream], StreamHandler]
"""Gives a connection its owner, by `stream.tls` and `stream.peer`. It may call `stream.set_socket_options`. To turn the
connection away it raises a `StreamError`, which goes to `on_handshake_failed`."""

HandshakeFailure = Callable[[str, str], None]
"""Told the peer's address and the reason, for logs and metrics."""

BACKLOG: Final = 1024
"""Connections the kernel keeps for us; it cuts this down to its own limit (net.core.somaxconn)."""


@dataclass(frozen=True, slots=True)
class ListenerSettings:
    """How connections are accepted.

    Attributes:
        handshakes: how many there may be; connections above that are closed at once, which clients retry.
        handshake_seconds: how long a handshake may take.
        options: what is set on accepted sockets.
        read_budget: see `BaseStream`.
        write_high: see `BaseStream`.
        reuse_port: let several processes listen on the same port.
    """

    handshakes: HandshakeLimits = field(default_factory=HandshakeLimits)
    handshake_seconds: float = limits.HANDSHAKE_SECONDS
    options: SocketOptions = PLAIN_LEG
    read_budget: int = limits.READ_BUDGET_BYTES
    write_high: int = limits.WRITE_HIGH_BYTES
    reuse_port: bool = False


class _AcceptedTls(TlsStream):
    """A connection that asks whether it may begin its handshake, once its address is known."""

    __slots__ = ("_listener",)

    def __init__(self, listener: "Listener", *callbacks: Any, **settings: Any) -> None:
        super().__init__(*callbacks, **settings)
        self._listener = listener

    @property
    def waits_for_peer(self) -> bool:
        """See `Waiting`."""
        return self._handshake is not None and not self._handshake.running

    @property
    def waiting_since(self) -> float:
        """See `Waiting`."""
        return self._handshake.waiting_since if self._handshake is not None else self._loop.time()

    def _made(self) -> None:
        super()._made()
        self._listener.made(self)


class Listener:
    """Accepts connections until it is closed; made by `listen`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        context: ssl.SSLContext | None,
        choose: Choose,
        on_handshake_failed: HandshakeFailure,
        settings: ListenerSettings,
    ) -> None:
        self._loop = loop
        self._context = context
        self._choose = choose
        self._on_handshake_failed = on_handshake_failed
        self._settings = settings
        self._admittance = Admittance[_AcceptedTls](settings.handshakes)
        self._server: asyncio.Server | None = None
        self.addresses: list[tuple[str, int]] = []
        """What is listened on, with the real port."""

    async def start(self, host: str | Sequence[str] | None, port: int) -> None:
        """Bind and accept; see `listen`."""
        self._server = await self._loop.create_server(
            self._make_stream, host, port, backlog=BACKLOG, reuse_port=self._settings.reuse_port or None
        )
        self.addresses = [sock.getsockname()[:2] for sock in self._server.sockets]

    @property
    def pending_handshakes(self) -> int:
        """Connections whose owner has not been chosen yet."""
        return len(self._admittance)

    @property
    def turned_away(self) -> Mapping[TurnedAway, int]:
        """How many connections got no handshake, or lost it to another, by reason."""
        return self._admittance.turned_away

    def set_context(self, context: ssl.SSLContext) -> None:
        """Use another TLS context (renewed certificates) from the next connection on."""
        capture_server_name(context)
        self._context = context

    def close(self) -> None:
        """Stop accepting. Handshakes under way go on and get their owners; open connections are not touched. Idempotent."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def abort_pending(self) -> None:
        """Close the connections that are still in their handshake."""
        for stream in self._admittance.pending():
            stream.abort()

    def made(self, stream: _AcceptedTls) -> None:
        """A connection is there, and its address is known."""
        closed = self._admittance.admit(stream, self._loop.time())
        if closed is not None:
            closed[0].refuse(closed[1].value)
            closed[0].abort()

    def _make_stream(self) -> BaseStream:
        settings = self._settings
        if self._context is None:
            return PlainStream(
                self._loop,
                self._ready,
                self._failed,
                options=settings.options,
                read_budget=settings.read_budget,
                write_high=settings.write_high,
            )
        return _AcceptedTls(
            self,
            self._loop,
            self._ready,
            self._failed,
            context=self._context,
            server_hostname=None,
            options=settings.options,
            handshake_seconds=settings.handshake_seconds,
            read_budget=settings.read_budget,
            write_high=settings.write_high,
        )

    def _ready(self, stream: BaseStream) -> StreamHandler:
        self._over(stream)
        return self._choose(stream)

    def _failed(self, stream: BaseStream, error: Exception) -> None:
        self._over(stream)
        reason = error.reason if isinstance(error, HandshakeFailed) else str(error)
        self._on_handshake_failed(stream.peer, reason)

    def _over(self, stream: BaseStream) -> None:
        if isinstance(stream, _AcceptedTls):
            self._admittance.over(stream)


async def listen(
    host: str | Sequence[str] | None,
    port: int,
    context: ssl.SSLContext | None,
    choose: Choose,
    *,
    on_handshake_failed: HandshakeFailure,
    settings: ListenerSettings | None = None,
) -> Listener:
    """Listen on `host:port` (0 picks a free port) and return the listener.

    Args:
        host: an address, a name, several of them, or None for every address.
        context: a server's, for TLS; None accepts plain TCP.
        choose: gives each connection its owner, behind the handshake.
        on_handshake_failed: told of each connection that got no owner.
        settings: see `ListenerSettings`.

    Raises:
        OSError: the address cannot be listened on.
    """
    if context is not None:
        capture_server_name(context)
    listener = Listener(
        asyncio.get_running_loop(), context, choose, on_handshake_failed, settings or ListenerSettings()
    )
    await listener.start(host, port)
    return listener
