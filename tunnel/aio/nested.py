"""A stream as the transport of another one: TLS inside the TLS to a proxy.

The loop's own transports for TLS could do it too, with what `tunnel.aio.tls` exists to avoid: no half-close, and ends that
look like cuts.
"""

import asyncio
import socket
from typing import Any

from tunnel.aio.basestream import BaseStream
from tunnel.aio.stream import Buffer, ByteStream


class _NoSocket:
    """Stands for the socket, whose options were set when the outer stream was made."""

    family = socket.AF_UNSPEC

    def setsockopt(self, level: int, option: int, value: int, /) -> None:
        """There is nothing to set."""


class NestedTransport(asyncio.Transport):
    """The transport of `inner`, carried by `outer`. It is the outer stream's handler.

    Args:
        outer: an open stream; its water marks are those of the inner one as well.
        inner: not yet connected; `start` connects it.
    """

    def __init__(self, outer: ByteStream, inner: BaseStream) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._outer = outer
        self._inner = inner
        self._held = b""
        self._paused = self._lost = False

    def start(self) -> None:
        """Let the inner stream begin."""
        self._outer.set_handler(self)
        self._inner.connection_made(self)

    # What the outer stream calls -------------------------------------------------------------------

    def stream_opened(self, stream: ByteStream) -> None:
        """It was, before `start`."""

    def stream_received(self, data: memoryview) -> None:
        if self._held:
            self._held += bytes(data)
        else:
            self._feed(data)

    def stream_ended(self) -> None:
        if not self._inner.eof_received():
            self.close()

    def stream_write_paused(self) -> None:
        self._inner.pause_writing()

    def stream_write_resumed(self) -> None:
        self._inner.resume_writing()

    def stream_closed(self, error: Exception | None) -> None:
        self._lost = True
        self._held = b""
        self._inner.connection_lost(error)

    def _feed(self, data: memoryview) -> None:
        """Hand over as much as the inner stream takes before it pauses; the rest is held."""
        while data and not self._paused:
            room = self._inner.get_buffer(len(data))
            size = min(len(room), len(data))
            # Copied first: all streams decrypt into one buffer, so the inner one writes where `data` lies.
            rest = bytes(data[size:])
            room[:size] = data[:size]
            self._inner.buffer_updated(size)
            data = memoryview(rest)
        self._held = bytes(data)

    def _go_on(self) -> None:
        if self._paused or self._lost:
            return
        held, self._held = self._held, b""
        self._feed(memoryview(held))
        if not self._paused:
            self._outer.resume_reading()

    # What the inner stream calls -------------------------------------------------------------------

    def pause_reading(self) -> None:
        self._paused = True
        self._outer.pause_reading()

    def resume_reading(self) -> None:
        self._paused = False
        self._loop.call_soon(self._go_on)

    def write(self, data: Buffer) -> None:
        self._outer.write(data)

    def write_eof(self) -> None:
        self._outer.write_end()

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        self._outer.close()

    def abort(self) -> None:
        self._outer.abort()

    def is_closing(self) -> bool:
        return self._outer.closing

    def get_write_buffer_size(self) -> int:
        return self._outer.waiting_bytes

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """They were given to the outer stream."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "socket":
            return _NoSocket()
        return (self._outer.peer, 0) if name == "peername" else default
