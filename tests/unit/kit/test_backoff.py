"""Waits between tries."""

import pytest

from tunnel.kit.backoff import FAST_SECONDS, LONGEST_SECONDS, Backoff


def waits(random: float, count: int) -> list[float]:
    backoff = Backoff(lambda: random)
    return [backoff.next_seconds() for _ in range(count)]


def test_the_first_three_tries_are_fast_and_later_ones_double_up_to_ten_seconds() -> None:
    assert waits(1.0, 9) == [FAST_SECONDS] * 3 + [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_half_of_each_wait_is_random() -> None:
    assert waits(0.0, 5) == [each / 2 for each in waits(1.0, 5)]


def test_a_success_starts_over() -> None:
    backoff = Backoff(lambda: 1.0)
    for _ in range(6):
        backoff.next_seconds()
    assert backoff.failures == 6
    backoff.succeeded()
    assert backoff.failures == 0
    assert backoff.next_seconds() == FAST_SECONDS


def test_a_month_of_failures_still_waits_ten_seconds() -> None:
    assert waits(1.0, 5000)[-1] == pytest.approx(LONGEST_SECONDS)


def test_another_pace_has_its_own_fast_tries_and_its_own_longest_wait() -> None:
    backoff = Backoff(lambda: 1.0, fast_tries=0, longest_seconds=60.0)
    assert [backoff.next_seconds() for _ in range(8)] == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
