"""Socket options of the kinds of legs."""

import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Protocol

from tunnel.core.limits import KIB

_NAMELESS: Final = {"TCP_NOTSENT_LOWAT": 25} if sys.platform == "linux" else {}
"""Options of Linux for which Python has a name only in later versions (3.12)."""


_LAST_ACK: Final = struct.Struct("=56xI")
"""Of Linux's `tcp_info`: how many milliseconds ago the peer's kernel last acknowledged anything."""


class Tunable(Protocol):
    """A socket, or the stand-in that a transport shows for its own."""

    @property
    def family(self) -> int: ...

    def setsockopt(self, level: int, option: int, value: int, /) -> None: ...
    def getsockopt(self, level: int, option: int, length: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class SocketOptions:
    """What is set on a TCP socket.

    Attributes:
        nodelay: send small writes at once: each turn of the loop already gathers its writes, so Nagle would only add delay.
        keepalive_idle_seconds: silence before the first keepalive probe. NATs and load balancers drop silent flows, the
            common ones after 60 to 350 s.
        keepalive_interval_seconds: between two probes.
        keepalive_probes: unanswered probes until the connection is lost.
        user_timeout_seconds: sent bytes may stay unacknowledged this long before the connection is lost; None leaves the
            system's own (about 15 minutes), 0 goes back to that. Linux takes a peer that reads nothing for a dead one after that time,
            although it answers every probe of its closed window.
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


def seconds_since_ack(sock: Tunable) -> float:
    """Return how long ago the peer's kernel last acknowledged anything, a probe included; 0 where the system does not say."""
    if sys.platform != "linux" or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return 0.0
    (milliseconds,) = _LAST_ACK.unpack(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_ACK.size))
    return float(milliseconds) / 1000


PLAIN_LEG: Final = SocketOptions()
"""Between a client and the stub."""

UPSTREAM_LEG: Final = SocketOptions(
    keepalive_idle_seconds=10, keepalive_interval_seconds=5, keepalive_probes=4, user_timeout_seconds=30.0
)
"""Between the agent and its upstream, for requests that fit into the upstream's buffers: one that is put on a kept-alive connection whose path
has died in silence must not wait for a quarter of an hour. Three probes may be lost (see `TUNNEL_LEG`)."""

UPSTREAM_PATIENT_LEG: Final = SocketOptions(
    keepalive_idle_seconds=10, keepalive_interval_seconds=5, keepalive_probes=4, user_timeout_seconds=0.0
)
"""The same while a body or a pipe goes up, which a pod may rightly leave unread for as long as it likes."""

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

TUNNEL_PATIENT_LEG: Final = replace(TUNNEL_LEG, user_timeout_seconds=0.0)
"""The same for a response or a pipe that its client may rightly leave unread, once the path is known to lead to the peer: with a user timeout Linux
would end it although the peer answers every probe of its closed window. A silent path that dies is still found by four unanswered probes."""
