"""A scripted apiserver: writes down each request byte for byte, and answers what the test says, as it says."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from tests.integration.tls_end import TlsEnd

_RECEIVE_BUFFER: Final = 128 * 1024

Field = tuple[bytes, bytes]
Script = Callable[["Incoming"], Awaitable[None]]


@dataclass(eq=False)
class Incoming:
    """A request as it arrived, and the way to answer it.

    Attributes:
        line: the request line.
        fields: in order and spelling.
        connection: it came on.
        body: what was read of it so far.
        whole: whether the body's end was seen.
        answered: set by `whole_answer`.
    """

    line: bytes
    fields: list[Field]
    connection: "Connection"
    body: bytearray = field(default_factory=bytearray)
    whole: bool = False
    answered: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def method(self) -> bytes:
        return self.line.split(b" ")[0]

    @property
    def target(self) -> bytes:
        return self.line.split(b" ")[1]

    def values(self, name: str) -> list[str]:
        """The values of all fields of this name, in order."""
        return [value.decode() for key, value in self.fields if key.lower() == name.encode()]

    async def body_piece(self) -> bytes:
        """More of the body; empty at its end. Raises EOFError where it is cut."""
        if self.whole:
            return b""
        if self.values("transfer-encoding") == ["chunked"]:
            return await self._chunk()
        length = int((self.values("content-length") or ["0"])[0])
        piece = b""
        if len(self.body) < length:
            piece = await self.connection.end.read()
            if not piece:
                raise EOFError("the body is cut")
            piece, behind = piece[: length - len(self.body)], piece[length - len(self.body) :]
            self.connection.end.buffer[:0] = behind
            self.body += piece
        self.whole = len(self.body) == length
        return piece

    async def _chunk(self) -> bytes:
        size = int(await self.connection.end.read_until(b"\r\n"), 16)
        data = (await self.connection.end.read_exactly(size + 2))[:-2]
        self.body += data
        self.whole = not size
        return data

    async def read_body(self) -> bytes:
        """The whole body. Raises EOFError where it is cut."""
        while not self.whole:
            await self.body_piece()
        return bytes(self.body)

    # Answers ---------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Send raw bytes, without waiting."""
        self.connection.end.write(data)

    def head(self, status: int, *fields: str, reason: str = "Whatever") -> None:
        """Send a head."""
        self.send(head(status, *fields, reason=reason))

    def chunk(self, data: bytes) -> None:
        """Send one chunk; an empty one ends the body."""
        self.send(b"%x\r\n%b\r\n" % (len(data), data))

    def whole_answer(self, status: int, body: bytes, *fields: str) -> None:
        """Send an answer with its length."""
        self.send(head(status, f"Content-Length: {len(body)}", *fields) + body)
        self.answered.set()

    async def gone(self) -> None:
        """Wait until the client's end of the connection is over."""
        await self.connection.end.read_to_end()
        self.connection.over.set()


def head(status: int, *fields: str, reason: str = "Whatever") -> bytes:
    """The bytes of a response's head."""
    return "\r\n".join([f"HTTP/1.1 {status} {reason}", *fields, "", ""]).encode()


def answering(status: int, body: bytes = b"", *fields: str) -> Script:
    """A script that reads the request whole and answers with a length."""

    async def script(incoming: Incoming) -> None:
        await incoming.read_body()
        incoming.whole_answer(status, body, *fields)

    return script


def raw(data: bytes) -> Script:
    """A script that reads the request whole and sends these bytes."""

    async def script(incoming: Incoming) -> None:
        await incoming.read_body()
        incoming.send(data)

    return script


async def by_hand(incoming: Incoming) -> None:
    """A script that leaves the answer to the test, and the connection to the next request."""
    await incoming.answered.wait()


async def silent(incoming: Incoming) -> None:
    """A script that never answers."""
    await incoming.gone()


@dataclass(eq=False)
class Connection:
    """One connection of the agent.

    Attributes:
        requests: that came on it.
        over: set once the agent's side of it has ended.
    """

    end: TlsEnd
    requests: list[Incoming] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def next_request(self) -> Incoming | None:
        """Read a head; None where the connection ends first."""
        try:
            lines = (await self.end.read_until(b"\r\n\r\n"))[:-4].split(b"\r\n")
        except EOFError:
            return None
        fields = [(name, value) for name, _, value in (line.partition(b": ") for line in lines[1:])]
        incoming = Incoming(lines[0], fields, self)
        self.requests.append(incoming)
        return incoming


class Upstream:
    """The server.

    Args:
        context: its TLS context.

    Attributes:
        script: what answers; may be changed at any time.
        requests: all that came, in order of their heads.
        connections: likewise.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._arrived: asyncio.Queue[Incoming] = asyncio.Queue()
        self.script: Script = answering(200, b"ok")
        self.requests: list[Incoming] = []
        self.connections: list[Connection] = []
        self.failures: list[BaseException] = []

    async def __aenter__(self) -> Self:
        sock = socket.socket()
        # Else the kernel grows it to many MiB, and a test of backpressure has to fill that first.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        sock.bind(("127.0.0.1", 0))
        self._server = await asyncio.start_server(self._serve, sock=sock)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.failures and error is None:
            raise self.failures[0]

    async def next_request(self) -> Incoming:
        """Wait for the next request that nobody has waited for."""
        async with asyncio.timeout(10):
            return await self._arrived.get()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        end = TlsEnd(reader, writer, self._context, None)
        try:
            with contextlib.suppress(EOFError, OSError, ssl.SSLError):
                await end.handshake()
                await self._answer_all(Connection(end))
        except asyncio.CancelledError:
            pass  # the test is over; as the task's result it would be reported as unhandled
        except Exception as error:
            self.failures.append(error)
        finally:
            self._tasks.discard(task)
            await end.abort()

    async def _answer_all(self, connection: Connection) -> None:
        self.connections.append(connection)
        try:
            while incoming := await connection.next_request():
                self.requests.append(incoming)
                self._arrived.put_nowait(incoming)
                await self.script(incoming)
        finally:
            connection.over.set()
