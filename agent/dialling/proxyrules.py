"""Which proxy leads to the stubs, and which hosts need none; as Go's programs read HTTPS_PROXY and NO_PROXY."""

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

from tunnel.kit.failures import UsageError
from tunnel.kit.values import Address, Form

HIDDEN: Final = "<hidden>"
"""What is shown in place of a password."""

LOCAL: Final = ("localhost", "127.0.0.0/8", "::1")
"""Never asked of the environment's proxy, which is not this machine."""

_PORTS: Final = {"http": 80, "https": 443}
_HINT: Final = "give one such as http://proxy.example.com:3128, or off"

_IpAddress = IPv4Address | IPv6Address
_IpNetwork = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class ProxyUrl:
    """An HTTP proxy as a URL names it.

    Attributes:
        tls: whether it is spoken to over TLS (`https://`).
        username, password: for Basic authentication, where the URL holds them.
    """

    host: str
    port: int
    tls: bool = False
    username: str = ""
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        user = f"{self.username}:{HIDDEN}@" if self.username else ""
        return f"{'https' if self.tls else 'http'}://{user}{Address(self.host, self.port)}"

    @property
    def basic(self) -> bytes | None:
        """The value of Proxy-Authorization, where the URL holds a user."""
        return basic(self.username, self.password) if self.username else None


ProxyChoice = ProxyUrl | Literal["off"] | None
"""A proxy, none whatever the environment says, or what the environment says."""


def basic(username: str, password: str) -> bytes:
    """Return credentials as RFC 7617 sends them."""
    return b"Basic " + base64.b64encode(f"{username}:{password}".encode())


def _read_proxy(text: str) -> ProxyChoice:
    if text == "off":
        return "off"
    # No text of ours may repeat the URL, which may hold a password.
    try:
        url = urlsplit(text if "://" in text else f"http://{text}")
        port = url.port
        host = url.hostname or ""
    except ValueError:
        raise ValueError(f"not the URL of a proxy: {_HINT}") from None
    if url.scheme not in _PORTS:
        raise ValueError(f"a {url.scheme} proxy is not supported: {_HINT}")
    if not host or port == 0 or not host.isascii() or not host.isprintable() or " " in host:
        raise ValueError(f"not the URL of a proxy: {_HINT}")
    username, password = unquote(url.username or ""), unquote(url.password or "")
    return ProxyUrl(host, port or _PORTS[url.scheme], url.scheme == "https", username, password)


proxy_form: Final[Form[ProxyChoice]] = Form(_read_proxy, metavar="URL|off")
"""A proxy's URL; written back without its password."""


# Hosts without ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Exception:
    """One entry of NO_PROXY.

    Attributes:
        network: of IP addresses; None for names.
        suffix: with its leading dot; what ends in it matches.
        itself: whether the name without the dot matches too.
        port: the only one; None for all.
    """

    network: _IpNetwork | None = None
    suffix: str = ""
    itself: bool = False
    port: int | None = None

    def matches(self, host: str, address: _IpAddress | None, port: int) -> bool:
        if self.port not in (None, port):
            return False
        if self.network is not None:
            return address is not None and address in self.network
        return host.endswith(self.suffix) or (self.itself and host == self.suffix[1:])


class NoProxy:
    """The hosts that are dialled directly.

    Args:
        entries: `*`, a name (and all below it), `.name` (only those below), an IP address, a CIDR; a port may follow names
            and addresses.

    Raises:
        ValueError: an entry is none of these.
    """

    def __init__(self, entries: Iterable[str]) -> None:
        wanted = [entry.strip().lower() for entry in entries]
        self._all = "*" in wanted
        self._entries = [_read_entry(entry) for entry in wanted if entry not in ("", "*")]

    def covers(self, address: Address) -> bool:
        """Whether `address` is dialled directly. A name is not resolved for this: CIDRs are for hosts given by address."""
        host = address.host.lower()
        ip = _address(host)
        return self._all or any(entry.matches(host, ip, address.port) for entry in self._entries)


def _read_entry(entry: str) -> _Exception:
    if "/" in entry:
        return _Exception(network=ip_network(entry, strict=False))
    host, port = _split_port(entry)
    address = _address(host.strip("[]"))
    if address is not None:
        return _Exception(network=ip_network(address), port=port)
    name = host.removeprefix("*")
    if not name.strip(".") or not name.isprintable() or set(name) & set(" *[]"):
        raise ValueError(f"{entry!r} is neither a host, a domain, an IP address nor a CIDR")
    below = name.startswith(".")
    return _Exception(suffix=name if below else f".{name}", itself=not below, port=port)


def _split_port(entry: str) -> tuple[str, int | None]:
    host, colon, port = entry.rpartition(":")
    if not colon or (":" in host and not host.endswith("]")):
        return entry, None
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(f"{entry!r} has no port from 1 to 65535 behind its colon")
    return host, int(port)


def _address(host: str) -> _IpAddress | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _read_no_proxy(text: str) -> str:
    NoProxy([text])
    return text.strip()


no_proxy_form: Final = Form(_read_no_proxy, metavar="HOST")
"""One entry for `NoProxy`."""


# The environment -------------------------------------------------------------------------------


def proxy_from(environ: Mapping[str, str]) -> ProxyUrl | None:
    """Return the proxy that the environment names for https, or None.

    Raises:
        UsageError: it names one that cannot be used.
    """
    for variable in ("HTTPS_PROXY", "https_proxy"):
        if text := environ.get(variable, "").strip():
            try:
                found = _read_proxy(text)
            except ValueError as error:
                raise UsageError(f"{variable}: {error}; --proxy overrides it") from None
            return found if isinstance(found, ProxyUrl) else None
    return None


def no_proxy_from(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the hosts that the environment excepts. What Go would overlook in the list is left out here too."""
    text = environ.get("NO_PROXY") or environ.get("no_proxy") or ""
    return tuple(entry for entry in map(str.strip, text.split(",")) if entry and _is_entry(entry))


def _is_entry(entry: str) -> bool:
    try:
        NoProxy([entry])
    except ValueError:
        return False
    return True
