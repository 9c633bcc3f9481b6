"""What is done when, by numbers."""

from dataclasses import replace
from math import inf

import pytest

from stub.election.decision import Acquire, Decision, Observation, Read, Renew, StepDown, Wait, decide
from stub.election.record import LeaseRecord

OURS = LeaseRecord(holder="me", version="1")
THEIRS = LeaseRecord(holder="other", version="1")

STANDBY = Observation(
    identity="me",
    record=THEIRS,
    stale=False,
    free_at=15.0,
    deference=0.0,
    valid_until=None,
    call_after=-inf,
    write_after=-inf,
    read_at=2.2,
)
HOLDER = replace(STANDBY, record=OURS, free_at=-inf, valid_until=10.0, call_after=2.2)


@pytest.mark.parametrize(
    ("seen", "now", "expected"),
    [
        (replace(STANDBY, stale=True), 0.0, Read()),
        (STANDBY, 0.0, Wait(2.2)),
        (STANDBY, 2.2, Read()),
        (replace(STANDBY, read_at=16.0), 14.999, Wait(15.0)),
        (replace(STANDBY, read_at=16.0), 15.0, Acquire()),
        (replace(STANDBY, read_at=14.0), 15.0, Acquire()),
        (replace(STANDBY, call_after=16.0), 15.0, Wait(16.0)),
        (replace(STANDBY, write_after=16.0, read_at=17.0), 15.0, Wait(16.0)),
        (replace(STANDBY, write_after=16.0), 15.0, Read()),
        (replace(STANDBY, stale=True, call_after=3.0), 2.0, Wait(3.0)),
        (replace(STANDBY, stale=True, free_at=-inf), 0.0, Read()),
        (replace(STANDBY, record=None, free_at=-inf), 0.0, Acquire()),
        (replace(STANDBY, record=None, free_at=-inf, deference=5.0), 0.0, Acquire()),
        (replace(STANDBY, read_at=30.0, deference=5.0), 15.0, Wait(20.0)),
        (replace(STANDBY, deference=5.0), 19.999, Read()),
        (replace(STANDBY, deference=5.0), 20.0, Acquire()),
        (replace(STANDBY, read_at=30.0, deference=5.0, write_after=19.0), 15.0, Wait(20.0)),
    ],
)
def test_a_standby_waits_for_the_observed_expiry_and_looks_meanwhile(
    seen: Observation, now: float, expected: Decision
) -> None:
    assert decide(seen, now) == expected


@pytest.mark.parametrize(
    ("seen", "now", "expected"),
    [
        (HOLDER, 1.0, Wait(2.2)),
        (HOLDER, 2.2, Renew()),
        (HOLDER, 9.999, Renew()),
        (HOLDER, 10.0, StepDown("the lease could not be renewed in time")),
        (replace(HOLDER, call_after=12.0), 9.0, Wait(10.0)),
        (replace(HOLDER, stale=True), 3.0, Read()),
        (replace(HOLDER, stale=True, record=THEIRS), 3.0, Read()),
        (replace(HOLDER, stale=True, write_after=5.0), 3.0, Read()),
        (replace(HOLDER, write_after=5.0), 3.0, Wait(5.0)),
        (replace(HOLDER, stale=True), 10.0, StepDown("the lease could not be renewed in time")),
        (replace(HOLDER, record=THEIRS), 1.0, StepDown("the lease was taken by 'other'")),
        (replace(HOLDER, record=LeaseRecord()), 1.0, StepDown("the lease was cleared by somebody else")),
        (replace(HOLDER, record=None), 1.0, StepDown("the lease was deleted")),
    ],
)
def test_a_holder_renews_in_time_or_steps_down(seen: Observation, now: float, expected: Decision) -> None:
    assert decide(seen, now) == expected


def test_a_holder_with_an_endless_name_makes_no_endless_log_line() -> None:
    decision = decide(replace(HOLDER, record=LeaseRecord(holder="x" * 10**6)), 1.0)
    assert isinstance(decision, StepDown)
    assert len(decision.reason) < 200
