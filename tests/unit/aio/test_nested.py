"""A stream on a stream: nothing is lost, overwritten or reordered, whenever either side pauses."""

import asyncio
import random

import pytest

from tests.unit.fakes import FakeStream, settle
from tunnel.aio.nested import NestedTransport
from tunnel.aio.plain import PlainStream
from tunnel.aio.sockets import PLAIN_LEG
from tunnel.aio.stream import ByteStream

BUDGET = 1000


class Owner:
    """Of the inner stream. It pauses behind each piece where it is told to."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.calls: list[str] = []
        self.error: Exception | None = None
        self.pauses = False
        self.overwrites = bytearray()

    def stream_opened(self, stream: ByteStream) -> None:
        self.stream = stream

    def stream_received(self, data: memoryview) -> None:
        self.data += data
        self.overwrites[:] = bytes(len(self.overwrites))
        if self.pauses:
            self.stream.pause_reading()

    def stream_ended(self) -> None:
        self.calls.append("ended")

    def stream_write_paused(self) -> None:
        self.calls.append("paused")

    def stream_write_resumed(self) -> None:
        self.calls.append("resumed")

    def stream_closed(self, error: Exception | None) -> None:
        self.calls.append("closed")
        self.error = error


class Pair:
    """An inner stream, its owner, and the outer one."""

    def __init__(self) -> None:
        self.outer = FakeStream()
        self.owner = Owner()
        inner = PlainStream(
            asyncio.get_running_loop(),
            lambda stream: self.owner,
            lambda stream, error: self.owner.stream_closed(error),
            options=PLAIN_LEG,
            read_budget=BUDGET,
        )
        self.transport = NestedTransport(self.outer, inner)
        self.transport.start()
        self.inner = inner


@pytest.fixture
async def pair() -> Pair:
    return Pair()


async def test_the_inner_stream_opens_with_the_outer_ones_peer(pair: Pair) -> None:
    assert pair.owner.stream is pair.inner
    assert pair.inner.peer == "192.0.2.1"


async def test_what_the_outer_stream_delivers_at_once_arrives_in_the_inner_ones_pieces(pair: Pair) -> None:
    data = random.Random(1).randbytes(10 * BUDGET + 7)
    pair.outer.receive(data)
    await settle()
    assert pair.owner.data == data


async def test_what_is_delivered_may_be_overwritten_by_what_the_inner_stream_makes_of_it(pair: Pair) -> None:
    """All streams decrypt into one buffer: the inner one writes where the outer one's plaintext lies."""
    data = random.Random(4).randbytes(3 * BUDGET)
    shared = bytearray(data)
    pair.owner.overwrites = shared
    pair.transport.stream_received(memoryview(shared))
    await settle()
    assert pair.owner.data == data


async def test_what_a_paused_owner_has_not_taken_is_held_and_comes_later(pair: Pair) -> None:
    data = random.Random(2).randbytes(3 * BUDGET)
    pair.owner.pauses = True
    pair.outer.receive(data)
    assert pair.owner.data == data[:BUDGET]
    assert not pair.outer.reading
    for taken in (2, 3):
        pair.inner.resume_reading()
        await settle()
        assert pair.owner.data == data[: taken * BUDGET]
    pair.inner.resume_reading()
    await settle()
    assert pair.outer.reading


async def test_writing_ends_and_pressure_pass_through(pair: Pair) -> None:
    pair.inner.write(b"hello")
    await settle()
    assert pair.outer.take() == b"hello"
    pair.outer.pause_writing()
    pair.outer.resume_writing()
    pair.inner.write_end()
    await settle()
    assert pair.owner.calls == ["paused", "resumed"]
    assert pair.outer.ended


async def test_an_end_of_the_outer_stream_is_one_of_the_inner_one(pair: Pair) -> None:
    pair.outer.receive_end()
    assert pair.owner.calls == ["ended"]
    assert not pair.outer.closing


@pytest.mark.parametrize("error", [None, ConnectionResetError("reset")])
async def test_a_lost_outer_stream_loses_the_inner_one(pair: Pair, error: Exception | None) -> None:
    pair.outer.lose(error)
    assert pair.owner.calls == ["closed"]
    if error is not None:
        assert pair.owner.error is error


async def test_aborting_the_inner_stream_aborts_the_outer_one(pair: Pair) -> None:
    pair.inner.abort()
    assert pair.outer.aborted
    pair.outer.lose()
    assert pair.owner.calls == ["closed"]


async def test_closing_the_inner_stream_ends_the_outer_one_and_closes_it_behind_the_peers_end(
    pair: Pair,
) -> None:
    pair.inner.write(b"last words")
    pair.inner.close()
    await settle()
    assert pair.outer.take() == b"last words"
    assert pair.outer.ended
    pair.outer.receive_end()
    assert pair.outer.closed
    pair.outer.lose()
    assert pair.owner.calls == ["closed"]
