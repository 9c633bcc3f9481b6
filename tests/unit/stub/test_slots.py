"""Which cluster a slot stands for, and when that changes."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stub.slots import SETTLE_SECONDS, Slot, SlotBoard, Switch, Timer
from tunnel.core.identifiers import ClusterId

SLOT, BLUE, GREEN, RED = (ClusterId(name) for name in ("prod", "blue", "green", "red"))
ORDER = (BLUE, GREEN, RED)
LATER = SETTLE_SECONDS


@pytest.fixture
def slot() -> Slot:
    return Slot(SLOT, ORDER, SETTLE_SECONDS, 0.0)


def test_the_preferred_cluster_takes_it_as_soon_as_it_is_there(slot: Slot) -> None:
    assert slot.connected(BLUE, 0.1) == Switch(SLOT, None, BLUE)
    assert (slot.holder, slot.switches) == (BLUE, 0)


def test_before_anybody_is_there_the_preferred_one_would_be_asked(slot: Slot) -> None:
    assert (slot.holder, slot.target) == (None, BLUE)


def test_another_waits_for_the_preferred_one_first(slot: Slot) -> None:
    assert slot.connected(GREEN, 0.1) is None
    assert slot.next_tick == LATER
    assert slot.tick(LATER) == Switch(SLOT, None, GREEN)
    assert slot.connected(BLUE, LATER + 1) is None


def test_others_that_are_connected_do_not_interfere(slot: Slot) -> None:
    slot.connected(BLUE, 0)
    assert slot.connected(RED, 100) is None
    assert slot.connected(GREEN, 200) is None
    slot.gone(RED, 300)
    assert slot.tick(1000) is None
    assert slot.target == BLUE


def test_the_next_in_order_takes_over_when_the_holder_has_been_gone_for_long_enough(slot: Slot) -> None:
    for cluster in (BLUE, RED, GREEN):
        slot.connected(cluster, 0)
    slot.gone(BLUE, 100)
    assert slot.tick(100 + LATER - 0.1) is None
    assert slot.target == BLUE
    assert slot.next_tick == 100 + LATER
    assert slot.tick(100 + LATER) == Switch(SLOT, BLUE, GREEN)
    assert slot.switches == 1


def test_a_holder_that_returns_in_time_keeps_it(slot: Slot) -> None:
    slot.connected(BLUE, 0)
    slot.connected(GREEN, 0)
    slot.gone(BLUE, 100)
    assert slot.connected(BLUE, 105) is None
    assert slot.tick(1000) is None
    assert slot.next_tick == float("inf")


def test_it_does_not_move_back_by_itself(slot: Slot) -> None:
    slot.connected(BLUE, 0)
    slot.connected(GREEN, 0)
    slot.gone(BLUE, 0)
    slot.tick(LATER)
    assert slot.connected(BLUE, 100) is None
    assert slot.target == GREEN
    slot.gone(GREEN, 200)
    assert slot.tick(200 + LATER) == Switch(SLOT, GREEN, BLUE)


def test_a_slot_of_which_nobody_is_left_stays_with_its_holder_and_the_next_to_come_takes_it(
    slot: Slot,
) -> None:
    slot.connected(BLUE, 0)
    slot.gone(BLUE, 100)
    assert slot.next_tick == float("inf")
    assert slot.tick(1000) is None
    assert slot.target == BLUE
    assert slot.connected(RED, 2000) == Switch(SLOT, BLUE, RED)


steps = st.lists(st.tuples(st.sampled_from(ORDER), st.booleans(), st.floats(0, 30)), max_size=30)


@given(steps)
def test_whatever_comes_and_goes_it_moves_only_from_a_cluster_that_is_gone_to_one_that_is_there(
    history: list[tuple[ClusterId, bool, float]],
) -> None:
    slot, now, there = Slot(SLOT, ORDER, SETTLE_SECONDS, 0.0), 0.0, set[ClusterId]()
    for cluster, arrives, seconds in history:
        now += seconds
        switch = slot.tick(now)
        if switch is None and arrives:
            there.add(cluster)
            switch = slot.connected(cluster, now)
        elif not arrives:
            there.discard(cluster)
            slot.gone(cluster, now)
            continue
        if switch is not None:
            assert switch.before not in there
            assert switch.after in there


# The board --------------------------------------------------------------------------------------


@dataclass
class FakeClock:
    now: float = 0.0
    timers: list["FakeTimer"] = field(default_factory=list)

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: object) -> Timer:
        timer = FakeTimer(self, when, callback)
        self.timers.append(timer)
        return timer

    def advance(self, seconds: float) -> None:
        self.now += seconds
        for timer in [timer for timer in self.timers if timer.when <= self.now]:
            self.timers.remove(timer)
            timer.callback()  # type: ignore[operator]


@dataclass(eq=False)
class FakeTimer:
    clock: FakeClock
    when: float
    callback: object

    def cancel(self) -> None:
        self.clock.timers.remove(self)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def switches() -> list[Switch]:
    return []


@pytest.fixture
def board(clock: FakeClock, switches: list[Switch]) -> SlotBoard:
    return SlotBoard({SLOT: (BLUE, GREEN)}, SETTLE_SECONDS, clock, switches.append)


def test_a_switch_is_told_and_the_first_holder_is_none(
    board: SlotBoard, clock: FakeClock, switches: list[Switch]
) -> None:
    board.cluster_connected(BLUE)
    board.cluster_connected(GREEN)
    board.cluster_connected(RED)
    assert switches == []
    board.cluster_gone(BLUE)
    clock.advance(LATER)
    assert switches == [Switch(SLOT, BLUE, GREEN)]
    assert [slot.target for slot in board] == [GREEN]
    assert clock.timers == []


def test_a_name_that_is_no_slot_is_a_cluster(board: SlotBoard) -> None:
    assert board.get(BLUE) is None
    assert board.get(SLOT) is not None


def test_a_closed_board_moves_nothing(board: SlotBoard, clock: FakeClock, switches: list[Switch]) -> None:
    board.cluster_connected(BLUE)
    board.cluster_connected(GREEN)
    board.cluster_gone(BLUE)
    board.close()
    clock.advance(2 * LATER)
    assert switches == []
