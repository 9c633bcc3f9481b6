"""What the kernel makes of a silent connection between agent and stub."""

import ctypes
import socket
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tunnel.aio.sockets import TUNNEL_LEG

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the options are Linux's")

SO_ATTACH_FILTER, SO_DETACH_FILTER = 26, 27
KEEP_NOTHING = struct.pack("HBBI", 0x06, 0, 0, 0)  # BPF: return 0 bytes of the packet


@contextmanager
def deaf(sock: socket.socket) -> Iterator[None]:
    """Let nothing that is sent to `sock` arrive."""
    program = ctypes.create_string_buffer(KEEP_NOTHING)
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", 1, ctypes.addressof(program)))
    try:
        yield
    finally:
        sock.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)


def unanswered_probes(sock: socket.socket) -> int:
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)[3]


def wait_for_probes(sock: socket.socket, count: int) -> None:
    """The kernel tells nobody of its probes, so it has to be asked."""
    end = time.monotonic() + 20
    while unanswered_probes(sock) != count:
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
def test_a_silent_connection_of_the_tunnel_survives_two_lost_probes() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as near:
        TUNNEL_LEG.apply(near)
        near.connect(listener.getsockname())
        far, _ = listener.accept()
        with far:
            with deaf(near):
                wait_for_probes(near, 2)
            wait_for_probes(near, 0)
            far.send(b"alive")
            assert near.recv(5) == b"alive"


@pytest.mark.slow
def test_a_silent_connection_of_the_tunnel_whose_path_is_dead_ends_within_15_seconds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as near:
        TUNNEL_LEG.apply(near)
        near.connect(listener.getsockname())
        near.settimeout(15)
        far, _ = listener.accept()
        with far, deaf(near), pytest.raises(TimeoutError, match="Connection timed out"):
            near.recv(1)
