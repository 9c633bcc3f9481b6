"""The bytes under a multiplexed connection: a socket, or the binary messages of a WebSocket."""

import asyncio
from contextlib import suppress
from typing import Protocol

READ_BYTES = 256 * 1024

CLOSE_SECONDS = 5.0
"""How long the peer may take to read the last bytes and close; kubectl does it at once."""


class Wire(Protocol):
    """A byte stream in both directions."""

    async def read(self) -> bytes:
        """Return what arrived, or wait; empty once the peer is gone, politely or not."""

    def write(self, data: bytes) -> None:
        """Queue `data`; thrown away once the peer is gone."""

    async def drain(self) -> None:
        """Wait until little is queued.

        Raises:
            ConnectionError: the peer is gone.
        """

    def say_end(self) -> None:
        """Tell the peer that nothing more comes, where the wire has words for it."""


class SocketWire:
    """A wire that is a plain connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> bytes:
        try:
            return await self._reader.read(READ_BYTES)
        except ConnectionError:
            return b""

    def write(self, data: bytes) -> None:
        if not self._writer.is_closing():
            self._writer.write(data)

    async def drain(self) -> None:
        await self._writer.drain()

    def say_end(self) -> None:
        """A socket under TLS cannot be half closed; what runs over it has said GOAWAY."""


async def close(writer: asyncio.StreamWriter) -> None:
    """Close a connection behind what is queued; broken off after `CLOSE_SECONDS` where the peer does not read."""
    writer.close()
    with suppress(ConnectionError):
        try:
            await asyncio.wait_for(writer.wait_closed(), CLOSE_SECONDS)
        except TimeoutError:
            writer.transport.abort()
