"""Compare this project's TLS streams with the event loops' own TLS, side by side in one run.

    python -m tests.bench.tls_streams                          # bulk and new connections, all stacks
    python -m tests.bench.tls_streams --what bulk --mib 512
    python -m tests.bench.tls_streams --what idle --connections 1000

Server and client are processes of their own and use the same stack. CPU is user and system time of each process, per GB or
per connection. The figures of one machine mean little; the ratios to the first row do.
"""

import argparse
import asyncio
import gc
import json
import multiprocessing
import os
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import uvloop

from tests import pki
from tunnel.aio import handshake
from tunnel.aio.dial import dial_tls
from tunnel.aio.listen import ListenerSettings, listen
from tunnel.core import limits

STACKS = ("uvloop-ssl", "asyncio-ssl", "ours-uvloop", "ours-asyncio")
PIECE = 64 * limits.KIB


@dataclass
class Job:
    """What both processes of one measurement know."""

    stack: str
    directory: str
    mib: int
    connections: int
    parallel: int
    budget: int
    inline: bool

    @property
    def ours(self) -> bool:
        return self.stack.startswith("ours")

    @property
    def total(self) -> int:
        return self.mib * limits.MIB

    def contexts(self) -> tuple[ssl.SSLContext, ssl.SSLContext]:
        root = Path(self.directory)
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(root / "test-ca-1.crt", root / "test-ca-1.key")
        server.options |= ssl.OP_NO_TICKET
        server.num_tickets = 0
        server.verify_mode = ssl.CERT_REQUIRED
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.load_cert_chain(root / "test-ca-2.crt", root / "test-ca-2.key")
        for context in (server, client):
            context.load_verify_locations(root / "test-ca.crt")
        return server, client

    def run(self, coroutine: Any) -> None:
        if self.inline:
            handshake.handshake_threads = Inline  # type: ignore[assignment]
        (uvloop.run if "uvloop" in self.stack else asyncio.run)(coroutine)


class Inline:
    """Stands in for the handshake threads: does the work on the loop."""

    def submit(self, step: Callable[[], None]) -> None:
        step()


