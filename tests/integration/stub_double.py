"""A stub of the test's own: it speaks the wire with `tunnel.core` and asks on it whatever the test wants."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests import pki
from tests.channel_events import in_parts
from tests.integration.agent_double import CHANNEL, SESSION
from tests.integration.tls_end import TlsEnd
from tests.integration.tunnel_fixture import Certificates
from tests.integration.waiting import soon
from tests.unit.core.session.pair import heard
from tunnel.core.channel.stub_side import (
    ChannelEvent,
    ResponseData,
    ResponseEnded,
    ResponseStarted,
    StubChannel,
)
from tunnel.core.errors import PeerViolation
from tunnel.core.http.message import Field, RequestHead, ResponseHead
from tunnel.core.identifiers import RequestId
from tunnel.core.session.events import StubEvent
from tunnel.core.session.stub_side import StubSession
from tunnel.core.wire.control import StubHello
from tunnel.core.wire.exchange import Head, Refused, Request
from tunnel.core.wire.pairs import encode_pairs

GREETING = StubHello("double", token="token")
JANE = encode_pairs(pairs=[(b"user", b"jane"), (b"address", b"10.1.2.3")])


def asking(
    number: int,
    method: bytes = b"GET",
    target: bytes = b"/api",
    *fields: Field,
    caller: bytes = JANE,
    epoch: int = 0,
    body: bytes = b"",
    body_length: int | None = None,
    upgrade: bool = False,
) -> Request:
    """A REQUEST; with `body_length` its body is to follow on a stream."""
    return Request(
        RequestId(number),
        epoch,
        bytes(16),
        RequestHead(method, target, list(fields)),
        caller,
        body,
        len(body) if body_length is None else body_length,
        body_stream=body_length is not None,
        upgrade=upgrade,
    )


@dataclass(eq=False)
class Response:
    """What came on a channel for one request."""

    head: Head = field(default_factory=lambda: Head(RequestId(0), ResponseHead(0, [])))
    body: bytearray = field(default_factory=bytearray)
    whole: bool = False


class StubDouble:
    """See the module.

    Args:
        certificates: for its listener.
        hello: what it says first; nothing where None.
    """

    def __init__(self, certificates: Certificates, hello: StubHello | None) -> None:
        self._context = pki.server_context(
            certificates.server, client_ca=certificates.agent_ca, alpn=[SESSION, CHANNEL]
        )
        self._hello = hello
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.sessions: asyncio.Queue[tuple[StubSession, TlsEnd]] = asyncio.Queue()
        self.refusals: asyncio.Queue[Refused] = asyncio.Queue()
        self.responses: asyncio.Queue[Response] = asyncio.Queue()
        self.events: list[StubEvent] = []
        self.reasons: list[str] = []
        self.channels_dialled = 0
        self.turns_channels_away = False

    async def session(self) -> "SessionDouble":
        """The next session that an agent opened and greeted."""
        core, end = await soon(self.sessions.get())
        return SessionDouble(core, end)

    async def answer(self) -> Response:
        """The next answer that is whole."""
        return await soon(self.responses.get())

    async def refusal(self) -> Refused:
        """The agent's next refusal."""
        return await soon(self.refusals.get())

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of an agent."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        end = TlsEnd(reader, writer, self._context, None)
        try:
            with contextlib.suppress(EOFError, OSError, ssl.SSLError):
                await end.handshake()
                await (self._session(end) if end.alpn == SESSION else self._channel(end))
        except asyncio.CancelledError:
            pass  # the test is over
        finally:
            self._tasks.discard(task)
            await end.abort()

    async def _session(self, end: TlsEnd) -> None:
        loop = asyncio.get_running_loop()
        core = StubSession(self._hello or StubHello("silent"), loop.time())
        if self._hello is None:
            core._lane._waiting.clear()
            core._lane.waiting_bytes = 0
        end.write(core.output())
        while received := await end.read():
            greeted = core.agent is not None
            for event in heard(core, received, loop.time()):
                self.events.append(event)
                if isinstance(event, Refused):
                    self.refusals.put_nowait(event)
            if core.agent is not None and not greeted:
                self.sessions.put_nowait((core, end))
            end.write(core.output())

    async def _channel(self, end: TlsEnd) -> None:
        self.channels_dialled += 1
        if self.turns_channels_away:
            return
        assert self._hello is not None
        end.write(StubHello(self._hello.instance).encode())
        core, running = StubChannel(), Response()
        try:
            while received := await end.read():
                for event in in_parts(core.receive(memoryview(received))):
                    running = self._hear(event, running)
                if core.awaits_done:
                    end.write(core.send_done())
        except PeerViolation as violation:
            self.reasons.append(str(violation))

    def _hear(self, event: ChannelEvent, running: Response) -> Response:
        """Add an event to the response it belongs to; return the one that the next belongs to."""
        match event:
            case ResponseStarted():
                return Response(event.head)
            case ResponseData():
                running.body += event.data
            case ResponseEnded():
                running.whole = True
                self.responses.put_nowait(running)
            case _:
                pass
        return running

    async def stop(self) -> None:
        """End every connection."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class SessionDouble:
    """One session of a `StubDouble`.

    Args:
        core: its state.
        end: its connection.
    """

    def __init__(self, core: StubSession, end: TlsEnd) -> None:
        self.core = core
        self.end = end

    def ask(self, request: Request) -> None:
        """Send a REQUEST, however wrong."""
        self.core.send_request(request)
        self.flush()

    def raw(self, frame: bytes) -> None:
        """Send bytes on the lane."""
        self.core._lane.queue(frame)
        self.flush()

    def flush(self) -> None:
        """Send what the core holds."""
        self.end.write(self.core.output())


@asynccontextmanager
async def stub_double(
    certificates: Certificates, hello: StubHello | None = GREETING
) -> AsyncIterator[StubDouble]:
    """Listen while the block runs."""
    double = StubDouble(certificates, hello)
    server = await asyncio.start_server(double.serve, "127.0.0.1", 0)
    double.port = server.sockets[0].getsockname()[1]
    try:
        yield double
    finally:
        server.close()
        await double.stop()
