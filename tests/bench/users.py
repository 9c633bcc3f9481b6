"""The users of a benchmark: they ask a stub as kubectl does and say how long it took."""

import asyncio
import itertools
import ssl
import time
from collections.abc import Mapping
from typing import Any, Final

LIST: Final = "/api/v1/namespaces/default/pods?limit=500"
STREAMS: Final = {
    "watch": "/watch",
    "follow": "/follow",
    "stopped": "/follow?bytes=65536",
    "bulk": "/bulk?mb=1000000",
    "stalled": "/bulk?mb=1000000",
}
FIELDS: Final = (
    "Host: localhost\r\nAccept: application/json;as=Table;v=v1;g=meta.k8s.io,application/json\r\n"
    "User-Agent: kubectl/v1.33.1 (linux/amd64) kubernetes/8adc0f0\r\nKubectl-Command: kubectl get\r\n"
    "Kubectl-Session: 2f6b8d5e-2f5c-4b59-9a4b-2b1b1f3e6c11\r\n"
)
CONNECTING: Final = 32
"""Connections that are opened at once for streams."""

ASK_SECONDS: Final = 60.0


class NotServed(ConnectionError):
    """A request was not answered as it should be."""


def get(path: str) -> bytes:
    """Return a request's head."""
    return f"GET {path} HTTP/1.1\r\n{FIELDS}\r\n".encode()


class User(asyncio.Protocol):
    """A connection of a user, for one request at a time.

    Attributes:
        received: bytes of bodies so far.
    """

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.received = 0
        self._head = b""
        self._left: int | None = None
        self._status = 0
        self._answered: asyncio.Future[int] | None = None
        self._begun: asyncio.Future[int] | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def connection_lost(self, error: Exception | None) -> None:
        for waiting in (self._answered, self._begun):
            if waiting is not None and not waiting.done():
                waiting.set_exception(NotServed(f"the connection ended: {error}"))

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        if not self._status:
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            self._read_head(head)
        self.received += len(data)
        if data and self._begun is not None and not self._begun.done():
            self._begun.set_result(self._status)
        if self._left is not None:
            self._left -= len(data)
            if self._left <= 0:
                self._complete()

    def _read_head(self, head: bytes) -> None:
        self._status = int(head[9:12])
        _, found, rest = head.lower().partition(b"\r\ncontent-length:")
        self._left = int(rest.partition(b"\r\n")[0]) if found else None

    def _complete(self) -> None:
        status, self._status, self._head, self._left = self._status, 0, b"", None
        if self._answered is not None and not self._answered.done():
            self._answered.set_result(status)

    # What a user does ------------------------------------------------------------------------------

    async def ask(self, request: bytes) -> int:
        """Send a request and return the status once the whole answer is there. Raises NotServed."""
        self._answered = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return await self._answered

    async def begin(self, request: bytes) -> int:
        """Send a request whose answer does not end, and return the status with its first byte. Raises NotServed."""
        self._begun = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        async with asyncio.timeout(ASK_SECONDS):
            return await self._begun

    @property
    def writable(self) -> bool:
        """Whether what was written so far is taken."""
        return self._writable.is_set()

    def begin_upload(self, size: int) -> "asyncio.Future[int]":
        """Send the head of an upload; return what will hold the status of the answer."""
        self._answered = asyncio.get_running_loop().create_future()
        self.transport.write(f"PUT /sink HTTP/1.1\r\n{FIELDS}Content-Length: {size}\r\n\r\n".encode())
        return self._answered

    async def put(self, size: int, block: bytes) -> int:
        """Upload `size` bytes as fast as they are taken, and return the status. Raises NotServed."""
        answered = self.begin_upload(size)
        await self.write_all(size, block)
        return await answered

    async def write_all(self, size: int, block: bytes) -> None:
        """Write `size` bytes of a body as fast as they are taken."""
        while size > 0:
            self.transport.write(block[:size])
            size -= len(block)
            await self._writable.wait()


def percentile(ordered: list[float], part: float) -> float:
    """Return the value below which `part` of them are; 0 where there are none."""
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0


