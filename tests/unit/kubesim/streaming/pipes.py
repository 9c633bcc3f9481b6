"""Two ends of a connection in memory, each an ordinary pair of StreamReader and StreamWriter."""

import asyncio
from dataclasses import dataclass
from typing import Any


class MemoryTransport(asyncio.Transport):
    """Hands what is written straight to the other end. Never full; a paused reader is remembered, not obeyed."""

    def __init__(self) -> None:
        super().__init__()
        self.peer: MemoryTransport
        self.protocol: asyncio.StreamReaderProtocol
        self.writes: list[bytes] = []
        self.reading = True
        self._closing = False

    def write(self, data: Any) -> None:
        if not self._closing:
            self.writes.append(bytes(data))
            if not self.peer._closing:
                self.peer.protocol.data_received(bytes(data))

    def write_eof(self) -> None:
        if not self.peer._closing:
            self.peer.protocol.eof_received()

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self.write_eof()
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    def abort(self) -> None:
        self.close()

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


@dataclass(frozen=True, slots=True)
class End:
    """One end of a connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    transport: MemoryTransport


def connection() -> tuple[End, End]:
    """Return the two ends of a new connection."""
    one, two = MemoryTransport(), MemoryTransport()
    one.peer, two.peer = two, one
    return _end(one), _end(two)


def _end(transport: MemoryTransport) -> End:
    reader = asyncio.StreamReader()
    transport.protocol = asyncio.StreamReaderProtocol(reader)
    transport.protocol.connection_made(transport)
    writer = asyncio.StreamWriter(transport, transport.protocol, reader, asyncio.get_running_loop())
    return End(reader, writer, transport)
