"""The raw pipe between two connections."""

from dataclasses import dataclass, field

import pytest

from tests.unit.fakes import Clock, FakeStream
from tunnel.aio.errors import TruncatedError
from tunnel.aio.splice import Splice


@dataclass
class Pipe:
    """A splice of two fake connections, and how it said to have ended."""

    left: FakeStream = field(default_factory=FakeStream)
    right: FakeStream = field(default_factory=FakeStream)
    ends: list[tuple[int, int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        def closed(sent: int, received: int, reason: str) -> None:
            self.ends.append((sent, received, reason))

        self.splice = Splice(self.left, self.right, closed, drain_seconds=30)

    def sides(self, which: str) -> tuple[FakeStream, FakeStream]:
        """One side, by name, and the other."""
        return (self.left, self.right) if which == "left" else (self.right, self.left)


both_ways = pytest.mark.parametrize("which", ["left", "right"])


@both_ways
async def test_bytes_go_through_unchanged(which: str) -> None:
    pipe = Pipe()
    one, other = pipe.sides(which)
    one.receive(b"\x00\xff\r\n")
    one.receive(b"more")
    assert other.take() == b"\x00\xff\r\nmore"
    assert one.take() == b""


@both_ways
async def test_an_end_is_passed_on_and_the_other_direction_goes_on(which: str) -> None:
    pipe = Pipe()
    one, other = pipe.sides(which)
    one.receive_end()
    assert other.ended
    assert not other.closing
    other.receive(b"the rest")
    assert one.take() == b"the rest"
    assert pipe.ends == []


@both_ways
async def test_both_ends_close_both_politely_and_count_each_direction(which: str) -> None:
    pipe = Pipe()
    one, other = pipe.sides(which)
    pipe.left.receive(b"12345")
    pipe.right.receive(b"678")
    one.receive_end()
    other.receive_end()
    assert pipe.ends == [(5, 3, "both sides ended")]
    assert one.closed
    assert other.closed
    assert not one.aborted
    assert not other.aborted


async def test_an_end_said_twice_is_one(clock: Clock) -> None:
    pipe = Pipe()
    pipe.left.receive_end()
    pipe.left.receive_end()
    assert pipe.ends == []
    assert not pipe.left.closing


async def test_the_other_direction_drains_for_a_bounded_time(clock: Clock) -> None:
    pipe = Pipe()
    pipe.left.receive_end()
    await clock.advance(29.9)
    assert pipe.ends == []
    await clock.advance(0.2)
    assert pipe.ends == [(0, 0, "one side ended and the other did not within 30 s")]
    assert pipe.left.aborted
    assert pipe.right.aborted


async def test_a_pipe_that_nobody_ends_has_no_time_limit(clock: Clock) -> None:
    pipe = Pipe()
    await clock.advance(86_400)
    assert pipe.ends == []
    assert not pipe.left.closing


@both_ways
async def test_a_cut_looks_cut_on_the_other_side(which: str) -> None:
    pipe = Pipe()
    one, other = pipe.sides(which)
    one.lose(TruncatedError("the peer closed without close_notify"))
    assert other.was_cut
    assert not other.ended
    assert [reason for _, _, reason in pipe.ends] == ["the peer closed without close_notify"]


@both_ways
async def test_a_side_that_closes_in_peace_lets_the_other_have_what_waits(which: str) -> None:
    pipe = Pipe()
    one, other = pipe.sides(which)
    one.lose(None)
    assert other.closed
    assert not other.aborted
    assert [reason for _, _, reason in pipe.ends] == ["one side closed"]


async def test_a_reset_behind_an_end_spares_what_the_other_side_still_has_to_take(clock: Clock) -> None:
    pipe = Pipe()
    pipe.left.receive(b"all of it")
    pipe.left.receive_end()
    pipe.left.lose(ConnectionResetError("reset"))
    assert pipe.right.closed
    assert not pipe.right.aborted


async def test_the_end_is_told_once_and_its_timer_is_gone(clock: Clock) -> None:
    pipe = Pipe()
    pipe.left.receive_end()
    pipe.right.lose(None)
    pipe.left.lose(None)
    await clock.advance(60)
    assert len(pipe.ends) == 1


@both_ways
async def test_what_one_side_does_not_take_the_other_is_not_read_for(which: str) -> None:
    pipe = Pipe()
    one, other = pipe.sides(which)
    one.pause_writing()
    assert not other.reading
    assert one.reading
    one.resume_writing()
    assert other.reading


async def test_aborting_breaks_both_sides_and_says_why() -> None:
    pipe = Pipe()
    pipe.splice.abort("the agent shut down")
    assert pipe.left.aborted
    assert pipe.right.aborted
    assert pipe.ends == [(0, 0, "the agent shut down")]
