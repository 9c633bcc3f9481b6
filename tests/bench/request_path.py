"""What one small GET costs the stub and the agent in Python alone: no sockets, no TLS, no kernel.

    python -m tests.bench.request_path [--requests N]

Prints microseconds per request of each side's callbacks, the best of several rounds. The rest of a request's cost is system
calls and OpenSSL, which only a run over real connections shows (docs/benchmarks.md).
"""

import argparse
import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

from agent.ceiling import Ceiling
from agent.channel import Channel
from agent.channels import ChannelPool
from agent.facts.vitals import Vitals
from agent.inspection import Inspection
from agent.session import AgentLink as AgentSide
from agent.session import Fence
from agent.upstream.connection import UpstreamConnection
from agent.upstream.credential import StaticToken
from agent.upstream.known import KnownAnswers
from certs.peer import PeerCertificate
from stub.agents.channel import ResponseChannel
from stub.agents.link import AgentLink
from stub.agents.registry import Registry
from stub.front.admission import Admission, AdmissionRules
from stub.front.connection import FrontConnection
from stub.front.office import FrontOffice
from stub.measures import StubMeasures
from tunnel.aio.stream import TlsFacts
from tunnel.core.channel.agent_side import AgentChannel, data_header
from tunnel.core.http.message import ResponseHead
from tunnel.core.identifiers import ClusterId, RequestId
from tunnel.core.session.agent_side import AgentSession
from tunnel.core.session.stub_side import StubSession
from tunnel.core.wire.control import AgentHello, StubHello
from tunnel.core.wire.exchange import Head

GET = (
    b"GET /api/v1/namespaces/default/pods?limit=500 HTTP/1.1\r\nHost: stub.example.com\r\n"
    b"User-Agent: kubectl/v1.33.1 (linux/amd64) kubernetes/8adc0f0\r\n"
    b"Accept: application/json;as=Table;v=v1;g=meta.k8s.io,application/json\r\n"
    b"Kubectl-Command: kubectl get\r\nKubectl-Session: 2f6b8d5e-2f5c-4b59-9a4b-2b1b1f3e6c11\r\n\r\n"
)
BODY = b"x" * 2000
ANSWER_FIELDS = [
    (b"Audit-Id", b"4d9a7e4f-9b0f-4b7b-8a1e-8f53d0a0a3c1"),
    (b"Cache-Control", b"no-cache, private"),
    (b"Content-Type", b"application/json"),
    (b"X-Kubernetes-Pf-Flowschema-Uid", b"4d9a7e4f-9b0f-4b7b-8a1e-8f53d0a0a3c1"),
    (b"Date", b"Sat, 21 Nov 2026 09:28:08 GMT"),
]


class SilentStream:
    """A connection that keeps what was last written and does nothing with it."""

    def __init__(self, alpn: str) -> None:
        self.tls = TlsFacts("TLSv1.3", alpn, "stub.example.com", b"certificate")
        self.peer = "192.0.2.1"
        self.written: list[bytes] = []
        self.closing = False
        self.waiting_bytes = 0

    def write(self, data: bytes | memoryview) -> None:
        self.written.append(bytes(data))

    write_now = write

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


def stub_side(loop: asyncio.AbstractEventLoop) -> Callable[[], None]:
    """Return a function that takes one request through the stub."""
    registry = Registry()
    peer = PeerCertificate(("alice",), ("devs",), (), 0, 2e10, 1, "", "f", "user-ca", for_clients=True)
    peers = cast("Any", SimpleNamespace(read=lambda der: peer))
    admission = Admission(AdmissionRules(default_cluster=ClusterId("blue")), peers)
    office = FrontOffice(admission, registry, (StubMeasures(registry),))
    link = AgentLink(registry, ClusterId("blue"), "f", StubHello("i"), "192.0.2.2")
    session, channel_stream, client = (SilentStream("x") for _ in range(3))
    link.runner.stream_opened(cast("Any", session))
    far = AgentSession(0.0)
    far.receive(b"".join(session.written), 0.0)
    far.send_hello(AgentHello("a"))
    link.runner.stream_received(memoryview(far.output()))
    channel = ResponseChannel(registry, StubHello("i"), "f")
    channel.stream_opened(cast("Any", channel_stream))
    far_channel = AgentChannel()
    far_channel.receive(StubHello("i").encode())
    channel.stream_received(memoryview(far_channel.send_hello(AgentHello(token=link.token))))
    front = FrontConnection(office, None)
    front.stream_opened(cast("Any", client))
    numbers = iter(range(1, 2**40))
    tail = data_header(len(BODY)) + BODY

    def once() -> None:
        client.written.clear()
        front.stream_received(memoryview(GET))
        link.runner.flush()
        session.written.clear()
        head = Head(RequestId(next(numbers)), ResponseHead(200, ANSWER_FIELDS), len(BODY))
        answer = b"".join((far_channel.send_head(head), tail, far_channel.send_end()))
        channel.stream_received(memoryview(answer))
        assert client.written

    return once


