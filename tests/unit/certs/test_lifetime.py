"""Dates."""

from datetime import UTC, datetime, timedelta

import pytest

from certs.lifetime import CLOCK_SKEW, Lifetime, date_text, duration_text

NOW = datetime(2026, 6, 1, 12, 0, 0, 999, tzinfo=UTC)
LIFE = Lifetime.starting(NOW, timedelta(hours=12))


def test_a_life_begins_a_little_before_it_was_asked_for() -> None:
    assert LIFE.not_before == datetime(2026, 6, 1, 12, tzinfo=UTC) - CLOCK_SKEW
    assert LIFE.not_after == datetime(2026, 6, 2, tzinfo=UTC)


@pytest.mark.parametrize("life", [timedelta(0), timedelta(days=-1), timedelta(days=3_000_000)])
def test_a_life_that_no_certificate_can_have_is_refused(life: timedelta) -> None:
    with pytest.raises(ValueError, match="a certificate"):
        Lifetime.starting(NOW, life)


def test_a_life_is_cut_to_that_of_the_authority() -> None:
    authority = Lifetime.starting(NOW, timedelta(hours=1))
    assert LIFE.within(authority).not_after == authority.not_after
    assert authority.within(LIFE) == authority


def test_both_dates_belong_to_the_life() -> None:
    assert LIFE.problem_at(LIFE.not_before) is None
    assert LIFE.problem_at(LIFE.not_after) is None


def test_a_problem_says_since_when_and_until_when() -> None:
    late = LIFE.problem_at(LIFE.not_after + timedelta(days=3))
    early = LIFE.problem_at(LIFE.not_before - timedelta(minutes=2))
    assert late == "expired 3 d ago, on 2026-06-02 00:00:00 UTC"
    assert early == "is not valid before 2026-06-01 11:55:00 UTC, which is 2 min ahead"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.5, "less than 1 s"), (59, "59 s"), (3599, "59 min"), (86400, "1 d")]
)
def test_durations_are_in_the_largest_unit_they_fill(seconds: float, text: str) -> None:
    assert duration_text(timedelta(seconds=seconds)) == text


def test_dates_are_in_utc() -> None:
    assert date_text(NOW) == "2026-06-01 12:00:00 UTC"
