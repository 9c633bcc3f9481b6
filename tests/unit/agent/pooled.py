"""A pool of response channels, the stub that it dials, and whoever answers on them."""

import asyncio

from agent.channel import Channel
from agent.channels import ChannelPool
from tests.unit.agent.parts import STUB
from tests.unit.fakes import FakeStream, settle
from tunnel.aio.errors import ConnectFailed
from tunnel.core.http.message import ResponseHead
from tunnel.core.identifiers import RequestId
from tunnel.core.wire.exchange import BODY_UNKNOWN, Head


class Speaking:
    """A speaker that remembers what it heard."""

    def __init__(self) -> None:
        self.heard: list[object] = []
        self.channel: Channel | None = None

    def channel_ready(self, channel: Channel) -> None:
        self.channel = channel

    def channel_write_paused(self) -> None:
        self.heard.append("paused")

    def channel_write_resumed(self) -> None:
        self.heard.append("resumed")

    def channel_lost(self, reason: str) -> None:
        self.heard.append(reason)


class Stub:
    """What channels are dialled to: it counts dials, lets them wait, fail, or be answered by another instance or by nobody."""

    def __init__(self, tasks: asyncio.TaskGroup, floor: int, limit: int) -> None:
        self.streams: list[FakeStream] = []
        self.hello = STUB
        self.fails = self.waits = self.silent = False
        self.under_way = self.most_under_way = self.dials = 0
        self.gate = asyncio.Event()
        self.pool = ChannelPool(STUB, self.dial, tasks, floor=floor, limit=limit)

    async def dial(self, channel: Channel) -> None:
        self.dials += 1
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        if self.waits:
            await self.gate.wait()
        self.under_way -= 1
        if self.fails:
            raise ConnectFailed("stub:8443", "refused")
        stream = FakeStream()
        stream.open(channel)
        self.streams.append(stream)
        if not self.silent:
            stream.receive(self.hello.encode())

    @property
    def open(self) -> int:
        return sum(not stream.closing for stream in self.streams)

    def lose(self, stream: FakeStream) -> None:
        """A connection is gone, and its channel hears of it."""
        self.streams.remove(stream)
        stream.lose()

    def finish_closing(self) -> None:
        """Connections that the agent closes are gone."""
        for stream in [stream for stream in self.streams if stream.closing]:
            self.lose(stream)


async def filled(tasks: asyncio.TaskGroup, floor: int = 2, limit: int = 8) -> Stub:
    """A pool that has dialled what it wants."""
    stub = Stub(tasks, floor, limit)
    stub.pool.fill()
    await settle()
    return stub


def taken(stub: Stub, count: int = 1) -> list[Speaking]:
    """Take channels."""
    speakers = [Speaking() for _ in range(count)]
    for speaker in speakers:
        channel = stub.pool.take(speaker)
        if channel is not None:
            speaker.channel = channel
    return speakers


def used_up(speaker: Speaking, length: int = 0) -> None:
    """Answer something on a speaker's channel, and end."""
    assert speaker.channel is not None
    speaker.channel.start(Head(RequestId(1), ResponseHead(200, []), length))
    speaker.channel.end()


def begun(speaker: Speaking, number: int, length: int = BODY_UNKNOWN) -> Channel:
    """Begin a response on a speaker's channel."""
    assert speaker.channel is not None
    speaker.channel.start(Head(RequestId(number), ResponseHead(200, []), length))
    return speaker.channel


def broke(stub: Stub, error: Exception | None = None) -> None:
    """The only connection is gone."""
    (stream,) = stub.streams
    stub.streams.clear()
    stream.lose(error)