def agent_side(loop: asyncio.AbstractEventLoop, tasks: asyncio.TaskGroup) -> Callable[[], None]:
    """Return a function that takes one request through the agent."""
    credential = StaticToken("x" * 900)
    inspection = Inspection(Ceiling(impersonate=True), credential, b"10.0.0.1:6443")
    upstream_stream, channel_stream, session = (SilentStream("x") for _ in range(3))
    pool = _OneConnection(cast("Any", upstream_stream))
    settings = cast("Any", SimpleNamespace(channels_limit=100, name="a"))

    def make_channels(stub: StubHello) -> ChannelPool:
        async def dial(channel: Channel) -> None:
            channel.stream_opened(cast("Any", channel_stream))
            channel.stream_received(memoryview(stub.encode()))

        return ChannelPool(stub, dial, tasks, floor=1, limit=1)

    link = AgentSide(
        settings=settings,
        upstream=cast("Any", pool),
        vitals=Vitals(),
        inspection=inspection,
        credential=credential,
        fence=Fence(),
        upstream_url=b"https://10.0.0.1:6443",
        make_channels=make_channels,
        tasks=tasks,
        address="s",
    )
    link.runner.stream_opened(cast("Any", session))
    near = StubSession(StubHello("i", token="t"), 0.0)
    link.runner.stream_received(memoryview(near.output()))
    link.runner.flush()
    near.receive(b"".join(session.written), 0.0)
    request = captured_request()
    numbers = iter(range(1, 2**40))
    answer = (
        b"HTTP/1.1 200 OK\r\n"
        + b"".join(b"%b: %b\r\n" % field for field in ANSWER_FIELDS)
        + b"Content-Length: 2000\r\n\r\n"
        + BODY
    )

    def once() -> None:
        request.id = RequestId(next(numbers))
        near.send_request(request)
        link.runner.stream_received(memoryview(near.output()))
        pool.connection.stream_received(memoryview(answer))
        assert channel_stream.written
        channel_stream.written.clear()
        upstream_stream.written.clear()
        session.written.clear()

    return once


class _OneConnection:
    """An upstream pool with one connection that is always there."""

    reachable = True
    dial_milliseconds = 0

    def __init__(self, stream: Any) -> None:
        self.connection = UpstreamConnection(cast("Any", self), KnownAnswers())
        self.connection.stream_opened(stream)

    def borrow(self, borrower: Any, *, fresh: bool = False) -> None:
        borrower.connected(self.connection)

    def connection_free(self, connection: UpstreamConnection) -> None: ...
    def connection_gone(self, connection: UpstreamConnection) -> None: ...


def captured_request() -> Any:
    """Return a request as it travels on a lane."""
    from tunnel.core.http.message import RequestHead
    from tunnel.core.wire.exchange import Request
    from tunnel.core.wire.pairs import encode_pairs

    lines = [line.split(b": ", 1) for line in GET.split(b"\r\n")[2:] if line]
    head = RequestHead(b"GET", b"/api/v1/namespaces/default/pods?limit=500", [(n, v) for n, v in lines])
    caller = encode_pairs(pairs=[(b"user", b"alice"), (b"group", b"devs"), (b"address", b"192.0.2.1")])
    return Request(RequestId(1), 0, bytes(16), head, caller)


def timed(once: Callable[[], None], requests: int) -> float:
    """Return the microseconds of CPU time per call."""
    started = time.process_time()
    for _ in range(requests):
        once()
    return (time.process_time() - started) / requests * 1e6


@asynccontextmanager
async def prepared(side: str) -> AsyncIterator[Callable[[], None]]:
    """Give the function that takes one request through `stub` or `agent`, while the block runs."""
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as tasks:
        once = stub_side(loop) if side == "stub" else agent_side(loop, tasks)
        for _ in range(5):
            await asyncio.sleep(0)  # the agent dials its channel
        yield once


async def measure(requests: int, rounds: int) -> dict[str, float]:
    """Return the microseconds of each side, the best of the rounds, in turns so that the machine's noise hits both."""
    best = {"stub": float("inf"), "agent": float("inf")}
    for _ in range(rounds):
        # A fresh pair each round: nobody returns the lane's credit here, which lasts for 16 MiB of requests.
        for side in best:
            async with prepared(side) as once:
                best[side] = min(best[side], timed(once, requests))
    return best


def run(requests: int, rounds: int) -> dict[str, float]:
    """Measure on a loop of its own; see `measure`."""
    return asyncio.run(measure(requests, rounds))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    for side, microseconds in run(options.requests, options.rounds).items():
        print(f"{side:<6} {microseconds:6.1f} µs a request")


if __name__ == "__main__":
    main()
