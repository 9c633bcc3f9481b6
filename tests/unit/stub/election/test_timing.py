"""The inequality between lease, deadline and retry."""

import pytest

from stub.election.timing import ElectionTiming

DRAIN_DELAY_SECONDS = 5.0
"""How long a stub that handed the lease over still answers, by default."""


def test_the_defaults_keep_the_inequality() -> None:
    timing = ElectionTiming()
    assert timing.lease_seconds > timing.renew_deadline_seconds > timing.longest_retry_seconds


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("lease_seconds", 10),
        ("lease_seconds", 15.0),
        ("lease_seconds", True),
        ("lease_seconds", 3601),
        ("renew_deadline_seconds", 2.4),
        ("renew_deadline_seconds", float("nan")),
        ("retry_seconds", 0),
        ("retry_seconds", float("nan")),
        ("jitter", -0.1),
        ("jitter", 1.1),
    ],
)
def test_a_time_that_breaks_it_is_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"^{field} must be"):
        ElectionTiming(**{field: value})  # type: ignore[arg-type]


def test_a_retry_that_only_its_jitter_makes_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^renew_deadline_seconds must be more than .* \(10.8s\), not 10s$"):
        ElectionTiming(retry_seconds=9.0)


def test_a_lost_call_the_retry_and_its_answer_within_two_seconds_fit_in_the_deadline() -> None:
    timing = ElectionTiming()
    lost = timing.longest_retry_seconds + max(timing.call_seconds, timing.longest_retry_seconds)
    assert lost + 2 * 2.0 < timing.renew_deadline_seconds, "a read and a write behind a lost call"


def test_who_defers_leaves_a_free_lease_for_a_look_of_the_others_and_takes_it_within_a_drain_delay() -> None:
    timing = ElectionTiming()
    assert timing.longest_retry_seconds <= timing.deference_seconds <= DRAIN_DELAY_SECONDS / 2
