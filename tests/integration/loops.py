"""What tests of byte streams over real sockets share: owners that record, and a server on a free port."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from tunnel.aio.basestream import BaseStream
from tunnel.aio.listen import Listener, ListenerSettings, listen


class Recorder:
    """An owner that keeps what it is told, and lets a test wait for it."""

    stream: Any

    def __init__(self) -> None:
        self.data = bytearray()
        self.calls: list[str] = []
        self.error: Exception | None = None
        self.opened = asyncio.Event()
        self.ended = asyncio.Event()
        self.closed = asyncio.Event()
        self._arrived = asyncio.Event()

    def stream_opened(self, stream: Any) -> None:
        self.stream = stream
        self.calls.append("opened")
        self.opened.set()

    def stream_received(self, data: memoryview) -> None:
        self.data += data
        self._arrived.set()

    def stream_ended(self) -> None:
        self.calls.append("ended")
        self.ended.set()

    def stream_write_paused(self) -> None:
        self.calls.append("write paused")

    def stream_write_resumed(self) -> None:
        self.calls.append("write resumed")

    def stream_closed(self, error: Exception | None) -> None:
        self.calls.append("closed")
        self.error = error
        self.closed.set()
        self._arrived.set()

    async def received(self, size: int) -> bytes:
        """Wait until `size` bytes have come, or the connection is gone."""
        while len(self.data) < size and not self.closed.is_set():
            self._arrived.clear()
            await self._arrived.wait()
        return bytes(self.data)


class Echo(Recorder):
    """Sends back what it gets, as fast as the peer takes it, and ends when the peer ends."""

    def stream_received(self, data: memoryview) -> None:
        super().stream_received(data)
        self.stream.write(data)

    def stream_ended(self) -> None:
        super().stream_ended()
        self.stream.write_end()

    def stream_write_paused(self) -> None:
        self.stream.pause_reading()

    def stream_write_resumed(self) -> None:
        self.stream.resume_reading()


class Server:
    """A listener whose connections go to owners of one class."""

    listener: Listener

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self.owners: list[Any] = []
        self.failures: list[tuple[str, str]] = []
        self.happened = asyncio.Condition()
        self._changed = asyncio.Event()

    @property
    def port(self) -> int:
        return self.listener.addresses[0][1]

    def choose(self, stream: BaseStream) -> Any:
        self.owners.append(self._make())
        self._changed.set()
        return self.owners[-1]

    def failed(self, peer: str, reason: str) -> None:
        self.failures.append((peer, reason))
        self._changed.set()

    async def owner(self) -> Any:
        """Wait for the first connection's owner to be opened."""
        await self._until(lambda: bool(self.owners))
        await self.owners[0].opened.wait()
        return self.owners[0]

    async def failure(self) -> str:
        """Wait for the first handshake that failed; return the reason."""
        await self._until(lambda: bool(self.failures))
        return self.failures[0][1]

    async def _until(self, true: Callable[[], bool]) -> None:
        while not true():
            self._changed.clear()
            await self._changed.wait()


@asynccontextmanager
async def serving(
    context: ssl.SSLContext | None,
    make: Callable[[], Any] = Recorder,
    settings: ListenerSettings | None = None,
) -> AsyncIterator[Server]:
    """Listen on a free port of the loopback while the block runs; in the end, abort and await what is still open."""
    server = Server(make)
    server.listener = await listen(
        "127.0.0.1", 0, context, server.choose, on_handshake_failed=server.failed, settings=settings
    )
    try:
        yield server
    finally:
        server.listener.close()
        server.listener.abort_pending()
        for owner in server.owners:
            owner.stream.abort()
            await owner.closed.wait()