class Peer(asyncio.BufferedProtocol):
    """Both ends of every stack: sends `left` bytes as fast as they go, counts what comes."""

    all_got = 0
    piece = bytes(PIECE)
    # One for all, as ours have it: what remains to be compared is what the TLS layers themselves hold.
    buffer = memoryview(bytearray(256 * limits.KIB))

    def __init__(self, left: int = 0, expected: int = 0, *, answers: bool = False) -> None:
        self.left, self.expected, self.got = left, expected, 0
        self.answers = answers
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.heard: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.blocked = False
        self.out: Any = None

    # One of our streams
    def stream_opened(self, stream: Any) -> None:
        self.out = stream
        self.send()

    def stream_received(self, data: memoryview) -> None:
        self.count(len(data))

    def stream_ended(self) -> None:
        self.out.close()

    def stream_write_paused(self) -> None:
        self.blocked = True

    def stream_write_resumed(self) -> None:
        self.blocked = False
        self.send()

    def stream_closed(self, error: Exception | None) -> None:
        self.finish()

    # A transport of the loop
    def connection_made(self, transport: Any) -> None:
        transport.set_write_buffer_limits(high=limits.WRITE_HIGH_BYTES)
        self.stream_opened(transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.count(nbytes)

    def connection_lost(self, exc: Exception | None) -> None:
        self.finish()

    def pause_writing(self) -> None:
        self.blocked = True

    resume_writing = stream_write_resumed

    def send(self) -> None:
        while self.left and not self.blocked:
            self.left -= PIECE
            self.out.write(self.piece)
            if not self.left:
                return
            if isinstance(self.out, asyncio.BaseTransport) or not hasattr(self.out, "tls"):
                continue
            # Our streams tell of a full transport in a later turn, so a bulk sender of ours sends a piece per turn.
            if not self.blocked:
                asyncio.get_running_loop().call_soon(self.send)
            return

    def count(self, size: int) -> None:
        self.got += size
        Peer.all_got += size
        if not self.heard.done():
            self.heard.set_result(None)
        if size == 1 and self.answers:
            self.out.write(b"!")
        if self.expected and self.got >= self.expected:
            self.out.write(b"!")
            self.expected = 0

    def finish(self) -> None:
        if not self.done.done():
            self.done.set_result(None)


async def serve(job: Job, pipe: Connection) -> None:
    loop = asyncio.get_running_loop()
    context = job.contexts()[0]

    def make() -> Peer:
        return Peer(expected=job.total, answers=True)

    if job.ours:
        settings = ListenerSettings(read_budget=job.budget)
        listener = await listen(
            "127.0.0.1", 0, context, lambda stream: make(), on_handshake_failed=print, settings=settings
        )
        port = listener.addresses[0][1]
    else:
        server = await loop.create_server(make, "127.0.0.1", 0, ssl=context, backlog=1024)
        port = server.sockets[0].getsockname()[1]
    pipe.send(port)
    start = time.process_time()
    while (word := await loop.run_in_executor(None, pipe.recv)) != "end":
        if word == "mark":
            gc.collect()
            start = time.process_time()
        if word == "count":
            pipe.send((Peer.all_got, 0.0))
            Peer.all_got = 0
        else:
            pipe.send((time.process_time() - start, resident_kib()))
    os._exit(0)


async def connect(job: Job, port: int, context: ssl.SSLContext, left: int = 0, expected: int = 0) -> Peer:
    peer = Peer(left, expected)
    if job.ours:
        await dial_tls("localhost", port, context, handler_factory=lambda: peer, read_budget=job.budget)
    else:
        loop = asyncio.get_running_loop()
        await loop.create_connection(
            lambda: peer, "127.0.0.1", port, ssl=context, server_hostname="localhost"
        )
    return peer


async def bulk(job: Job, port: int, pipe: Connection) -> dict[str, float]:
    context = job.contexts()[1]
    ask(pipe, "mark")
    started, cpu = time.perf_counter(), time.process_time()
    peer = await connect(job, port, context, left=job.total)
    while not peer.got:
        await asyncio.sleep(0.005)
    wall, mine = time.perf_counter() - started, time.process_time() - cpu
    theirs, _ = ask(pipe, "cpu")
    peer.out.abort()
    await peer.done
    gigabytes = job.total / 1e9
    return {
        "MB/s": job.total / 1e6 / wall,
        "send s/GB": mine / gigabytes,
        "receive s/GB": theirs / gigabytes,
    }


async def dialling(job: Job, port: int, pipe: Connection) -> dict[str, float]:
    context = job.contexts()[1]
    left = iter(range(job.connections))

    async def dialler() -> None:
        for _ in left:
            peer = await connect(job, port, context)
            # A TLS 1.3 client is ready before the server has judged its certificate; the answer shows that it has.
            peer.out.write(b"?")
            await peer.heard
            peer.out.abort()
            await peer.done

    ask(pipe, "mark")
    started, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(dialler() for _ in range(job.parallel)))
    wall, mine = time.perf_counter() - started, time.process_time() - cpu
    theirs, _ = ask(pipe, "cpu")
    return {
        "connections/s": job.connections / wall,
        "client ms each": mine * 1000 / job.connections,
        "server ms each": theirs * 1000 / job.connections,
    }


async def idle(job: Job, port: int, pipe: Connection) -> dict[str, float]:
    context = job.contexts()[1]
    warm = [await connect(job, port, context) for _ in range(50)]
    await asyncio.sleep(0.2)
    _, before = ask(pipe, "mark")
    peers = [await connect(job, port, context) for _ in range(job.connections)]
    await asyncio.sleep(0.5)
    _, after = ask(pipe, "mark")
    for peer in peers:
        peer.out.write(bytes(300 * limits.KIB))
    await asyncio.sleep(1)
    _, used = ask(pipe, "mark")
    for peer in warm + peers:
        peer.out.abort()
        await peer.done
    return {
        "server KiB each": (after - before) / job.connections,
        "after 300 KiB received": (used - before) / job.connections,
    }


