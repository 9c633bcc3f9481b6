"""An agent of the test's own: it speaks the wire with `tunnel.core` and says on it whatever the test wants."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.integration.tls_end import TlsEnd
from tests.integration.tunnel_fixture import Tunnel
from tests.integration.waiting import soon, until
from tests.unit.core.session.pair import heard
from tunnel.core.errors import PeerViolation
from tunnel.core.http.message import Field, ResponseHead
from tunnel.core.identifiers import RequestId
from tunnel.core.session.agent_side import AgentSession
from tunnel.core.session.events import AgentEvent
from tunnel.core.wire.control import AgentHello, StubHello
from tunnel.core.wire.exchange import BODY_UNKNOWN, Head, Request
from tunnel.core.wire.framing import FRAME_HEADER, FrameBuffer, FrameType, encode_frame

SESSION = "cluster-tunnel/1"
CHANNEL = "cluster-tunnel-response/1"

END = encode_frame(FrameType.END)


def head(
    number: int, status: int = 200, *fields: Field, length: int = BODY_UNKNOWN, bodiless: bool = False
) -> bytes:
    """A HEAD frame; what it says need not be true."""
    return Head(RequestId(number), ResponseHead(status, list(fields)), length, bodiless).encode()


def data(body: bytes) -> bytes:
    """A DATA frame."""
    return encode_frame(FrameType.DATA, body)


class ChannelDouble:
    """A response channel; what the test writes on it goes out as it is.

    Args:
        end: its connection.
    """

    def __init__(self, end: TlsEnd) -> None:
        self.end = end
        self._frames = FrameBuffer()
        self._received: list[tuple[int, bytes]] = []

    def write(self, *frames: bytes) -> None:
        """Send frames, or anything else."""
        self.end.write(b"".join(frames))

    async def frame(self) -> tuple[int, bytes]:
        """The stub's next frame. Raises EOFError where the connection ends."""
        while not self._received:
            piece = await soon(self.end.read())
            if not piece:
                raise EOFError(f"the channel ended: {self.end.end}")
            self._received += self._frames.receive(piece)
        return self._received.pop(0)

    async def closed(self) -> None:
        """Wait until the stub has closed the channel."""
        await soon(self.end.read_to_end())


class AgentDouble:
    """A session, and what it heard.

    Args:
        tunnel: whose stub it dials.
        cluster: whose certificate it shows.
        end: the session's connection.
    """

    def __init__(self, tunnel: Tunnel, cluster: str, end: TlsEnd) -> None:
        self._tunnel = tunnel
        self._cluster = cluster
        self.end = end
        self.core = AgentSession(asyncio.get_running_loop().time())
        self.events: asyncio.Queue[AgentEvent] = asyncio.Queue()
        self.over = asyncio.Event()
        self.reason = ""

    @property
    def hello(self) -> StubHello:
        """What the stub said first."""
        assert self.core.stub is not None
        return self.core.stub

    async def run(self) -> None:
        """Hear the stub until the session ends."""
        self.flush()
        while received := await self.end.read():
            try:
                for event in heard(self.core, received, asyncio.get_running_loop().time()):
                    self.events.put_nowait(event)
                    self.reason = getattr(event, "reason", self.reason)
            except PeerViolation as violation:
                self.reason = str(violation)
            self.flush()
        self.over.set()

    def flush(self) -> None:
        """Send what the core holds."""
        self.end.write(self.core.output())

    async def greet(self, *, versions: tuple[int, ...] = (1,), name: str = "double") -> None:
        """Answer the stub's HELLO, and wait until this agent is listed."""
        await until(lambda: self.core.stub is not None)
        self.core.send_hello(AgentHello(name=name, versions=versions))
        self.flush()
        if versions == (1,):
            links = self._tunnel.stub.registry.links
            await until(lambda: any(link.name == name for link in links))

    async def next_request(self) -> Request:
        """The stub's next REQUEST."""
        while True:
            event = await soon(self.events.get())
            if isinstance(event, Request):
                return event

    async def bare_channel(self) -> ChannelDouble:
        """A channel on which nothing was said yet."""
        pair = self._tunnel.certificates.agents[self._cluster]
        return ChannelDouble(await self._tunnel.dial(pair, alpn=[CHANNEL]))

    async def channel(self, token: str | None = None) -> ChannelDouble:
        """A greeted channel, of this session unless another token is given."""
        channel = await self.bare_channel()
        kind, _ = await channel.frame()
        assert kind == FrameType.HELLO
        channel.write(AgentHello(token=self.hello.token if token is None else token).encode())
        return channel


@asynccontextmanager
async def agent_double(
    tunnel: Tunnel, cluster: str = "blue", *, greets: bool = True
) -> AsyncIterator[AgentDouble]:
    """Connect one while the block runs."""
    end = await tunnel.dial(tunnel.certificates.agents[cluster], alpn=[SESSION])
    double = AgentDouble(tunnel, cluster, end)
    task = asyncio.get_running_loop().create_task(double.run())
    try:
        if greets:
            await double.greet()
        yield double
    finally:
        await end.abort()
        task.cancel()
        await asyncio.wait([task])


def frame(kind: int, payload: bytes, length: int | None = None) -> bytes:
    """A frame of any type, which may lie about its length."""
    return FRAME_HEADER.pack(kind, len(payload) if length is None else length) + payload
