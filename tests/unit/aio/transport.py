"""A transport without a socket, and an owner that records, for tests of one stream at a time."""

import asyncio
from typing import Any

from tunnel.aio.basestream import BaseStream


class FakeTransport(asyncio.Transport):
    """Keeps what is written; reads as libuv does: again and again while the buffer was filled, unless it is paused."""

    def __init__(self, stream: BaseStream) -> None:
        super().__init__()
        self.stream = stream
        self.loop = asyncio.get_running_loop()
        self.writes: list[bytes] = []
        self.waiting = 0
        self.high = 0
        self.paused = self.ended = self.closed = False
        self.reads = 0
        self.kernel = b""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("192.0.2.7", 4711), "socket": FakeSocket()}.get(name, default)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = high or 0

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data))

    def write_eof(self) -> None:
        self.ended = True

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False
        self.loop.call_soon(self.arrive, b"")

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self._lose(None)

    def abort(self) -> None:
        self._lose(None)

    def _lose(self, error: Exception | None) -> None:
        if not self.closed:
            self.closed = True
            self.loop.call_soon(self.stream.connection_lost, error)

    def reset(self) -> None:
        """The peer resets the connection."""
        self._lose(ConnectionResetError("reset"))

    def arrive(self, data: bytes) -> None:
        """`data` comes from the network; it is read as far as the stream lets it."""
        self.kernel += data
        while self.kernel and not self.paused and not self.closed:
            window = self.stream.get_buffer(-1)
            size = min(len(window), len(self.kernel))
            window[:size] = self.kernel[:size]
            self.kernel = self.kernel[size:]
            self.reads += 1
            self.stream.buffer_updated(size)
            if size < len(window):
                break

    def take(self) -> bytes:
        """Return what was written and forget it."""
        taken, self.writes = b"".join(self.writes), []
        return taken


class FakeSocket:
    family = -1

    def setsockopt(self, level: int, option: int, value: int, /) -> None:
        raise AssertionError("options are set on TCP sockets only")


class Owner:
    """Records what the stream tells; `inside` shows whether a call came from inside one of the test's own."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.pieces: list[bytes] = []
        self.error: Exception | None = None
        self.stream: Any = None
        self.pause_after: int | None = None

    @property
    def data(self) -> bytes:
        return b"".join(self.pieces)

    def stream_opened(self, stream: Any) -> None:
        self.stream = stream
        self.calls.append("opened")

    def stream_received(self, data: memoryview) -> None:
        self.calls.append("received")
        self.pieces.append(bytes(data))
        if self.pause_after is not None and len(self.data) >= self.pause_after:
            self.pause_after = None
            self.stream.pause_reading()

    def stream_ended(self) -> None:
        self.calls.append("ended")

    def stream_write_paused(self) -> None:
        self.calls.append("write paused")

    def stream_write_resumed(self) -> None:
        self.calls.append("write resumed")

    def stream_closed(self, error: Exception | None) -> None:
        self.calls.append("closed")
        self.error = error


async def turns(count: int = 3) -> None:
    """Let the loop run this many turns."""
    for _ in range(count):
        await asyncio.sleep(0)
