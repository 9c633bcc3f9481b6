"""The loop's transport under a stream: there from the first callback to the last, and asked only while it is there."""

import asyncio
import socket
import struct
from typing import Final, cast

from tunnel.aio.sockets import SocketOptions, seconds_since_ack

_NO_LINGER: Final = struct.pack("ii", 1, 0)


class StreamTransport:
    """One of the loop's plain transports.

    Attributes:
        open: whether the connection is made and not lost.
        blocked: whether more than the high-water mark waits in it.
        sending: whether it is being written to just now, which is when it may tell that it is blocked.
        fin_seen: whether the peer's FIN has come; nothing is read behind it.
        paused: whether it does not read.
    """

    __slots__ = ("_transport", "blocked", "fin_seen", "open", "paused", "sending")

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self.open = False
        self.blocked = self.sending = False
        self.fin_seen = self.paused = False

    def made(self, transport: asyncio.BaseTransport, write_high: int) -> str:
        """Take over a connected socket; return the peer's address.

        Args:
            write_high: the high-water mark, in bytes.
        """
        # uvloop's transports have the methods but not the base class.
        self._transport = cast(asyncio.Transport, transport)
        self.open = True
        self._transport.set_write_buffer_limits(high=write_high, low=write_high // 4)
        name = transport.get_extra_info("peername")
        return str(name[0]) if isinstance(name, tuple) and name else ""

    def lost(self) -> None:
        """The socket is closed."""
        self._transport = None
        self.open = False

    def set_options(self, options: SocketOptions) -> None:
        """Change the socket's options."""
        if self._transport is not None:
            options.apply(self._transport.get_extra_info("socket"))

    def seconds_since_ack(self) -> float:
        """How long ago the peer's kernel last acknowledged anything."""
        if self._transport is None:
            return 0.0
        return seconds_since_ack(self._transport.get_extra_info("socket"))

    @property
    def waiting_bytes(self) -> int:
        """How much has not been handed to the kernel."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    @property
    def closing(self) -> bool:
        """Whether it takes nothing more."""
        return self._transport is None or self._transport.is_closing()

    def write(self, data: bytes) -> None:
        """Send `data`, and be told of pressure from inside."""
        assert self._transport is not None
        self.sending = True
        try:
            self._transport.write(data)
        finally:
            self.sending = False

    def pause_reading(self) -> None:
        """Read no more."""
        if not self.paused and self._transport is not None:
            self.paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        if self.paused and not self.fin_seen and self._transport is not None:
            self.paused = False
            self._transport.resume_reading()

    def write_eof(self) -> None:
        """Send our FIN behind what waits."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write_eof()

    def close(self) -> None:
        """Close behind what waits."""
        if self._transport is not None:
            self._transport.close()

    def close_by_reset(self) -> None:
        """Let the close that follows tell a TCP peer so by a reset, in place of the FIN of an end."""
        if self._transport is not None and not self._transport.is_closing():
            sock = self._transport.get_extra_info("socket")
            if sock.family in (socket.AF_INET, socket.AF_INET6):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()
