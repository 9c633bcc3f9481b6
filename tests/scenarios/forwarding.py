"""port-forward: one connection, twenty at once, large downloads, and ends that come from the other side."""

import concurrent.futures
import contextlib
import socket
import time
import urllib.request
from collections.abc import Iterator

from tests.scenarios.catalogue import scenario
from tests.scenarios.kubectl import Kubectl, Same
from tests.scenarios.servers import Server, closing_server, file_server

_SPDY = {"KUBECTL_PORT_FORWARD_WEBSOCKETS": "false"}
_WEBSOCKET = {"KUBECTL_PORT_FORWARD_WEBSOCKETS": "true"}


@contextlib.contextmanager
def forwarded(kubectl: Kubectl, pod: str, port: int, settings: dict[str, str] | None = None) -> Iterator[int]:
    """A local port that leads to the pod's."""
    with kubectl.start("port-forward", f"pod/{pod}", f":{port}", settings=settings) as forward:
        said = forward.wait_for_text("Forwarding from 127.0.0.1:")
        try:
            yield int(said.text.split()[2].rpartition(":")[2])
        except OSError as error:
            raise AssertionError(f"{error}\n{forward.described()}") from error


def start_server(kubectl: Kubectl, name: str, server: Server) -> str:
    """A pod that runs the server, which listens."""
    pod = kubectl.start_pod(name, *server.command)
    wait_until_it_listens(kubectl, pod, server.port)
    return pod


def wait_until_it_listens(kubectl: Kubectl, pod: str, port: int) -> None:
    """port-forward to a port on which nothing listens yet ends for good; so look into the pod before."""
    listening = f"grep -qi ':{port:04x} 0*:0000 0A' /proc/net/tcp /proc/net/tcp6"
    wait = f"until {listening}; do sleep 0.05; done"
    kubectl.run("exec", pod, "--", "timeout", "20", "sh", "-c", wait, same=Same.NOWHERE)


def fetch(port: int, path: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=60) as answer:
        return bytes(answer.read())


@scenario(cases=(13,), every_version=True)
def port_forward_serves_parallel_connections(kubectl: Kubectl) -> None:
    """Twenty connections at once get what the pod serves."""
    server = file_server(kubectl, 2_000_000)
    pod = start_server(kubectl, "web", server)
    with forwarded(kubectl, pod, server.port) as port, concurrent.futures.ThreadPoolExecutor(20) as clients:
        assert fetch(port, "hello") == b"hello\n"
        assert list(clients.map(lambda _: fetch(port, "hello"), range(20))) == [b"hello\n"] * 20
        assert fetch(port, "large") == bytes(2_000_000)
    kubectl.run("delete", "pod", pod)


@scenario(cases=(13,), slow=True, seconds=240)
def port_forward_carries_100_mb_beside_others(kubectl: Kubectl) -> None:
    """While 100 MB are downloaded, twenty other connections are answered."""
    server = file_server(kubectl, 100_000_000)
    pod = start_server(kubectl, "web", server)
    with forwarded(kubectl, pod, server.port) as port, concurrent.futures.ThreadPoolExecutor(21) as clients:
        begun = time.monotonic()
        large = clients.submit(_timed, port, "large", bytes(100_000_000))
        small = [clients.submit(_timed, port, "hello", b"hello\n") for _ in range(20)]
        ended = sorted(each.result(60) for each in small)
        large_ended = large.result(200)
    kubectl.measured["port-forward of 100 MB, MB/s"] = 100 / (large_ended - begun)
    kubectl.measured["port-forward, longest of 20 beside it, ms"] = (ended[-1] - begun) * 1000
    assert ended[0] < large_ended, "others were answered only after the download"
    kubectl.run("delete", "pod", pod)


def _timed(port: int, path: str, expected: bytes) -> float:
    """Fetch it and return when it was there."""
    assert fetch(port, path) == expected
    return time.monotonic()


@scenario(cases=(14,))
def port_forward_brings_everything_before_the_end(kubectl: Kubectl) -> None:
    """A server that sends all it has and ends its side: every byte comes, then the end."""
    size = 500_000
    server = closing_server(kubectl, size)
    pod = start_server(kubectl, "closing", server)
    with forwarded(kubectl, pod, server.port) as port:
        for _ in range(2):
            wait_until_it_listens(kubectl, pod, server.port)
            assert _read_to_end(port) == bytes(size)
    kubectl.run("delete", "pod", pod)


def _read_to_end(port: int) -> bytes:
    read = b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        while chunk := connection.recv(65536):
            read += chunk
    return read


@scenario(since=30)
def port_forward_works_over_either_protocol(kubectl: Kubectl) -> None:
    """port-forward serves the same over SPDY and over WebSocket, whichever is asked for."""
    server = file_server(kubectl, 1_000_000)
    pod = start_server(kubectl, "web", server)
    for settings in (_SPDY, _WEBSOCKET):
        with forwarded(kubectl, pod, server.port, settings) as port:
            assert fetch(port, "large") == bytes(1_000_000)
    kubectl.run("delete", "pod", pod)


@scenario()
def port_forward_to_a_closed_port_says_so(kubectl: Kubectl) -> None:
    """A connection to a port on which nothing listens ends, and port-forward says why."""
    with kubectl.start("port-forward", "pod/shell", ":1") as forward:
        port = int(forward.wait_for_text("Forwarding from").text.split()[2].rpartition(":")[2])
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as connection,
            contextlib.suppress(ConnectionError),
        ):
            assert connection.recv(1) == b""
        forward.wait_for_text("refused")
    missing = kubectl.run("port-forward", kubectl.named("none"), ":80", code=1)
    assert "NotFound" in missing.stderr


@scenario()
def services_are_reached_through_the_api(kubectl: Kubectl) -> None:
    """The proxy subresource of a pod brings a page of a server in the pod."""
    server = file_server(kubectl, 1_000_000)
    pod = start_server(kubectl, "web", server)
    target = f"/api/v1/namespaces/{kubectl.access.namespace}/pods/{pod}:{server.port}/proxy/hello"
    page = kubectl.run("get", "--raw", target, same=Same.NOWHERE)
    assert page.stdout == "hello\n"
    kubectl.run("delete", "pod", pod)
