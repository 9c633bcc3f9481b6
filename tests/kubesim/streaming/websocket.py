"""The server's side of a WebSocket behind its 101: messages, pings answered, a polite close."""

import asyncio

from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import Protocol, Side, State

from tests.kubesim.streaming.wire import READ_BYTES

MESSAGE_BYTES = 32 * 1024 * 1024
"""The apiserver's own limit. Go programs copy a string to stdin in one message, whatever its length."""

_WITH_DATA = frozenset((Opcode.TEXT, Opcode.BINARY, Opcode.CONT))


class WebSocketConnection:
    """Messages over a connection whose handshake is done. One task may read, any may send."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._protocol = Protocol(Side.SERVER, max_size=MESSAGE_BYTES)
        self._pieces: list[bytes] = []
        self._messages: list[bytes] = []
        self._ended = False

    async def receive(self) -> list[bytes]:
        """Return the messages that arrived, or wait; none at all once the peer closed or broke the protocol."""
        while not self._messages and not self._ended:
            await self._read()
        messages, self._messages = self._messages, []
        return messages

    async def _read(self) -> None:
        try:
            data = await self._reader.read(READ_BYTES)
        except ConnectionError:
            data = b""
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        self._flush()
        for event in self._protocol.events_received():
            if isinstance(event, Frame) and event.opcode in _WITH_DATA:
                self._assemble(event)
        # The protocol ends its own direction behind a close handshake and behind a violation.
        self._ended = not data or self._protocol.eof_sent

    def _assemble(self, frame: Frame) -> None:
        self._pieces.append(bytes(frame.data))
        if frame.fin:
            self._messages.append(b"".join(self._pieces))
            self._pieces = []

    def send(self, message: bytes) -> None:
        """Queue a binary message; thrown away once a close was sent or received."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_binary(message)
            self._flush()

    async def drain(self) -> None:
        """Wait until little is queued.

        Raises:
            ConnectionError: the peer is gone.
        """
        if self._protocol.state is not State.OPEN:
            raise ConnectionResetError("WebSocket is closing")
        await self._writer.drain()

    def close(self) -> None:
        """Queue a close frame 1000. Idempotent."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(CloseCode.NORMAL_CLOSURE)
            self._flush()

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            # The empty string asks for an end of file, which whoever owns the connection brings about by closing it.
            if data and not self._writer.is_closing():
                self._writer.write(data)


class WebSocketWire:
    """A byte stream cut into binary messages, as the port-forward tunnel has it; cuts carry no meaning."""

    def __init__(self, connection: WebSocketConnection) -> None:
        self._connection = connection

    async def read(self) -> bytes:
        # An empty message is kubectl's empty DATA with FIN, not the end.
        while messages := await self._connection.receive():
            if data := b"".join(messages):
                return data
        return b""

    def write(self, data: bytes) -> None:
        self._connection.send(data)

    async def drain(self) -> None:
        await self._connection.drain()

    def say_end(self) -> None:
        self._connection.close()
