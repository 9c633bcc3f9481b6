"""A body's window grows while it is drained, within a budget that is whole again at the end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.core import limits
from tunnel.core.session.window import BodyWindow, WindowBudget

FIRST = limits.STREAM_WINDOW_BYTES


def sizes(window: BodyWindow, turns: int) -> list[int]:
    """The sizes a window has while all that it allows is sent and consumed, again and again."""
    size, found = FIRST, [FIRST]
    for _ in range(turns):
        size += window.consume(size) - size
        found.append(size)
    return found


def test_less_than_half_a_window_is_not_worth_a_frame() -> None:
    window = BodyWindow(WindowBudget(0))
    assert window.consume(FIRST // 2 - 1) == 0
    assert window.consume(1) == FIRST // 2


def test_a_window_doubles_from_256_kib_to_16_mib_and_stays() -> None:
    doubling = [FIRST * 2**turn for turn in range(7)]
    assert doubling[-1] == limits.STREAM_WINDOW_MAX_BYTES == 16 * limits.MIB
    found = sizes(BodyWindow(WindowBudget(limits.SESSION_BODY_BYTES)), 9)
    assert found == [*doubling, doubling[-1], doubling[-1], doubling[-1]]


def test_a_window_does_not_grow_beyond_the_budget() -> None:
    assert sizes(BodyWindow(WindowBudget(FIRST + 5)), 4) == [FIRST, 2 * FIRST] + [2 * FIRST + 5] * 3


def test_a_window_without_a_budget_keeps_its_first_size() -> None:
    assert sizes(BodyWindow(WindowBudget(0)), 3) == [FIRST] * 4


def test_a_closed_window_gives_its_growth_back_once() -> None:
    budget = WindowBudget(FIRST)
    window = BodyWindow(budget)
    sizes(window, 2)
    assert budget.take(1) == 0
    window.close()
    window.close()
    assert budget.take(2 * FIRST) == FIRST


def test_sixteen_uploads_at_full_size_fit_into_the_budget() -> None:
    budget = WindowBudget(limits.SESSION_BODY_BYTES)
    assert [sizes(BodyWindow(budget), 8)[-1] for _ in range(16)] == [limits.STREAM_WINDOW_MAX_BYTES] * 16


@given(
    st.integers(0, 4 * FIRST),
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, FIRST)), max_size=30),
)
def test_credit_is_what_was_consumed_plus_what_the_budget_lent(
    total: int, steps: list[tuple[int, int]]
) -> None:
    budget = WindowBudget(total)
    windows = [BodyWindow(budget) for _ in range(4)]
    consumed, credited = [0] * 4, [0] * 4
    for which, amount in steps:
        consumed[which] += amount
        credited[which] += windows[which].consume(amount)
    # Less than half of a window is kept back; all that is above the consumption was lent.
    lent = sum(max(0, credit - used) for credit, used in zip(credited, consumed, strict=True))
    assert lent <= total
    for window in windows:
        window.close()
    assert budget.take(2 * total + 1) == total


@pytest.mark.parametrize("amount", [FIRST, 5 * FIRST])
def test_a_windows_credit_is_never_more_than_its_largest_size_beyond_the_consumption(amount: int) -> None:
    window = BodyWindow(WindowBudget(10**12))
    given_credit = sum(window.consume(amount) for _ in range(50))
    assert given_credit <= 50 * amount + limits.STREAM_WINDOW_MAX_BYTES - FIRST
