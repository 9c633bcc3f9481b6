"""Never two holders, whatever happens; always one, as long as the store mostly answers.

A failure names the seed of its schedule: `World(schedules.hostile(SEED)).run()` plays it again.
"""

from collections.abc import Iterable

import pytest

from stub.election.timing import ElectionTiming
from tests.unit.stub.election import schedules
from tests.unit.stub.election.simulation import World

TIMING = ElectionTiming()

GAP_SECONDS = TIMING.lease_seconds + 2.5 * TIMING.renew_deadline_seconds + TIMING.deference_seconds
"""Without a holder, at the worst: 1 s until the last write of a process that died takes effect; 7 s until it is seen, past a
look that failed; the lease; then 15 s for an acquisition that meets first a label set by somebody else, then a failed look, a
lost answer, and a failed look for what became of it; and once the time for which everybody who is left defers. No adversary is needed for less than half of that."""

CHUNK = 10_000


def play_hostile(seeds: Iterable[int]) -> None:
    for seed in seeds:
        outcome = World(schedules.hostile(seed)).run()
        assert not outcome.overlaps, f"seed {seed}: two holders: {outcome.overlaps}"
        assert not outcome.epochs_reused, f"seed {seed}: {outcome.epochs_reused}"


def play_fair(seeds: Iterable[int]) -> None:
    for seed in seeds:
        outcome = World(schedules.fair(seed)).run()
        assert not outcome.overlaps, f"seed {seed}: two holders: {outcome.overlaps}"
        assert max(outcome.gaps) <= GAP_SECONDS, f"seed {seed}: {max(outcome.gaps):.1f} s without a holder"


def test_two_never_hold_the_lease_at_once_and_no_epoch_is_used_twice() -> None:
    play_hostile(range(800))


def test_there_is_always_a_holder_within_the_bound_where_no_two_calls_fail_in_a_row() -> None:
    play_fair(range(150))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("chunk", range(9))
def test_two_never_hold_the_lease_at_once_in_ninety_thousand_schedules(chunk: int) -> None:
    play_hostile(range(10**6 + chunk * CHUNK, 10**6 + (chunk + 1) * CHUNK))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_there_is_always_a_holder_within_the_bound_in_ten_thousand_schedules() -> None:
    play_fair(range(10**6, 10**6 + CHUNK))


def test_the_schedules_are_hostile_enough_to_change_hands() -> None:
    outcomes = [World(schedules.hostile(seed)).run() for seed in range(200)]
    assert sum(len(outcome.terms) > 1 for outcome in outcomes) > 80
    assert sum(len({name for _, name, _ in outcome.terms}) > 1 for outcome in outcomes) > 40


@pytest.mark.parametrize(
    ("crash", "watches", "bound"),
    [(True, True, TIMING.lease_seconds + 1), (False, True, 1.0), (False, False, 2.5)],
    ids=["a crash, by the lease and a second", "a stop, watched", "a stop, by looking every 2.4 s at most"],
)
def test_a_quick_store_hands_over_within(crash: bool, watches: bool, bound: float) -> None:
    for seed in range(60):
        outcome = World(schedules.calm(seed, crash=crash, watches=watches)).run()
        assert len(outcome.terms) == 2
        assert max(outcome.gaps[1:]) <= bound, f"seed {seed}"


@pytest.mark.parametrize("crash", [True, False], ids=["a crash", "a stop"])
@pytest.mark.parametrize("watches", [True, False], ids=["watched", "by looking"])
@pytest.mark.parametrize("deferring", [1, 2])
def test_of_two_followers_the_one_that_need_not_defer_leads_and_no_later(
    crash: bool, watches: bool, deferring: int
) -> None:
    bound = TIMING.longest_retry_seconds + 0.1 + (TIMING.lease_seconds if crash else 0)
    for seed in range(30):
        schedule = schedules.calm(seed, crash=crash, watches=watches, deferring=(deferring,))
        outcome = World(schedule).run()
        assert [name for _, name, _ in outcome.terms] == ["stub-0", f"stub-{3 - deferring}"], f"seed {seed}"
        assert max(outcome.gaps[1:]) <= bound, f"seed {seed}"


def test_where_all_defer_one_leads_behind_that() -> None:
    for seed in range(30):
        outcome = World(schedules.calm(seed, crash=False, deferring=(1, 2))).run()
        assert len(outcome.terms) == 2
        assert TIMING.deference_seconds - 0.1 < max(outcome.gaps[1:]) < TIMING.deference_seconds + 1, (
            f"seed {seed}"
        )
