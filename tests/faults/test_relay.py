"""The relay does what it is told, and nothing else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.faults.relay import Relay, Way, relay
from tests.integration.waiting import soon, until

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Target:
    """Where the relay leads: holds what connects."""

    def __init__(self) -> None:
        self.accepted: asyncio.Queue[Ends] = asyncio.Queue()
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        self.accepted.put_nowait((reader, writer))


@asynccontextmanager
async def target() -> AsyncIterator[tuple[Target, int]]:
    found = Target()
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    try:
        yield found, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in found.writers:
            writer.transport.abort()


class Pair:
    """A relay, and both ends of one connection through it."""

    def __init__(self, relay: Relay, target: Target, near: Ends, far: Ends) -> None:
        self.relay = relay
        self.target = target
        self.near_reader, self.near = near
        self.far_reader, self.far = far


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    async with target() as (found, port), relay(port) as between:
        near = await asyncio.open_connection("127.0.0.1", between.port)
        yield Pair(between, found, near, await soon(found.accepted.get()))
        near[1].transport.abort()


async def test_bytes_pass_both_ways_and_half_closes_too(pair: Pair) -> None:
    pair.near.write(b"a" * 1_000_000)
    pair.near.write_eof()
    assert await soon(pair.far_reader.read(-1)) == b"a" * 1_000_000
    pair.far.write(b"answer")
    pair.far.write_eof()
    assert await soon(pair.near_reader.read(-1)) == b"answer"
    await until(lambda: not pair.relay.connections)


class Recorder(asyncio.Protocol):
    """Keeps each read apart."""

    def __init__(self) -> None:
        self.reads: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        self.reads.append(data)


async def test_a_piece_is_no_longer_than_told() -> None:
    recorder = Recorder()
    server = await asyncio.get_running_loop().create_server(lambda: recorder, "127.0.0.1", 0)
    async with relay(server.sockets[0].getsockname()[1]) as between:
        between.up.piece = 3
        _, writer = await asyncio.open_connection("127.0.0.1", between.port)
        writer.write(b"0123456789" * 10)
        await until(lambda: sum(map(len, recorder.reads)) == 100)
        writer.transport.abort()
    server.close()
    assert b"".join(recorder.reads) == b"0123456789" * 10
    assert max(map(len, recorder.reads)) <= 6, "two may be read as one, all of them may not"


async def test_a_delay_holds_bytes_and_the_end_back_in_their_order(pair: Pair) -> None:
    pair.relay.up.delay = 0.2
    began = asyncio.get_running_loop().time()
    pair.near.write(b"first")
    await asyncio.sleep(0)
    pair.near.write(b"second")
    pair.near.write_eof()
    assert await soon(pair.far_reader.read(-1)) == b"firstsecond"
    # uvloop's clock has whole milliseconds, whose difference in binary may be a little less.
    assert 0.2 <= round(asyncio.get_running_loop().time() - began, 3) < 2


async def test_cutting_resets_both_sides(pair: Pair) -> None:
    pair.relay.cut()
    with pytest.raises(ConnectionResetError):
        await soon(pair.far_reader.read())
    with pytest.raises(ConnectionResetError):
        await soon(pair.near_reader.read())


async def test_a_connection_is_cut_behind_as_many_bytes_as_told(pair: Pair) -> None:
    pair.relay.up = Way(cut_after=10)
    pair.near.write(b"0123456789")
    assert await soon(pair.far_reader.readexactly(10)) == b"0123456789"
    with pytest.raises(ConnectionResetError):
        await soon(pair.far_reader.read())


@pytest.mark.parametrize("near", [False, True])
async def test_half_open_means_that_one_side_is_gone_and_the_other_hears_nothing(
    pair: Pair, near: bool
) -> None:
    sides = [(pair.near_reader, pair.near), (pair.far_reader, pair.far)]
    (gone, _), (deaf, writer) = sides if near else sides[::-1]
    pair.relay.half_open(near=near)
    with pytest.raises(ConnectionResetError):
        await soon(gone.read())
    writer.write(b"into the void" * 100_000)
    await soon(writer.drain())
    assert not deaf.at_eof()


async def test_a_black_hole_swallows_bytes_ends_and_new_connections_until_it_heals(pair: Pair) -> None:
    pair.relay.black_hole()
    pair.near.write(b"late")
    pair.near.write_eof()
    _, other = await asyncio.open_connection("127.0.0.1", pair.relay.port)
    other.write(b"later still")
    with pytest.raises(TimeoutError):
        await soon(pair.far_reader.read(1), 0.1)
    assert pair.target.accepted.empty()
    pair.relay.heal()
    assert await soon(pair.far_reader.read(-1)) == b"late"
    reader, _ = await soon(pair.target.accepted.get())
    assert await soon(reader.readexactly(11)) == b"later still"
    other.transport.abort()


async def test_a_slow_reader_is_felt_by_the_sender(pair: Pair) -> None:
    pair.far_reader._transport.pause_reading()  # type: ignore[attr-defined]
    pair.near.transport.set_write_buffer_limits(high=64 * 1024)
    pair.near.write(b"x" * 64_000_000)
    with pytest.raises(TimeoutError):
        await soon(pair.near.drain(), 0.3)
    pair.near.transport.abort()


async def test_nobody_at_the_far_side_is_a_reset_at_the_near_one() -> None:
    async with relay(lambda: None) as between:
        reader, writer = await asyncio.open_connection("127.0.0.1", between.port)
        with pytest.raises(ConnectionResetError):
            await soon(reader.read())
        writer.transport.abort()
