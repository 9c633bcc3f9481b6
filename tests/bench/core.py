"""The core alone: how many frames and bytes a second its state machines take, and what a request allocates.

    python -m tests.bench.core [--seconds N]

No sockets, no TLS, no loop: one process plays both ends, so a figure is the cost of both.
"""

import argparse
import asyncio
import gc
import sys
import time
import tracemalloc
from collections.abc import Callable
from typing import Final

from agent.recent import MOST
from tests.bench.request_path import ANSWER_FIELDS, BODY, captured_request, prepared
from tests.unit.core.session.pair import greeted
from tunnel.core import limits
from tunnel.core.channel.agent_side import AgentChannel, data_header
from tunnel.core.channel.stub_side import StubChannel
from tunnel.core.http.message import ResponseHead
from tunnel.core.identifiers import RequestId
from tunnel.core.session.events import BodyReceived
from tunnel.core.wire.control import AgentHello, StubHello
from tunnel.core.wire.exchange import BODY_UNKNOWN, Head

Work = Callable[[], int]
"""Does something once and returns how much it was."""

SEVERAL: Final = 16
"""Requests that leave in one write, as under load."""

WARM: Final = 3 * MOST
"""Requests before what one allocates is looked at: the first fill caches, of which the answers that an agent's channel remembers are the
largest: by and by twice `MOST`, forgotten by `MOST`, so that as many leave nothing behind. Numbers below 257 take no memory."""


def lane() -> Work:
    """Return work that carries requests from a stub's session to an agent's."""
    pair = greeted()
    request = captured_request()
    numbers = iter(range(1, 2**40))

    def once() -> int:
        for _ in range(SEVERAL):
            request.id = RequestId(next(numbers))
            pair.stub.send_request(request)
        heard = pair.agent.receive(bytes(pair.stub.output()), 0.0)
        pair.stub.receive(bytes(pair.agent.output()), 0.0)
        return len(heard)

    return once


def responses() -> Work:
    """Return work that carries a small response on a channel: three frames."""
    far, near = _channel()
    numbers = iter(range(1, 2**40))
    tail = data_header(len(BODY)) + BODY

    def once() -> int:
        head = Head(RequestId(next(numbers)), ResponseHead(200, ANSWER_FIELDS), len(BODY))
        near.receive(memoryview(b"".join((far.send_head(head), tail, far.send_end()))))
        return 1

    return once


def download() -> Work:
    """Return work that carries a body on a channel, in frames of the largest size."""
    far, near = _channel()
    near.receive(
        memoryview(far.send_head(Head(RequestId(1), ResponseHead(200, ANSWER_FIELDS), BODY_UNKNOWN)))
    )
    frame = memoryview(data_header(limits.DATA_BYTES) + bytes(limits.DATA_BYTES))

    def once() -> int:
        near.receive(frame)
        return limits.DATA_BYTES

    return once


def upload() -> Work:
    """Return work that carries a body on a stream of the session, whose credit comes back."""
    pair = greeted()
    request = captured_request()
    request.body_stream, request.body_length = True, BODY_UNKNOWN
    pair.stub.send_request(request)
    pair.settle()
    block = bytes(limits.DATA_BYTES)

    def once() -> int:
        pair.stub.send_body(request.id, block)
        for event in pair.agent.receive(bytes(pair.stub.output()), 0.0):
            if isinstance(event, BodyReceived):
                pair.agent.body_consumed(event.id, len(event.data))
        pair.stub.receive(bytes(pair.agent.output()), 0.0)
        return len(block)

    return once


def _channel() -> tuple[AgentChannel, StubChannel]:
    far, near = AgentChannel(), StubChannel()
    far.receive(StubHello("i").encode())
    near.receive(memoryview(far.send_hello(AgentHello(token="t"))))
    return far, near


RATES: Final[dict[str, tuple[Callable[[], Work], float]]] = {
    "REQUEST frames through both sessions, thousands a second": (lane, 1e3),
    "responses of 2 kB through both ends of a channel, thousands a second": (responses, 1e3),
    "bodies down through a channel, MB/s": (download, 1e6),
    "bodies up through both sessions, MB/s": (upload, 1e6),
}
"""By title: the work, and the unit."""


def rate(work: Work, seconds: float) -> float:
    """Return how much `work` does in a second of CPU time."""
    work()
    done, began = 0, time.process_time()
    while (spent := time.process_time() - began) < seconds:
        done += work()
    return done / spent


# Memory ----------------------------------------------------------------------------------------


async def allocated(once: Callable[[], None], requests: int = MOST) -> tuple[float, float]:
    """Return what a request takes of Python's memory: KiB at its peak, and blocks that stay behind it."""
    await _repeat(once, WARM)
    blocks = sys.getallocatedblocks()
    await _repeat(once, requests)
    kept = (sys.getallocatedblocks() - blocks) / requests
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        once()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return (peak - before) / 1024, kept


async def _repeat(once: Callable[[], None], times: int) -> None:
    for _ in range(times):
        once()
    await asyncio.sleep(0)  # what asked to be called soon holds memory until then
    gc.collect()


async def memory() -> dict[str, float]:
    """Return by title what a request allocates on each side."""
    found = {}
    for side in ("stub", "agent"):
        async with prepared(side) as once:
            peak, kept = await allocated(once)
        found[f"memory of a GET at its peak, {side}, KiB"] = peak
        found[f"blocks of memory that a GET leaves behind, {side}"] = kept
    return found


def measure(seconds: float, rounds: int = 3) -> dict[str, float]:
    """Return every figure by title; of the rates the best of the rounds, since noise only slows down."""
    found = {
        title: max(rate(make(), seconds) / unit for _ in range(rounds))
        for title, (make, unit) in RATES.items()
    }
    return found | asyncio.run(memory())


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=0.5, help="of CPU time for each of three rounds")
    options = parser.parse_args()
    for title, value in measure(options.seconds).items():
        print(f"{value:10.2f}  {title}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
