"""A port that several processes will listen on, held by the one that starts them."""

import socket
from typing import Final

from tunnel.kit.failures import CommandFailed
from tunnel.kit.values import Address

_STREAM: Final = socket.SOCK_STREAM


class Reservation:
    """Sockets that are bound and do not listen: they get no connections, and keep the port while no worker has it.

    Args:
        flag: which one gave the address.
        address: what is to be listened on; port 0 picks a free one.

    Attributes:
        address: the same, with the real port.
        sockets: for each local address.

    Raises:
        CommandFailed: the address cannot be listened on.
    """

    def __init__(self, flag: str, address: Address) -> None:
        self.sockets: list[socket.socket] = []
        port = address.port
        try:
            for family, name in _resolve(address):
                # Two stubs on one port would take turns with connections: sharing is for the workers of one.
                _bind(family, (name, port), shared=False).close()
                self.sockets.append(_bind(family, (name, port), shared=True))
                port = self.sockets[-1].getsockname()[1]
        except OSError as error:
            self.close()
            raise CommandFailed(f"{flag} {address}: {error.strerror or error}") from None
        self.address = Address(address.host, port)

    def close(self) -> None:
        """Give the port up."""
        for bound in self.sockets:
            bound.close()


def _resolve(address: Address) -> list[tuple[socket.AddressFamily, str]]:
    found = socket.getaddrinfo(address.host or None, address.port, type=_STREAM, flags=socket.AI_PASSIVE)
    usable = [each for each in found if each[0] != socket.AF_INET6 or _has_ipv6()]
    return list(dict.fromkeys((family, str(sockaddr[0])) for family, _, _, _, sockaddr in usable))


def _has_ipv6() -> bool:
    """The resolver names :: on machines whose kernel has no IPv6, too."""
    try:
        socket.socket(socket.AF_INET6, _STREAM).close()
    except OSError:
        return False
    return True


def _bind(family: socket.AddressFamily, name: tuple[str, int], *, shared: bool) -> socket.socket:
    bound = socket.socket(family, _STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(name)
        # It was for what the last process on this port has left in TIME_WAIT; kept, it would let others in while nobody listens.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    except OSError:
        bound.close()
        raise
    return bound
