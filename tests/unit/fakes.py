"""A connection and a clock that do only what a test tells them."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil

from tunnel.aio.sockets import SocketOptions
from tunnel.aio.stream import Buffer, StreamHandler, TlsFacts

USER_TLS = TlsFacts("TLSv1.3", "http/1.1", None, b"alice")


class FakeStream:
    """A `ByteStream` that keeps what is written, and delivers what the test says.

    Args:
        tls: what the handshake is to have established.

    Attributes:
        records: what was written in a record of its own; it is among `written` too.
        ended, closed, aborted, was_cut: whether `write_end`, `close`, `abort` or `cut` was called.
        reading: whether the owner wants to be delivered to.
        options: what was last set on the socket.
        acknowledged_at: when the peer last acknowledged anything, in `loop.time()`; None is just now.
    """

    def __init__(self, tls: TlsFacts | None = USER_TLS, peer: str = "192.0.2.1") -> None:
        self.tls = tls
        self.peer = peer
        self.written = bytearray()
        self.records: list[bytes] = []
        self.ended = self.closed = self.aborted = self.was_cut = False
        self.reading = True
        self.options: SocketOptions | None = None
        self.acknowledged_at: float | None = None
        self.waiting_bytes = 0
        self.handler: StreamHandler | None = None

    # What the owner calls --------------------------------------------------------------------------

    def set_handler(self, handler: StreamHandler) -> None:
        self.handler = handler

    def set_socket_options(self, options: SocketOptions) -> None:
        self.options = options

    def seconds_since_ack(self) -> float:
        now = asyncio.get_running_loop().time()
        return 0.0 if self.acknowledged_at is None else now - self.acknowledged_at

    def write(self, data: Buffer) -> None:
        if not (self.closing or self.ended):
            self.written += data

    def write_now(self, data: Buffer) -> None:
        self.write(data)

    def write_record(self, data: Buffer) -> None:
        self.records.append(bytes(data))
        self.write(data)

    def write_end(self) -> None:
        self.ended = True

    def close(self) -> None:
        self.closed = True

    def cut(self) -> None:
        self.was_cut = True

    def abort(self) -> None:
        self.aborted = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    @property
    def closing(self) -> bool:
        return self.closed or self.aborted or self.was_cut

    # What the test calls ---------------------------------------------------------------------------

    def open(self, handler: StreamHandler) -> None:
        """The connection is ready."""
        self.handler = handler
        handler.stream_opened(self)

    def receive(self, data: bytes) -> None:
        """Something arrives, in one read; the view is as short-lived as a real one."""
        assert self.reading, "the owner does not want to read"
        assert self.handler is not None
        if self.closing or not data:
            return
        with memoryview(bytes(data)) as view:
            self.handler.stream_received(view)

    def receive_end(self) -> None:
        """The peer says its end."""
        assert self.handler is not None
        self.handler.stream_ended()

    def lose(self, error: Exception | None = None) -> None:
        """The connection is gone."""
        self.closed = True
        assert self.handler is not None
        self.handler.stream_closed(error)

    def pause_writing(self) -> None:
        """More waits than should."""
        assert self.handler is not None
        self.handler.stream_write_paused()

    def resume_writing(self) -> None:
        """What waited has left."""
        assert self.handler is not None
        self.handler.stream_write_resumed()

    def take(self) -> bytes:
        """What was written since this was last asked."""
        taken = bytes(self.written)
        self.written.clear()
        return taken


class Clock:
    """The running loop's time, which passes only in `advance`."""

    def __init__(self, now: float) -> None:
        self.now = now

    async def advance(self, seconds: float) -> None:
        """Let time pass and what is due then happen."""
        self.now += seconds
        await settle()


@contextmanager
def stopped_clock(loop: asyncio.AbstractEventLoop) -> Iterator[Clock]:
    """Take the loop's time into the test's hand."""
    clock = Clock(float(ceil(loop.time())))  # whole seconds add up exactly
    loop.time = lambda: clock.now  # type: ignore[method-assign]
    try:
        yield clock
    finally:
        del loop.time


async def settle(turns: int = 10) -> None:
    """Let the loop do what it has been asked to do soon."""
    for _ in range(turns):
        await asyncio.sleep(0)
