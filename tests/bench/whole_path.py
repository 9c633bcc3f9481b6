"""The whole path over real connections: this process is the users, the rest are real stub, agent and upstream processes.

    python -m tests.bench.whole_path [--seconds N]

The users are Python too and take most of the machine, so requests a second say little; what a request, a byte and an idle watch
cost the stub and the agent is read from the kernel's accounts of their processes.
"""

import argparse
import asyncio
import os
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
GET = b"GET /api/v1/namespaces/default/pods?limit=500 HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\nUser-Agent: kubectl/v1.33.1\r\nKubectl-Command: kubectl get\r\n\r\n"


class Side:
    """A process under measurement."""

    def __init__(self, name: str, process: "subprocess.Popen[str]") -> None:
        self.name = name
        self.process = process

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def resident_bytes(self) -> int:
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * PAGE


@contextmanager
def running(*command: object) -> "Iterator[subprocess.Popen[str]]":
    """Run a child until the block ends."""
    process = subprocess.Popen(
        [str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def tunnel(*words: object) -> list[object]:
    return [sys.executable, "-m", "tunnel", *words]


class Tunnel:
    """Stub, agent and upstream, and a context for users."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        for words in (
            ["init"],
            ["server", "--host", "localhost"],
            ["agent", "bench"],
            ["user", "alice", "-g", "devs"],
        ):
            subprocess.run(
                [*map(str, tunnel("certs", *words, "--dir", folder))], check=True, capture_output=True
            )
        upstream = stack.enter_context(
            running(
                sys.executable, "-m", "tests.bench.upstream", folder / "server.crt", folder / "server.key"
            )
        )
        assert upstream.stdout is not None
        upstream_port = int(upstream.stdout.readline())
        self.port = _free_port()
        token = folder / "token"
        token.write_text("x" * 900)
        self.stub = Side(
            "stub",
            stack.enter_context(
                running(
                    *tunnel(
                        "stub",
                        "--listen",
                        f"127.0.0.1:{self.port}",
                        "--admin-listen",
                        "off",
                        "--ca-dir",
                        folder,
                        "--default-cluster",
                        "bench",
                        "--audit",
                        folder / "audit.log",
                    )
                )
            ),
        )
        self.agent = Side(
            "agent",
            stack.enter_context(
                running(
                    *tunnel(
                        "agent",
                        "--stub",
                        f"localhost:{self.port}",
                        "--cert",
                        folder / "agent-bench.crt",
                        "--key",
                        folder / "agent-bench.key",
                        "--ca",
                        folder / "server-ca.crt",
                        "--upstream",
                        f"https://localhost:{upstream_port}",
                        "--upstream-ca",
                        folder / "server-ca.crt",
                        "--token-file",
                        token,
                    )
                )
            ),
        )
        self.context = ssl.create_default_context(cafile=str(folder / "server-ca.crt"))
        self.context.load_cert_chain(folder / "user-alice.crt", folder / "user-alice.key")

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=self.context, server_hostname="localhost", limit=2**22
        )

    async def ready(self) -> None:
        """Return once a request is answered."""
        deadline = time.monotonic() + 30
        while True:
            try:
                reader, writer = await self.connect()
                if await get(reader, writer) == 200:
                    writer.close()
                    return
            except OSError:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(0.1)


async def get(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    """Ask for the list once and return the status."""
    writer.write(GET)
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
    return int(head[9:12])


async def get_for(path: Tunnel, seconds: float, users: int) -> str:
    """Keep `users` connections busy."""
    times: list[float] = []
    end = time.perf_counter() + seconds

    async def user() -> None:
        reader, writer = await path.connect()
        while (started := time.perf_counter()) < end:
            assert await get(reader, writer) == 200
            times.append(time.perf_counter() - started)
        writer.close()

    before = [side.cpu_seconds() for side in (path.stub, path.agent)]
    await asyncio.gather(*(user() for _ in range(users)))
    spent = [side.cpu_seconds() - b for side, b in zip((path.stub, path.agent), before, strict=True)]
    times.sort()
    per_request = "  ".join(
        f"{side.name} {1e6 * cpu / len(times):5.0f} µs"
        for side, cpu in zip((path.stub, path.agent), spent, strict=True)
    )
    return (
        f"{users:3} users   {len(times) / seconds:7.0f} requests/s   p50 {1e3 * times[len(times) // 2]:6.2f} ms   "
        f"p99 {1e3 * times[int(len(times) * 0.99)]:6.2f} ms   CPU a request: {per_request}"
    )


async def download(path: Tunnel, size: int) -> str:
    """Fetch `size` bytes once."""
    reader, writer = await path.connect()
    before = [side.cpu_seconds() for side in (path.stub, path.agent)]
    started = time.perf_counter()
    writer.write(GET.replace(b"/api/v1/namespaces/default/pods?limit=500", b"/bulk?%d" % size))
    await reader.readuntil(b"\r\n\r\n")
    left = size
    while left:
        left -= len(await reader.read(2**20))
    seconds = time.perf_counter() - started
    writer.close()
    spent = [side.cpu_seconds() - b for side, b in zip((path.stub, path.agent), before, strict=True)]
    return f"download    {size / seconds / 1e6:7.0f} MB/s   CPU a GB: stub {spent[0] / size * 1e9:5.2f} s  agent {spent[1] / size * 1e9:5.2f} s"


async def idle(path: Tunnel, watches: int) -> str:
    """Hold silent watches."""
    before = [side.resident_bytes() for side in (path.stub, path.agent)]
    held = []
    for _ in range(watches):
        reader, writer = await path.connect()
        writer.write(GET.replace(b"/api/v1/namespaces/default/pods?limit=500", b"/watch"))
        await reader.readuntil(b"BOOKMARK")
        held.append(writer)
    grown = [side.resident_bytes() - b for side, b in zip((path.stub, path.agent), before, strict=True)]
    for writer in held:
        writer.close()
    return f"{watches:4} watches   memory each: stub {grown[0] / watches / 1024:5.0f} KiB  agent {grown[1] / watches / 1024:5.0f} KiB"


def _free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


async def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--mib", type=int, default=512)
    parser.add_argument("--watches", type=int, default=500)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        path = Tunnel(stack, Path(folder))
        await path.ready()
        rest = [side.resident_bytes() / 2**20 for side in (path.stub, path.agent)]
        print(f"at rest     stub {rest[0]:.0f} MiB  agent {rest[1]:.0f} MiB")
        for users in (1, 16, 64):
            print(await get_for(path, options.seconds, users), flush=True)
        print(await download(path, options.mib * 2**20), flush=True)
        print(await idle(path, options.watches), flush=True)


if __name__ == "__main__":
    import uvloop

    uvloop.run(main())
