"""One end of a TLS connection, record by record: for clients and servers that a test scripts.

asyncio's own TLS hides what these tests are about: whether a connection ended or was cut, what shares a record, and one
direction ending before the other.
"""

import asyncio
import contextlib
import socket
import ssl
import struct
from enum import Enum
from typing import Final, Self

_HEADER: Final = 5
_RECORD: Final = 16 * 1024


class End(Enum):
    """How the peer's direction of a connection came to its end."""

    CLOSE_NOTIFY = "close_notify"
    CUT = "cut"
    """A FIN without close_notify, or a reset."""


class TlsEnd:
    """See the module; made by `connect` or `accept`.

    Args:
        reader, writer: the TCP connection.
        context: for the side this is.
        server_hostname: to verify and to send as SNI; None on the server's side.
        session: to be resumed, of an earlier connection with the same context.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        context: ssl.SSLContext,
        server_hostname: str | None,
        session: ssl.SSLSession | None = None,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=server_hostname is None,
            server_hostname=server_hostname,
            session=session,
        )
        self.buffer = bytearray()
        self.end: End | None = None

    @classmethod
    async def connect(
        cls,
        port: int,
        context: ssl.SSLContext,
        server_hostname: str,
        kernel_buffer: int | None = None,
        session: ssl.SSLSession | None = None,
    ) -> Self:
        """Dial the loopback and do the handshake; the kernel keeps `kernel_buffer` bytes each way."""
        sock = socket.socket()
        if kernel_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, kernel_buffer)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, kernel_buffer)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        end = cls(*await asyncio.open_connection(sock=sock), context, server_hostname, session)
        await end.handshake()
        return end

    async def handshake(self) -> None:
        """Agree on TLS. Raises ssl.SSLError or EOFError; the connection is closed then."""
        try:
            while True:
                try:
                    self._tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    self._flush()
                    if not await self._read_record():
                        raise EOFError("closed during the handshake") from None
                finally:
                    self._flush()
        except BaseException:
            await self.close()
            raise

    @property
    def alpn(self) -> str | None:
        """The protocol that was agreed on."""
        return self._tls.selected_alpn_protocol()

    @property
    def session(self) -> ssl.SSLSession | None:
        """What a later connection could try to resume."""
        return self._tls.session

    @property
    def resumed(self) -> bool | None:
        """Whether the server took a session up again."""
        return self._tls.session_reused

    # Sending ---------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send without waiting, in records of its own."""
        with contextlib.suppress(ssl.SSLError):  # the peer is gone; what is read will say so
            for start in range(0, len(data), _RECORD):
                self._tls.write(data[start : start + _RECORD])
        self._flush()

    async def send(self, data: bytes) -> None:
        """Send, and wait until the kernel has taken nearly all of it."""
        view = memoryview(data)
        for start in range(0, len(view), 4 * _RECORD):
            self.write(bytes(view[start : start + 4 * _RECORD]))
            await self._writer.drain()

    def write_end(self) -> None:
        """Say close_notify; reading goes on."""
        with contextlib.suppress(ssl.SSLError):
            self._tls.unwrap()
        self._flush()

    def cut(self) -> None:
        """End the TCP connection without a word of TLS, as a process does that is killed."""
        self._writer.transport.abort()

    def reset(self) -> None:
        """End the TCP connection with an RST."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def close(self) -> None:
        """Close, politely where TLS is still up."""
        self.write_end()
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def abort(self) -> None:
        """Close at once, and wait until the socket is gone."""
        self._writer.transport.abort()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    def _flush(self) -> None:
        data = self._outgoing.read()
        if data:
            self._writer.write(data)

    # Receiving -------------------------------------------------------------------------------------

    async def read_record(self) -> bytes:
        """The bytes of one record that has some; empty at the end, and `end` says which."""
        while self.end is None:
            data = self._decrypted()
            if data:
                return data
            if self.end is None and not await self._read_record():
                self.end = End.CUT
        return b""

    async def read(self) -> bytes:
        """Whatever is there, at least one byte; empty at the end."""
        if self.buffer:
            data = bytes(self.buffer)
            self.buffer.clear()
            return data
        return await self.read_record()

    async def read_exactly(self, size: int) -> bytes:
        """`size` bytes. Raises EOFError where the connection ends before."""
        while len(self.buffer) < size:
            await self._more(f"{size} bytes")
        data = bytes(self.buffer[:size])
        del self.buffer[:size]
        return data

    async def read_until(self, mark: bytes) -> bytes:
        """Everything up to and with `mark`. Raises EOFError where the connection ends before."""
        while (found := self.buffer.find(mark)) < 0:
            await self._more(repr(mark))
        return await self.read_exactly(found + len(mark))

    async def read_to_end(self) -> bytes:
        """Everything until the connection ends; `end` says how."""
        data = bytearray()
        while piece := await self.read():
            data += piece
        return bytes(data)

    async def _more(self, wanted: str) -> None:
        data = await self.read_record()
        if not data:
            raise EOFError(f"{self.end} before {wanted}; there is {bytes(self.buffer[:300])!r}")
        self.buffer += data

    def _decrypted(self) -> bytes:
        data = bytearray()
        try:
            while True:
                piece = self._tls.read(_RECORD)
                if not piece:
                    self.end = End.CLOSE_NOTIFY
                    break
                data += piece
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.end = End.CLOSE_NOTIFY
        except ssl.SSLError:
            self.end = End.CUT
        self._flush()
        return bytes(data)

    async def _read_record(self) -> bool:
        try:
            header = await self._reader.readexactly(_HEADER)
            body = await self._reader.readexactly(int.from_bytes(header[3:], "big"))
        except (asyncio.IncompleteReadError, OSError):
            return False
        self._incoming.write(header + body)
        return True
