"""What joins a session's protocol with its connection."""

import asyncio
from collections.abc import Sequence

from tests.unit.fakes import Clock, FakeStream, settle
from tunnel.aio.session import SessionRunner
from tunnel.core import limits
from tunnel.core.errors import PeerViolation

PER_TURN = 3


class FakeCore:
    """A protocol whose events are the bytes received, one by one and `PER_TURN` in a turn; a zero breaks it."""

    def __init__(self, now: float) -> None:
        self.out = [b"hello"]
        self.next_tick = now + 5
        self.ticks: list[float] = []
        self.lost = False
        self.waiting = b""

    def receive(self, data: bytes | memoryview, now: float) -> Sequence[int]:
        turn, self.waiting = (self.waiting + data)[:PER_TURN], (self.waiting + data)[PER_TURN:]
        if 0 in turn:
            raise PeerViolation("a zero")
        return list(turn)

    @property
    def unread(self) -> bool:
        return bool(self.waiting)

    def output(self) -> bytes:
        data, self.out = b"".join(self.out), []
        return data

    def tick(self, now: float) -> bool:
        self.ticks.append(now)
        self.next_tick = now + 5
        self.out.append(b"ping")
        return self.lost

    def send_reject(self, reason: str) -> None:
        self.out.append(b"reject: " + reason.encode())


class Session:
    """A runner between a fake core and a fake connection; it is the owner itself."""

    def __init__(self, clock: Clock) -> None:
        self.core = FakeCore(clock.now)
        self.runner: SessionRunner[int] = SessionRunner(self.core, self)
        self.stream = FakeStream()
        self.events: list[int] = []
        self.ends: list[tuple[str, bool]] = []
        self.writable = 0
        self.close_at: int | None = None

    def session_event(self, event: int) -> None:
        self.events.append(event)
        if event == self.close_at:
            self.runner.close("enough")

    def session_writable(self) -> None:
        self.writable += 1

    def session_closed(self, reason: str, *, dead: bool) -> None:
        self.ends.append((reason, dead))


def opened(clock: Clock) -> Session:
    session = Session(clock)
    session.stream.open(session.runner)
    session.stream.take()
    return session


async def test_what_the_core_has_to_say_leaves_when_the_connection_opens(clock: Clock) -> None:
    session = Session(clock)
    session.stream.open(session.runner)
    assert session.stream.take() == b"hello"


async def test_the_first_of_a_turn_leaves_at_once_and_the_rest_together_at_its_end(clock: Clock) -> None:
    session = opened(clock)
    for _ in range(2):
        for frame in (b"a", b"b", b"c"):
            session.core.out.append(frame)
            session.runner.flush_soon()
        assert session.stream.take() == b"a"
        await settle(1)
        assert session.stream.take() == b"bc"


async def test_credit_that_the_core_returns_leaves_without_the_owner_asking(clock: Clock) -> None:
    session = opened(clock)
    session.core.out.append(b"credit")
    session.stream.receive(b"\x01")
    await settle()
    assert session.stream.take() == b"credit"


async def test_events_reach_the_owner_in_order(clock: Clock) -> None:
    session = opened(clock)
    session.stream.receive(b"\x01\x02")
    session.stream.receive(b"\x03")
    assert session.events == [1, 2, 3]


async def test_what_is_more_than_a_turn_has_waits_for_the_next_and_nothing_is_read_meanwhile(
    clock: Clock,
) -> None:
    session = opened(clock)
    session.stream.receive(bytes(range(1, 9)))
    assert session.events == [1, 2, 3]
    assert not session.stream.reading
    await settle(1)
    assert session.events == [1, 2, 3, 4, 5, 6]
    assert not session.stream.reading
    await settle(1)
    assert session.events == [1, 2, 3, 4, 5, 6, 7, 8]
    assert session.stream.reading


async def test_others_have_their_turn_between_two_of_a_session(clock: Clock) -> None:
    session = opened(clock)
    seen: list[int] = []
    asyncio.get_running_loop().call_soon(lambda: seen.extend(session.events))
    session.stream.receive(b"\x01\x02\x03\x04\x05\x06")
    await settle(1)
    assert seen == [1, 2, 3]
    assert session.events == [1, 2, 3, 4, 5, 6]


async def test_what_a_turn_has_said_leaves_before_the_next_is_handled(clock: Clock) -> None:
    session = opened(clock)
    session.stream.receive(b"\x01\x02\x03\x04")
    session.core.out.append(b"credit")
    await settle(1)
    assert session.stream.take() == b"credit"


