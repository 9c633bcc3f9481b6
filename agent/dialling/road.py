"""How the stubs are reached: directly at each of their addresses, or by a proxy."""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.dialling.proxyrules import NoProxy, ProxyUrl, basic
from agent.settings import AgentSettings
from certs.contexts import upstream_context
from certs.pem import PemFile
from tunnel.aio.connect import Proxy
from tunnel.aio.dial import dial_tls, resolve
from tunnel.aio.sockets import TUNNEL_LEG
from tunnel.aio.stream import StreamHandler
from tunnel.kit.failures import CommandFailed
from tunnel.kit.values import Address
from tunnel.kit.watched import WatchedFiles

REREAD_SECONDS: Final = 10.0
"""How old the proxy's credentials may be that are sent."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One place that is dialled.

    Attributes:
        address: an IP address that the stub's name has; behind a proxy, which resolves it, the name itself.
        server_name: what the stub's certificate must be for.
        by_proxy: whether a proxy is asked.
    """

    address: Address
    server_name: str
    by_proxy: bool = False

    def __str__(self) -> str:
        if self.by_proxy:
            return f"{self.address} by proxy"
        return (
            str(self.address)
            if self.address.host == self.server_name
            else f"{self.server_name} at {self.address}"
        )


class Road:
    """See the module.

    Args:
        settings: of the agent.

    Raises:
        CommandFailed: a file cannot be used; the text names it.
    """

    def __init__(self, settings: AgentSettings) -> None:
        self._seconds = settings.connect_timeout
        self._proxy = _proxy_of(settings)
        self._no_proxy = NoProxy(settings.no_proxy)
        self._loop = asyncio.get_running_loop()

    async def endpoints(self, stub: Address) -> tuple[Endpoint, ...]:
        """Return everywhere that `stub` leads to.

        Raises:
            ResolveFailed: its name has no address now.
        """
        if self._proxy is not None and not self._no_proxy.covers(stub):
            return (Endpoint(stub, stub.host, by_proxy=True),)
        found = await resolve(stub.host, stub.port, self._loop.time() + self._seconds)
        return tuple(Endpoint(Address(host, stub.port), stub.host) for host in found)

    async def dial(
        self, endpoint: Endpoint, context: ssl.SSLContext, make: Callable[[], StreamHandler], alpn: str
    ) -> None:
        """Open a connection, whose handler `make` returns once it is there.

        Raises:
            DialFailed: naming the step that failed.
        """
        await dial_tls(
            endpoint.address.host,
            endpoint.address.port,
            context,
            server_hostname=endpoint.server_name,
            handler_factory=make,
            deadline=self._loop.time() + self._seconds,
            require_alpn=alpn,
            via=self._proxy if endpoint.by_proxy else None,
            options=TUNNEL_LEG,
        )


def _proxy_of(settings: AgentSettings) -> Proxy | None:
    url = settings.proxy
    if not isinstance(url, ProxyUrl):
        return None
    ca = PemFile(settings.proxy_ca) if settings.proxy_ca is not None else None
    context = upstream_context(ca=ca) if url.tls else None
    if settings.proxy_credentials is not None:
        return Proxy(url.host, url.port, context, CredentialsFile(settings.proxy_credentials))
    return Proxy(url.host, url.port, context, lambda: url.basic)


class CredentialsFile:
    """`USER:PASSWORD` in a file that somebody replaces from time to time; calling it gives Proxy-Authorization.

    Raises:
        CommandFailed: it cannot be read, or holds something else.
    """

    def __init__(self, path: Path) -> None:
        self._loop = asyncio.get_running_loop()
        self._file = WatchedFiles([path], REREAD_SECONDS)
        self._value: bytes | None = None
        self()
        if self._value is None:
            raise CommandFailed(
                self._file.problem or f"{path}: holds no USER:PASSWORD in printable characters on one line"
            )

    def __call__(self) -> bytes | None:
        contents = self._file.check(self._loop.time())
        if contents is not None:
            text = contents[0].decode(errors="replace").strip()
            username, colon, password = text.partition(":")
            if colon and username and text.isprintable():
                self._file.accept(contents)
                self._value = basic(username, password)
        return self._value
