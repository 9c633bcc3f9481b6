"""Whoever stops reading or sending holds up only itself, and costs a bounded amount of memory."""

import asyncio
import os
from functools import partial
from pathlib import Path

from tests.integration.client import request
from tests.integration.tls_end import TlsEnd
from tests.integration.tunnel_fixture import Tunnel
from tests.integration.upstream import Incoming, Upstream, answering
from tests.integration.waiting import until
from tunnel.core import limits

MIB = 1024 * 1024


async def test_64_stalled_uploads_leave_the_others_alone(tunnel: Tunnel, upstream: Upstream) -> None:
    """Each waits for its own upstream; a GET on the same session is answered."""
    upstream.script = only_gets
    uploads = [await tunnel.dial(kernel_buffer=32 * 1024) for _ in range(64)]
    sending = [asyncio.get_running_loop().create_task(upload(end)) for end in uploads]
    await until(lambda: len(upstream.requests) == 64)
    client = await tunnel.connect()
    for _ in range(50):
        assert (await client.ask("GET /api")).body == b"ok"
    assert not any(task.done() for task in sending)
    for end in uploads:
        await end.abort()
    await asyncio.gather(*sending, return_exceptions=True)
    for incoming in upstream.requests[:64]:
        await incoming.connection.end.abort()
    await tunnel.quiet()


async def upload(end: TlsEnd) -> None:
    """Sends more than all buffers on the way hold."""
    end.write(request("POST /api", f"Content-Length: {64 * MIB}"))
    piece = bytes(256 * 1024)
    for _ in range(256):
        await end.send(piece)


async def only_gets(incoming: Incoming) -> None:
    """Reads no body: whoever uploads waits."""
    if incoming.method == b"GET":
        incoming.whole_answer(200, b"ok")
    else:
        await asyncio.Event().wait()


async def test_10_stalled_downloads_leave_the_others_alone(tunnel: Tunnel, upstream: Upstream) -> None:
    """Case 56: readers that stop cost a bounded amount of memory and hold nobody else up."""
    flood = upstream.script = Flood()
    before = resident_bytes()
    readers = [await tunnel.connect(kernel_buffer=64 * 1024) for _ in range(10)]
    for reader in readers:
        reader.send(request("GET /flood"))
        await reader.head()
    client = await tunnel.connect()
    await until(lambda: flood.stalled == 10)
    for _ in range(50):
        assert (await client.ask("GET /api")).body == b"ok"
    # Of 10 GB. Most of this is the test's own two ends, whose buffers hold 64 to 256 KiB per reader.
    assert resident_bytes() - before < 32 * MIB
    front = [connection.stream.waiting_bytes for connection in tunnel.stub.office.connections]
    assert max(front) < MIB


class Flood:
    """Announces 1 GB to whoever asks for it and sends as long as it is taken; counts those who stopped."""

    def __init__(self) -> None:
        self.stalled = 0

    async def __call__(self, incoming: Incoming) -> None:
        if incoming.target != b"/flood":
            return incoming.whole_answer(200, b"ok")
        incoming.head(200, f"Content-Length: {1024 * MIB}")
        piece = bytes(64 * 1024)
        try:
            while True:
                async with asyncio.timeout(1):
                    await incoming.connection.end.send(piece)
        except TimeoutError:
            self.stalled += 1
        await asyncio.Event().wait()


def resident_bytes() -> int:
    """What this process holds of memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def waits_or_has_come(tunnel: Tunnel, upstream: Upstream, sent: int) -> bool:
    """Whether answers wait in the stub, or all requests were carried out."""
    return waiting(tunnel) > 64 * 1024 or len(upstream.requests) == sent


async def test_pipelined_requests_of_a_client_that_reads_nothing_are_held_back(
    tunnel: Tunnel, upstream: Upstream
) -> None:
    """Their answers would pile up in the stub: what one connection may leave untaken is bounded."""
    upstream.script = answering(200, b"x" * 64_000)
    client = await tunnel.connect(kernel_buffer=16 * 1024)
    sent = 0
    while waiting(tunnel) <= 64 * 1024:
        client.send(request("GET /api") * limits.PIPELINED_REQUESTS)
        sent += limits.PIPELINED_REQUESTS
        await until(partial(waits_or_has_come, tunnel, upstream, sent))
    other = await tunnel.connect()
    for _ in range(100):
        await other.ask("GET /other")
    assert waiting(tunnel) < MIB
    for _ in range(sent):
        assert len((await client.answer()).body) == 64_000


def waiting(tunnel: Tunnel) -> int:
    """What waits at the stub for its clients."""
    return sum(connection.stream.waiting_bytes for connection in tunnel.stub.office.connections)
