"""Which port the stub gets, known before it starts."""

import socket
from typing import Final

from tunnel.kit.failures import CommandFailed
from tunnel.kit.values import Address

_ANY: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 compared, never bound


def free_address(wanted: Address) -> Address:
    """Return `wanted`, with a free port in place of port 0.

    Another process may still take the port before the stub does; then the stub says so.

    Raises:
        CommandFailed: the port is taken, or the host is none of this machine's.
    """
    family = socket.AF_INET6 if ":" in wanted.host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((wanted.host, wanted.port))
            port: int = probe.getsockname()[1]
    except OSError as error:
        raise CommandFailed(
            f"--listen {wanted}: {error.strerror}; give another, such as --listen 127.0.0.1:0 for any free port"
        ) from error
    return Address(wanted.host, port)


def reachable(listening: Address) -> Address:
    """Return how this machine itself reaches a listener: one on all addresses by loopback."""
    return Address(_ANY.get(listening.host, listening.host), listening.port)