async def beside(job: Job, port: int, pipe: Connection) -> dict[str, float]:
    """Round trips of a small message on one connection while four others send to the same process all they can."""
    context = job.contexts()[1]
    bulks = [await connect(job, port, context, left=2**62) for _ in range(4)]
    started = time.perf_counter()
    ask(pipe, "count")
    trips = await asyncio.get_running_loop().run_in_executor(None, round_trips, job, port)
    got, _ = ask(pipe, "count")
    wall = time.perf_counter() - started
    for peer in bulks:
        peer.out.abort()
        await peer.done
    trips.sort()
    return {
        "MB/s": got / 1e6 / wall,
        "median ms": trips[len(trips) // 2] * 1000,
        "p99 ms": trips[len(trips) * 99 // 100] * 1000,
    }


def round_trips(job: Job, port: int) -> list[float]:
    """In a process of its own, so that only the receiving side's turns are measured."""
    receiver, sender = multiprocessing.get_context("spawn").Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(target=ping, args=(job, port, sender))
    process.start()
    trips: list[float] = receiver.recv()
    process.join()
    return trips


def ping(job: Job, port: int, result: Connection) -> None:
    trips = []
    with (
        socket.create_connection(("127.0.0.1", port)) as raw,
        job.contexts()[1].wrap_socket(raw, server_hostname="localhost") as tls,
    ):
        tls.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(300):
            time.sleep(0.003)
            started = time.perf_counter()
            tls.sendall(b"?")
            assert tls.recv(1) == b"!"
            trips.append(time.perf_counter() - started)
    result.send(trips)


def ask(pipe: Connection, word: str) -> tuple[float, float]:
    pipe.send(word)
    answer: tuple[float, float] = pipe.recv()
    return answer


def resident_kib() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return float(line.split()[1])
    return 0.0


MEASURES = {"bulk": bulk, "connections": dialling, "idle": idle, "beside": beside}


def server_process(job: Job, pipe: Connection) -> None:
    job.run(serve(job, pipe))


def client_process(job: Job, what: str, port: int, server: Connection, result: Connection) -> None:
    async def main() -> None:
        result.send(await MEASURES[what](job, port, server))

    job.run(main())


def measure(job: Job, what: str) -> dict[str, float]:
    """Run one measurement in two fresh processes."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    server = spawn.Process(target=server_process, args=(job, theirs))
    server.start()
    result_in, result_out = spawn.Pipe(duplex=False)
    client = spawn.Process(target=client_process, args=(job, what, ours.recv(), ours, result_out))
    client.start()
    result_out.close()
    figures: dict[str, float] = result_in.recv()
    client.join()
    ours.send("end")
    server.join()
    return figures


def show(what: str, rows: dict[str, dict[str, float]]) -> None:
    names = list(next(iter(rows.values())))
    first = next(iter(rows.values()))
    print(f"\n{what:<14}" + "".join(f"{name:>26}" for name in names))
    for stack, figures in rows.items():
        cells = (f"{figures[name]:>17.3f} ({figures[name] / (first[name] or 1):4.2f}x)" for name in names)
        print(f"{stack:<14}" + "".join(f"{cell:>26}" for cell in cells))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--what", choices=[*MEASURES, "all"], action="append", help="default: bulk and connections"
    )
    parser.add_argument("--stack", choices=STACKS, action="append", help="repeatable; default: all")
    parser.add_argument("--mib", type=int, default=512, help="size of the bulk transfer")
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--parallel", type=int, default=16, help="connections dialled at a time")
    parser.add_argument(
        "--budget", type=int, default=limits.READ_BUDGET_BYTES, help="our read budget, in bytes"
    )
    parser.add_argument("--inline", action="store_true", help="do our handshakes on the loop, not on threads")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each; the fastest counts")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    chosen = options.what or ["bulk", "connections"]
    with tempfile.TemporaryDirectory() as directory:
        authority = pki.Authority(Path(directory))
        authority.server()
        authority.client("bench")
        for what in MEASURES if "all" in chosen else chosen:
            rows = {}
            for stack in options.stack or STACKS:
                job = Job(
                    stack,
                    directory,
                    options.mib,
                    options.connections,
                    options.parallel,
                    options.budget,
                    options.inline,
                )
                runs = [
                    measure(job, what) for _ in range(1 if what in ("idle", "beside") else options.repeat)
                ]
                rows[stack] = max(runs, key=lambda figures: next(iter(figures.values())))
            print(json.dumps({what: rows})) if options.json else show(what, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
