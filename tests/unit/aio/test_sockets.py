"""Options on real sockets, as the kernel reads them back."""

import socket

import pytest

from tunnel.aio.sockets import PLAIN_LEG, TUNNEL_LEG

linux = pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="the options are Linux's")


def read_back(option: str, leg: object) -> int:
    with socket.socket() as sock:
        leg.apply(sock)  # type: ignore[attr-defined]
        return sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, option))


@linux
@pytest.mark.parametrize("leg", [PLAIN_LEG, TUNNEL_LEG])
@pytest.mark.parametrize(
    ("option", "value"), [("TCP_NODELAY", 1), ("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)]
)
def test_both_legs_send_at_once_and_probe_silence(leg: object, option: str, value: int) -> None:
    assert read_back(option, leg) == value


@linux
def test_the_tunnel_leg_finds_a_dead_path_in_12_seconds_and_keeps_little_in_the_kernel() -> None:
    assert read_back("TCP_USER_TIMEOUT", TUNNEL_LEG) == 12_000
    # TCP_NOTSENT_LOWAT has a name only from Python 3.12 on.
    with socket.socket() as sock:
        TUNNEL_LEG.apply(sock)
        assert sock.getsockopt(socket.IPPROTO_TCP, 25) == 64 * 1024


@linux
def test_the_other_leg_keeps_the_systems_user_timeout() -> None:
    assert read_back("TCP_USER_TIMEOUT", PLAIN_LEG) == 0


def test_a_socket_that_is_not_tcp_is_left_alone() -> None:
    one, other = socket.socketpair()
    with one, other:
        TUNNEL_LEG.apply(one)
        assert one.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0
