"""A load balancer for TCP: it leads each connection to the next of its targets, and cuts what a test tells it to."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Balancer:
    """See the module.

    Args:
        ports: of the loopback, in turn.
    """

    def __init__(self, ports: list[int]) -> None:
        self.ports = ports
        self.port = 0
        self.accepted = 0
        self._open: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.accepted += 1
        ends = {writer}
        self._open |= ends
        try:
            with contextlib.suppress(OSError, RuntimeError):  # uvloop's word for a closed transport
                far_reader, far = await asyncio.open_connection(
                    "127.0.0.1", self.ports[self.accepted % len(self.ports)]
                )
                ends.add(far)
                self._open |= ends
                await asyncio.gather(_copy(reader, far), _copy(far_reader, writer))
        except asyncio.CancelledError:
            pass  # the test is over
        finally:
            self._open -= ends
            for each in ends:
                each.transport.abort()

    def cut(self) -> None:
        """Break every connection."""
        for writer in list(self._open):
            writer.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(64 * 1024):
        writer.write(data)
        await writer.drain()
    if not writer.is_closing():
        writer.write_eof()


@asynccontextmanager
async def balancer(*ports: int) -> AsyncIterator[Balancer]:
    """Listen while the block runs."""
    found = Balancer(list(ports))
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()
        found.cut()