async def test_the_rest_of_a_read_is_forgotten_with_the_session(clock: Clock) -> None:
    session = opened(clock)
    session.stream.receive(b"\x01\x02\x03\x04")
    session.runner.close("over")
    await settle()
    assert session.events == [1, 2, 3]


async def test_a_violation_in_a_later_turn_ends_the_session_as_in_the_first(clock: Clock) -> None:
    session = opened(clock)
    session.stream.receive(b"\x01\x02\x03\x00")
    assert session.ends == []
    await settle()
    assert session.ends == [("a zero", True)]


async def test_nothing_is_told_behind_the_end_of_the_session(clock: Clock) -> None:
    session = opened(clock)
    session.close_at = 2
    session.stream.receive(b"\x01\x02\x03")
    assert session.events == [1, 2]
    assert session.ends == [("enough", False)]


async def test_a_peer_that_breaks_the_protocol_hears_why_and_is_dead(clock: Clock) -> None:
    session = opened(clock)
    session.stream.receive(b"\x00")
    assert session.stream.take() == b"reject: a zero"
    assert session.stream.closed
    assert session.ends == [("a zero", True)]


async def test_a_connection_that_breaks_is_not_a_dead_peer(clock: Clock) -> None:
    session = opened(clock)
    session.stream.lose(ConnectionResetError("reset by peer"))
    assert session.ends == [("the connection broke: reset by peer", False)]


async def test_a_session_that_the_peer_closes_is_not_a_dead_peer(clock: Clock) -> None:
    session = opened(clock)
    session.stream.receive_end()
    assert session.ends == [("the peer closed the session", False)]
    assert session.stream.closed


async def test_a_peer_that_stops_answering_is_dead_and_its_connection_broken_off(clock: Clock) -> None:
    session = opened(clock)
    session.core.lost = True
    await clock.advance(5)
    assert session.stream.aborted
    assert session.ends == [("the peer stopped answering", True)]


async def test_the_core_is_asked_at_the_times_it_names(clock: Clock) -> None:
    session = opened(clock)
    start = clock.now
    await clock.advance(4.9)
    assert session.core.ticks == []
    await clock.advance(0.1)
    await clock.advance(5)
    assert session.core.ticks == [start + 5, start + 10]
    assert session.stream.take() == b"pingping"


async def test_a_look_between_two_times_takes_the_place_of_the_next_one(clock: Clock) -> None:
    session = opened(clock)
    await clock.advance(1)
    session.runner.look_now()
    session.runner.flush()
    assert session.stream.take() == b"ping"
    await clock.advance(4)
    assert session.core.ticks == [clock.now - 4]


async def test_nobody_looks_at_a_session_that_is_over(clock: Clock) -> None:
    session = opened(clock)
    session.runner.close("over")
    session.runner.look_now()
    assert session.core.ticks == []


async def test_no_timer_outlives_the_session(clock: Clock) -> None:
    session = opened(clock)
    session.runner.close("over")
    await clock.advance(60)
    assert session.core.ticks == []


async def test_closing_sends_what_waits_first(clock: Clock) -> None:
    session = opened(clock)
    session.core.out.append(b"last words")
    session.runner.close("over")
    assert session.stream.take() == b"last words"
    assert session.stream.closed


async def test_the_end_is_told_once(clock: Clock) -> None:
    session = opened(clock)
    session.runner.close("first")
    session.runner.reject("second")
    session.stream.lose()
    assert session.ends == [("first", False)]


async def test_what_is_asked_to_leave_soon_stays_when_the_session_is_closed(clock: Clock) -> None:
    session = opened(clock)
    session.runner.close("over")
    session.core.out.append(b"late")
    session.runner.flush_soon()
    await settle()
    assert session.stream.take() == b""


async def test_the_owner_hears_when_bodies_may_go_on(clock: Clock) -> None:
    session = opened(clock)
    session.stream.pause_writing()
    assert session.runner.write_paused
    assert session.writable == 0
    session.stream.resume_writing()
    assert not session.runner.write_paused
    assert session.writable == 1


async def test_a_session_is_congested_as_soon_as_more_waits_than_may(clock: Clock) -> None:
    session = opened(clock)
    session.stream.waiting_bytes = limits.WRITE_HIGH_BYTES
    assert not session.runner.congested
    session.stream.waiting_bytes += 1
    assert session.runner.congested


async def test_a_session_that_was_never_opened_can_be_closed(clock: Clock) -> None:
    session = Session(clock)
    session.runner.reject("not today")
    assert session.ends == [("not today", True)]
