"""How the bodies of many uploads share one session."""

from collections import Counter

import pytest

from tests.unit.core.session.pair import Pair, greeted, of, upload
from tests.unit.fakes import Clock, FakeStream, settle
from tunnel.aio.bodies import UploadBody, Uploads
from tunnel.aio.session import SessionRunner
from tunnel.core import limits
from tunnel.core.identifiers import RequestId
from tunnel.core.session.events import BodyBroken, BodyEnded, BodyReceived, BodyWanted, StubEvent

PIECE = bytes(16 * limits.KIB)
WINDOW = limits.STREAM_WINDOW_BYTES


class Sending:
    """The stub's end of a session whose agent is a real protocol core; nothing arrives there before `arrived`."""

    def __init__(self) -> None:
        self.pair: Pair = greeted()
        self.stream = FakeStream()
        self.runner: SessionRunner[StubEvent] = SessionRunner(self.pair.stub, self)
        self.stream.open(self.runner)
        self.uploads = Uploads(self.pair.stub, self.runner)
        self.rooms: Counter[int] = Counter()

    def session_event(self, event: StubEvent) -> None:
        if isinstance(event, BodyWanted):
            self.uploads.wanted(event.id)

    def session_writable(self) -> None:
        self.uploads.pump()

    def session_closed(self, reason: str, *, dead: bool) -> None:
        """Nobody to tell."""

    def begin(self, number: int) -> UploadBody:
        """Announce a body; the agent's end gives its window at once."""
        self.pair.stub.send_request(upload(number))
        body = self.uploads.open(RequestId(number), lambda: self.rooms.update([number]))
        self.arrived()
        return body

    def arrived(self) -> list[object]:
        """What the agent has heard of bodies since this was last asked."""
        self.runner.flush()
        pair = self.pair
        events = pair.agent.receive(self.stream.take(), pair.now)
        back = pair.agent.output()
        if back:
            self.stream.receive(back)
        return [event for event in events if isinstance(event, BodyReceived | BodyEnded | BodyBroken)]

    def consumed(self, number: int, amount: int) -> None:
        """The agent's upstream takes bytes."""
        self.pair.agent.body_consumed(RequestId(number), amount)
        self.stream.receive(self.pair.agent.output())


@pytest.fixture
async def sending(clock: Clock) -> Sending:
    return Sending()


def sizes(events: list[object]) -> list[tuple[int, int]]:
    """Of what was received: whose, and how much."""
    return [(event.id, len(event.data)) for event in of(BodyReceived, events)]


async def test_a_body_arrives_whole_and_ends(sending: Sending) -> None:
    body = sending.begin(1)
    body.write(b"one")
    body.write(b"two")
    body.end()
    events = sending.arrived()
    assert b"".join(event.data for event in of(BodyReceived, events)) == b"onetwo"
    assert isinstance(events[-1], BodyEnded)


async def test_an_empty_body_ends(sending: Sending) -> None:
    sending.begin(1).end()
    assert sending.arrived() == [BodyEnded(RequestId(1))]


async def test_nothing_leaves_while_the_session_is_write_paused(sending: Sending) -> None:
    body = sending.begin(1)
    sending.stream.pause_writing()
    body.write(PIECE)
    assert sending.arrived() == []
    sending.stream.resume_writing()
    assert sizes(sending.arrived()) == [(1, len(PIECE))]


async def test_bodies_take_turns_piece_by_piece(sending: Sending) -> None:
    bodies = [sending.begin(number) for number in (1, 2, 3)]
    sending.stream.pause_writing()
    for body in bodies:
        for _ in range(3):
            body.write(PIECE)
    sending.stream.resume_writing()
    assert [number for number, _ in sizes(sending.arrived())] == [1, 2, 3, 1, 2, 3, 1, 2, 3]


async def test_the_turns_stop_when_enough_waits_and_go_on_in_a_later_one(sending: Sending) -> None:
    body = sending.begin(1)
    sending.stream.waiting_bytes = limits.WRITE_HIGH_BYTES + 1
    body.write(PIECE)
    assert sending.arrived() == []
    sending.stream.waiting_bytes = 0
    await settle()
    assert sizes(sending.arrived()) == [(1, len(PIECE))]


async def test_no_more_is_sent_than_the_window_takes(sending: Sending) -> None:
    body = sending.begin(1)
    for _ in range(2 * WINDOW // len(PIECE)):
        body.write(PIECE)
    assert sum(size for _, size in sizes(sending.arrived())) == WINDOW
    sending.consumed(1, WINDOW)
    assert sum(size for _, size in sizes(sending.arrived())) == WINDOW


async def test_a_piece_larger_than_the_window_is_cut(sending: Sending) -> None:
    body = sending.begin(1)
    body.write(bytes(WINDOW + 10))
    assert sum(size for _, size in sizes(sending.arrived())) == WINDOW
    assert body.waiting_bytes == 10


async def test_a_body_without_room_does_not_hold_up_another(sending: Sending) -> None:
    stalled, quick = sending.begin(1), sending.begin(2)
    stalled.write(bytes(2 * WINDOW))
    sending.arrived()
    quick.write(b"small")
    assert sizes(sending.arrived()) == [(2, 5)]


async def test_a_source_is_stopped_at_the_high_mark_and_let_on_below_half_of_it(sending: Sending) -> None:
    body = sending.begin(1)
    body.write(bytes(WINDOW))
    sending.arrived()
    assert body.write(bytes(limits.WRITE_HIGH_BYTES - 1))
    assert not body.write(b"x")
    assert sending.rooms[1] == 0
    sending.consumed(1, WINDOW)
    assert sending.rooms[1] == 1


async def test_a_broken_body_is_broken_at_the_agent_and_not_sent_on(sending: Sending) -> None:
    body = sending.begin(1)
    sending.stream.pause_writing()
    body.write(PIECE)
    body.break_off()
    sending.stream.resume_writing()
    assert sending.arrived() == [BodyBroken(RequestId(1))]


async def test_breaking_off_behind_the_end_changes_nothing(sending: Sending) -> None:
    body = sending.begin(1)
    body.end()
    body.break_off()
    assert sending.arrived() == [BodyEnded(RequestId(1))]


async def test_what_the_agent_refuses_is_forgotten_and_later_pieces_are_dropped(sending: Sending) -> None:
    body = sending.begin(1)
    body.write(bytes(2 * WINDOW))
    sending.arrived()
    sending.uploads.forget(RequestId(1))
    assert body.waiting_bytes == 0
    body.write(PIECE)
    body.end()
    sending.consumed(1, WINDOW)
    assert sending.arrived() == []


async def test_nothing_is_sent_on_a_closed_session(sending: Sending) -> None:
    body = sending.begin(1)
    sending.runner.close("over")
    body.write(PIECE)
    await settle()
    assert sending.stream.take() == b""
