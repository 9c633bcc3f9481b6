"""A SPDY connection: streams, their ends, and what happens when a peer misbehaves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from tests.kubesim.streaming.connection import SpdyConnection, SpdyStream, StreamReset
from tests.kubesim.streaming.inbox import INBOX_BYTES
from tests.kubesim.streaming.spdy import FrameEncoder
from tests.kubesim.streaming.spdy_frames import Ping, SynStream
from tests.kubesim.streaming.wire import SocketWire
from tests.unit.kubesim.streaming.pipes import End, connection


@dataclass(frozen=True, slots=True)
class Pair:
    client: SpdyConnection
    server: SpdyConnection
    client_end: End
    server_end: End

    async def stream(self) -> tuple[SpdyStream, SpdyStream]:
        """Open a stream and accept it; return both of its ends."""
        near = self.client.open((("streamtype", "data"),))
        far = await self.server.accept()
        far.reply()
        await near.replied()
        return near, far


@asynccontextmanager
async def connected() -> AsyncIterator[Pair]:
    near, far = connection()
    client = SpdyConnection(SocketWire(near.reader, near.writer), client=True)
    server = SpdyConnection(SocketWire(far.reader, far.writer))
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tasks.create_task(client.run())
        tasks.create_task(server.run())
        yield Pair(client, server, near, far)
        near.writer.close()
        far.writer.close()


async def test_bytes_travel_both_ways_and_the_fields_with_the_stream() -> None:
    async with connected() as pair:
        near, far = await pair.stream()
        assert far.field("streamtype") == "data"
        await near.write(b"ping")
        assert await far.read() == b"ping"
        await far.write(b"pong")
        assert await near.read() == b"pong"


async def test_an_end_in_one_direction_leaves_the_other_open() -> None:
    async with connected() as pair:
        near, far = await pair.stream()
        near.end()
        assert await far.read() == b""
        await far.write(b"still here")
        assert await near.read() == b"still here"
        with pytest.raises(StreamReset):
            await near.write(b"x")


async def test_what_arrived_before_a_reset_can_still_be_read_and_nothing_be_written() -> None:
    async with connected() as pair:
        near, far = await pair.stream()
        await near.write(b"last words")
        near.reset()
        assert await far.read() == b"last words"
        assert await far.read() == b""
        with pytest.raises(StreamReset):
            await far.write(b"x")


async def test_a_ping_of_the_peer_is_sent_back_unchanged() -> None:
    async with connected() as pair:
        pair.server.send(Ping(2))
        near, far = await pair.stream()
        await far.write(b"behind the ping")
        await near.read()
        assert pair.client.pings_answered == 1


async def test_a_stream_id_that_does_not_rise_is_reset() -> None:
    async with connected() as pair:
        await pair.stream()
        pair.client.send(SynStream(1, ()))
        near, _ = await pair.stream()
        assert near.stream_id == 3
        first_bytes_of_resets = [data[:4] for data in pair.server_end.transport.writes]
        assert first_bytes_of_resets.count(b"\x80\x03\x00\x03") == 1


async def test_a_full_inbox_stops_the_reading_until_it_is_emptied() -> None:
    async with connected() as pair:
        near, far = await pair.stream()
        await near.write(bytes(2 * INBOX_BYTES))
        other = pair.client.open(())
        accepting = asyncio.ensure_future(pair.server.accept())
        for _ in range(50):
            await asyncio.sleep(0)
        assert not accepting.done()
        received = 0
        while received < 2 * INBOX_BYTES:
            received += len(await far.read())
        assert (await accepting).stream_id == other.stream_id


async def test_an_inbox_nobody_wants_holds_nothing_up() -> None:
    async with connected() as pair:
        near, far = await pair.stream()
        far.discard()
        await near.write(bytes(4 * INBOX_BYTES))
        await pair.stream()


async def test_resetting_a_stream_with_a_full_inbox_lets_the_connection_go_on() -> None:
    async with connected() as pair:
        near, far = await pair.stream()
        await near.write(bytes(2 * INBOX_BYTES))
        while not far.inbox.full:
            await asyncio.sleep(0)
        far.reset()
        await pair.stream()


async def test_a_violation_is_answered_with_goaway_and_cuts_every_stream() -> None:
    async with connected() as pair:
        _, far = await pair.stream()
        pair.client_end.writer.write(FrameEncoder().encode(Ping(1))[:3] + b"\x03" + bytes(60))
        assert await far.read() == b""
        assert pair.server_end.transport.writes[-1][:4] == b"\x80\x03\x00\x07"
        assert pair.server_end.transport.writes[-1][-4:] == b"\0\0\0\x01"


async def test_a_lost_connection_ends_every_stream() -> None:
    async with connected() as pair:
        _, far = await pair.stream()
        pair.client_end.transport.abort()
        assert await far.read() == b""
        with pytest.raises(StreamReset):
            await far.write(b"x")


async def test_finishing_resets_what_is_open_but_not_what_was_ended() -> None:
    async with connected() as pair:
        open_near, _ = await pair.stream()
        ended_near, ended_far = await pair.stream()
        await ended_far.write(b"exit status")
        ended_far.end()
        pair.server.finish()
        assert await open_near.read() == b""
        assert await ended_near.read() == b"exit status"
        kinds = [data[:4] for data in pair.server_end.transport.writes]
        assert kinds.count(b"\x80\x03\x00\x03") == 1
        assert kinds[-1] == b"\x80\x03\x00\x07"