class Users:
    """What users can be told to do.

    Args:
        port: of the stub.
        context: with a user's certificate.
        clusters: how many to ask in turns, `c0` and so on; with 0 the default one alone.
    """

    def __init__(self, port: int, context: ssl.SSLContext, clusters: int = 0) -> None:
        self._port = port
        self._context = context
        self._prefixes = itertools.cycle([f"/clusters/c{n}" for n in range(clusters)] or [""])
        self._held: list[User] = []
        self._held_since = 0.0

    def path(self, path: str) -> bytes:
        """Return the head of a request to the next cluster in turn."""
        return get(next(self._prefixes) + path)

    async def connect(self) -> User:
        """Open a connection. Raises OSError."""
        loop = asyncio.get_running_loop()
        _, user = await loop.create_connection(
            User, "127.0.0.1", self._port, ssl=self._context, server_hostname="localhost"
        )
        return user

    async def get(self, clients: int, seconds: float, fresh: bool = False) -> Mapping[str, object]:
        """Keep `clients` busy for a while; with `fresh` each request has a connection of its own."""
        times: list[float] = []
        failures: list[str] = []
        started = time.perf_counter()
        async with asyncio.timeout(seconds + ASK_SECONDS), asyncio.TaskGroup() as tasks:
            for _ in range(clients):
                tasks.create_task(self._keep_asking(started + seconds, fresh, times, failures))
        took = time.perf_counter() - started
        times.sort()
        return {
            "requests": len(times),
            "failures": len(failures),
            "first_failure": failures[0] if failures else "",
            "per_second": len(times) / took,
            "p50_ms": percentile(times, 0.5),
            "p99_ms": percentile(times, 0.99),
            "max_ms": percentile(times, 1.0),
        }

    async def _keep_asking(self, end: float, fresh: bool, times: list[float], failures: list[str]) -> None:
        user: User | None = None
        while (began := time.perf_counter()) < end:
            try:
                user = user or await self.connect()
                if (status := await user.ask(self.path(LIST))) != 200:
                    raise NotServed(f"status {status}")
                times.append((time.perf_counter() - began) * 1e3)
            except OSError as error:
                failures.append(str(error))
                user = None
                await asyncio.sleep(0.01)
            if fresh and user is not None:
                user.transport.close()
                user = None
        if user is not None:
            user.transport.close()

    async def ask(self, count: int) -> Mapping[str, object]:
        """Ask so often, some at a time."""
        left = count

        async def one() -> None:
            nonlocal left
            user = await self.connect()
            while left > 0:
                left -= 1
                if (status := await user.ask(self.path(LIST))) != 200:
                    raise ValueError(f"status {status}")
            user.transport.close()

        await asyncio.gather(*(one() for _ in range(min(count, CONNECTING))))
        return {"requests": count}

    async def down(self, mib: int) -> Mapping[str, object]:
        """Download once."""
        user = await self.connect()
        return await self._moved(user, mib, user.ask(self.path(f"/bulk?mb={mib}")))

    async def up(self, mib: int) -> Mapping[str, object]:
        """Upload once."""
        user = await self.connect()
        return await self._moved(user, mib, user.put(mib << 20, bytes(262144)))

    async def _moved(self, user: User, mib: int, transfer: Any) -> Mapping[str, object]:
        started = time.perf_counter()
        if (status := await transfer) != 200:
            raise ValueError(f"status {status}")
        seconds = time.perf_counter() - started
        user.transport.close()
        return {"bytes": mib << 20, "seconds": seconds, "mb_per_second": (mib << 20) / 1e6 / seconds}

    async def burst(self, count: int) -> Mapping[str, object]:
        """Let `count` connected users ask at once."""
        users = await self._connect_all(count)
        await asyncio.sleep(1.0)  # idling is part of what is measured
        started = time.perf_counter()
        times: list[float] = []

        async def one(user: User) -> None:
            if (status := await user.ask(self.path(LIST))) != 200:
                raise ValueError(f"status {status}")
            times.append((time.perf_counter() - started) * 1e3)

        await asyncio.gather(*map(one, users))
        for user in users:
            user.transport.close()
        times.sort()
        return {"p50_ms": percentile(times, 0.5), "p99_ms": percentile(times, 0.99), "max_ms": times[-1]}

    async def _connect_all(self, count: int) -> list[User]:
        limit = asyncio.Semaphore(CONNECTING)

        async def one() -> User:
            async with limit:
                return await self.connect()

        return list(await asyncio.gather(*(one() for _ in range(count))))

    # Streams that stay -----------------------------------------------------------------------------

    async def hold(self, kind: str, count: int) -> Mapping[str, object]:
        """Open streams that stay open until `release`; one that is stalled or stopped is not read behind its first bytes."""
        started = time.perf_counter()
        limit = asyncio.Semaphore(CONNECTING)

        async def one() -> User:
            async with limit:
                user = await self.connect()
                if (status := await user.begin(self.path(STREAMS[kind]))) != 200:
                    raise ValueError(f"status {status}")
                if kind in ("stalled", "stopped"):
                    user.transport.pause_reading()
                return user

        self._held += await asyncio.gather(*(one() for _ in range(count)))
        self._held_since = time.perf_counter()
        self._received = sum(user.received for user in self._held)
        return {"opened": count, "seconds": self._held_since - started}

    async def release(self) -> Mapping[str, object]:
        """Close them and say what came meanwhile."""
        moved = sum(user.received for user in self._held) - self._received
        seconds = time.perf_counter() - self._held_since
        for user in self._held:
            user.transport.abort()
        self._held.clear()
        return {"bytes": moved, "mb_per_second": moved / 1e6 / seconds}
