"""Socket options of the two kinds of legs."""

import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from tunnel.core.limits import KIB

_NAMELESS: Final = {"TCP_NOTSENT_LOWAT": 25} if sys.platform == "linux" else {}
"""Options of Linux for which Python has a name only in later versions (3.12)."""


class Tunable(Protocol):
    """A socket, or the stand-in that a transport shows for its own."""

    @property
    def family(self) -> int: ...

    def setsockopt(self, level: int, option: int, value: int, /) -> None: ...


@dataclass(frozen=True, slots=True)
class SocketOptions:
    """What is set on a TCP socket.

    Attributes:
        nodelay: send small writes at once: each turn of the loop already gathers its writes, so Nagle would only add delay.
        keepalive_idle_seconds: silence before the first keepalive probe. NATs and load balancers drop silent flows, the
            common ones after 60 to 350 s.
        keepalive_interval_seconds: between two probes.
        keepalive_probes: unanswered probes until the connection is lost.
        user_timeout_seconds: sent bytes may stay unacknowledged this long before the connection is lost; None is the
            system's own (about 15 minutes).
        notsent_lowat_bytes: how much the kernel takes in ahead of what it has sent; None takes all that the send buffer
            holds. Little ahead lets an urgent frame overtake bulk that is still in our hands.
    """

    nodelay: bool = True
    keepalive_idle_seconds: int = 30
    keepalive_interval_seconds: int = 10
    keepalive_probes: int = 3
    user_timeout_seconds: float | None = None
    notsent_lowat_bytes: int | None = None

    def apply(self, sock: Tunable) -> None:
        """Set the options on a TCP socket; other sockets are left alone, and so is what the system does not know."""
        if sock.family not in (socket.AF_INET, socket.AF_INET6):
            return
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in self._tcp_options():
            option = getattr(socket, name, _NAMELESS.get(name))
            if option is not None:
                sock.setsockopt(socket.IPPROTO_TCP, option, value)

    def _tcp_options(self) -> Iterator[tuple[str, int]]:
        yield "TCP_NODELAY", int(self.nodelay)
        yield "TCP_KEEPIDLE", self.keepalive_idle_seconds
        yield "TCP_KEEPINTVL", self.keepalive_interval_seconds
        yield "TCP_KEEPCNT", self.keepalive_probes
        if self.user_timeout_seconds is not None:
            yield "TCP_USER_TIMEOUT", int(self.user_timeout_seconds * 1000)
        if self.notsent_lowat_bytes is not None:
            yield "TCP_NOTSENT_LOWAT", self.notsent_lowat_bytes


PLAIN_LEG: Final = SocketOptions()
"""Between a client and the stub, and between the agent and its upstream."""

TUNNEL_LEG: Final = SocketOptions(
    keepalive_idle_seconds=5,
    keepalive_interval_seconds=2,
    keepalive_probes=4,
    user_timeout_seconds=12.0,
    notsent_lowat_bytes=64 * KIB,
)
"""Between agent and stub: a pooled channel whose path died must be found dead before a request finds it.

Where there is a user timeout, Linux ends a silent connection as soon as one probe is unanswered and nothing came for that time, however many probes
may be lost. So several must fit into it: of 9 900 silent watches whose only probe was due after 30 s, 1 200 broke within a minute, because the kernel
had dropped it (more than 1 000 packets in one tick, `net.core.netdev_max_backlog`)."""
