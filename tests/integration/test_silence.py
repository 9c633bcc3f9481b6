"""What the kernel makes of a connection whose other end is silent."""

import asyncio
import ctypes
import socket
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from tests.integration.client import request
from tests.integration.tunnel_fixture import Tunnel
from tests.integration.upstream import Incoming, Upstream
from tunnel.aio.sockets import TUNNEL_LEG, UPSTREAM_LEG, UPSTREAM_PATIENT_LEG, SocketOptions

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


@contextmanager
def connected(
    leg: SocketOptions, seconds: float | None = None
) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Make a connection with the options of a leg, on which nothing may take longer than `seconds`; return that end, and the other."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as near:
        leg.apply(near)
        near.connect(listener.getsockname())
        near.settimeout(seconds)
        far, _ = listener.accept()
        with far:
            yield near, far


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
    with connected(TUNNEL_LEG) as (near, far):
        with deaf(near):
            wait_for_probes(near, 2)
        wait_for_probes(near, 0)
        far.send(b"alive")
        assert near.recv(5) == b"alive"


@pytest.mark.slow
def test_a_silent_connection_of_the_tunnel_whose_path_is_dead_ends_within_15_seconds() -> None:
    timed_out = pytest.raises(TimeoutError, match="Connection timed out")
    with connected(TUNNEL_LEG, 15) as (near, _), deaf(near), timed_out:
        near.recv(1)


@pytest.mark.slow
def test_a_request_on_a_dead_path_to_the_upstream_is_given_up_within_40_seconds() -> None:
    with connected(UPSTREAM_LEG, 40) as (near, far), deaf(near), deaf(far):
        near.send(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises(TimeoutError, match="Connection timed out"):
            near.recv(1)


def survives_a_closed_window(leg: SocketOptions, seconds: float) -> bool:
    """Whether a connection outlives a peer that reads nothing for so long."""
    with connected(leg, seconds) as (near, _):
        try:
            while True:
                near.send(bytes(65536))
        except OSError as error:
            return error.errno is None  # it is we who waited no longer


@pytest.mark.slow
def test_an_upload_outlives_an_upstream_that_reads_nothing_as_a_small_request_would_not() -> None:
    assert survives_a_closed_window(UPSTREAM_PATIENT_LEG, 40)
    assert not survives_a_closed_window(replace(UPSTREAM_LEG, user_timeout_seconds=3.0), 10)


BODY_BYTES = 32 * 1024 * 1024


async def large(incoming: Incoming) -> None:
    incoming.head(200, f"Content-Length: {BODY_BYTES}")
    await incoming.connection.end.send(bytes(BODY_BYTES))


@pytest.mark.slow
async def test_a_client_that_reads_nothing_for_a_while_loses_nothing_of_its_download(
    tunnel: Tunnel, upstream: Upstream
) -> None:
    upstream.script = large
    client = await tunnel.connect(kernel_buffer=64 * 1024)
    client.send(request("GET /api"))
    await asyncio.sleep(20)  # longer than a dead path lives
    answer = await client.answer()
    assert len(answer.body) == BODY_BYTES
