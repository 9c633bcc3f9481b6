"""Options on real sockets, as the kernel reads them back."""

import socket

import pytest

from tunnel.aio.sockets import (
    PLAIN_LEG,
    TUNNEL_LEG,
    UPSTREAM_LEG,
    UPSTREAM_PATIENT_LEG,
    SocketOptions,
    seconds_since_ack,
)

linux = pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="the options are Linux's")


def read_back(option: str, leg: object) -> int:
    with socket.socket() as sock:
        leg.apply(sock)  # type: ignore[attr-defined]
        return sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, option))


@linux
@pytest.mark.parametrize(
    ("leg", "idle", "interval", "probes"),
    [
        (PLAIN_LEG, 30, 10, 3),
        (TUNNEL_LEG, 5, 2, 4),
        (UPSTREAM_LEG, 10, 5, 4),
        (UPSTREAM_PATIENT_LEG, 10, 5, 4),
    ],
)
def test_all_legs_send_at_once_and_probe_silence(leg: object, idle: int, interval: int, probes: int) -> None:
    options = ("TCP_NODELAY", "TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")
    assert [read_back(option, leg) for option in options] == [1, idle, interval, probes]


@pytest.mark.parametrize("leg", [TUNNEL_LEG, UPSTREAM_LEG])
def test_a_silent_connection_may_lose_three_probes(leg: SocketOptions) -> None:
    # Linux counts none of them where there is a user timeout: it ends a connection once that has passed and one is unanswered.
    assert leg.user_timeout_seconds is not None
    assert leg.keepalive_idle_seconds + 3 * leg.keepalive_interval_seconds < leg.user_timeout_seconds


@linux
def test_the_tunnel_leg_finds_a_dead_path_in_12_seconds_and_keeps_little_in_the_kernel() -> None:
    assert read_back("TCP_USER_TIMEOUT", TUNNEL_LEG) == 12_000
    # TCP_NOTSENT_LOWAT has a name only from Python 3.12 on.
    with socket.socket() as sock:
        TUNNEL_LEG.apply(sock)
        assert sock.getsockopt(socket.IPPROTO_TCP, 25) == 64 * 1024


@linux
def test_the_clients_leg_keeps_the_systems_user_timeout() -> None:
    assert read_back("TCP_USER_TIMEOUT", PLAIN_LEG) == 0


@linux
def test_the_upstreams_leg_finds_a_dead_path_in_30_seconds_but_where_something_may_be_left_unread() -> None:
    with socket.socket() as sock:
        for leg, milliseconds in ((UPSTREAM_LEG, 30_000), (UPSTREAM_PATIENT_LEG, 0), (UPSTREAM_LEG, 30_000)):
            leg.apply(sock)
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == milliseconds


def test_a_socket_that_is_not_tcp_is_left_alone() -> None:
    one, other = socket.socketpair()
    with one, other:
        TUNNEL_LEG.apply(one)
        assert one.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0


@linux
def test_the_kernel_tells_when_the_peer_last_acknowledged_something() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as near,
    ):
        assert 0 <= seconds_since_ack(near) < 5
    one, other = socket.socketpair()
    with one, other:
        assert seconds_since_ack(one) == 0
