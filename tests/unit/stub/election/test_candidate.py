"""What a candidate makes of the store's answers."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from stub.election.candidate import Candidate, Term
from stub.election.decision import Acquire, Read, Renew, StepDown, Wait
from stub.election.record import LeaseRecord
from stub.election.timing import ElectionTiming

TIMING = ElectionTiming()
WALL = datetime(2026, 1, 1, tzinfo=UTC)
THEIRS = LeaseRecord("other", 15, "t0", "t0", transitions=4, uid="u", version="1")


def make() -> Candidate:
    return Candidate("me", TIMING, lambda: 0.5)


def renewed(record: LeaseRecord, version: str) -> LeaseRecord:
    return replace(record, version=version, renewed_at=f"renewed-{version}")


def stored(draft: LeaseRecord, version: str = "9") -> LeaseRecord:
    return replace(draft, version=version, uid=draft.uid or "u")


def leading(at: float = 0.0) -> Candidate:
    """A candidate whose first write began at `at` and was answered half a second later."""
    candidate = make()
    candidate.begin_read(at)
    candidate.read(None, at)
    draft = candidate.begin_write(at, WALL)
    candidate.wrote(stored(draft), at + 0.5)
    return candidate


# Taking ------------------------------------------------------------------------------------------


def test_nothing_is_written_before_the_record_was_read() -> None:
    candidate = make()
    assert candidate.decide(0.0) == Read()
    candidate.heard(THEIRS, 0.0)
    assert candidate.decide(100.0) == Read(), "an event of a watch may be old"


def test_a_record_is_watched_for_its_whole_duration_whatever_its_times_say() -> None:
    candidate = make()
    candidate.read(replace(THEIRS, renewed_at="1970-01-01T00:00:00.000000Z"), 100.0)
    assert candidate.decide(114.9) == Read()
    assert candidate.decide(115.0) == Acquire()


@pytest.mark.parametrize(("duration", "free_after"), [(60, 60.0), (5, 5.0), (None, 15.0)])
def test_the_holders_own_duration_counts_or_else_ours(duration: int | None, free_after: float) -> None:
    candidate = make()
    candidate.read(replace(THEIRS, duration_seconds=duration), 0.0)
    assert candidate.observation.free_at == free_after


def test_every_change_that_is_seen_starts_the_wait_anew() -> None:
    candidate = make()
    candidate.read(THEIRS, 0.0)
    candidate.read(renewed(THEIRS, "2"), 14.0)
    assert candidate.observation.free_at == 29.0
    candidate.read(renewed(THEIRS, "2"), 20.0)
    candidate.heard(replace(renewed(THEIRS, "2"), version="3"), 21.0)
    assert candidate.observation.free_at == 29.0, "neither the same again nor a label is a sign of life"


def test_a_released_record_is_free_at_once() -> None:
    candidate = make()
    candidate.read(replace(THEIRS, holder="", duration_seconds=1), 0.0)
    assert candidate.decide(0.0) == Acquire()


def test_a_lease_that_never_was_is_free_at_once_and_a_deleted_one_after_a_lease() -> None:
    fresh, deleted = make(), make()
    fresh.read(None, 0.0)
    assert fresh.decide(0.0) == Acquire()
    deleted.read(replace(THEIRS, holder=""), 0.0)
    deleted.read(None, 1.0)
    assert deleted.observation.free_at == 16.0, "somebody may have taken it unseen before it was deleted"


def test_the_epoch_counts_up_with_every_term_and_never_goes_back() -> None:
    candidate = make()
    candidate.read(THEIRS, 0.0)
    assert candidate.begin_write(15.0, WALL).transitions == 5
    candidate.conflicted(15.1)
    candidate.read(replace(renewed(THEIRS, "2"), transitions=0), 15.2)
    assert candidate.begin_write(31.0, WALL).transitions == 5, "somebody set the record back"
    candidate.conflicted(31.1)
    candidate.read(replace(renewed(THEIRS, "3"), transitions=0, uid="new"), 31.2)
    assert candidate.begin_write(50.0, WALL).transitions == 1, "another lease counts from its own start"


# Holding -----------------------------------------------------------------------------------------


def test_validity_counts_from_the_start_of_the_write() -> None:
    candidate = leading(at=100.0)
    assert candidate.valid_until == 110.0
    assert candidate.holds(109.99)
    assert not candidate.holds(110.0)
    assert candidate.term == Term("u", 1)


def test_a_renewal_keeps_acquire_time_and_epoch_and_changes_renew_time() -> None:
    candidate = leading()
    first = candidate.observation.record
    draft = candidate.begin_write(2.2, WALL)
    assert first is not None
    assert (draft.acquired_at, draft.transitions, draft.version) == (first.acquired_at, 1, "9")
    assert draft.renewed_at != first.renewed_at, "the wall clock stood still; others know life by a change"


def test_renewals_begin_one_retry_apart_however_slow_their_answers() -> None:
    candidate = leading()
    assert candidate.decide(0.5) == Wait(2.2)
    candidate.begin_write(2.2, WALL)
    candidate.failed(4.7)
    assert candidate.decide(4.7) == Renew()


def test_a_call_takes_no_longer_than_what_remains() -> None:
    candidate = leading()
    assert candidate.call_seconds(2.0) == 2.5
    assert candidate.call_seconds(9.0) == 1.0
    assert candidate.call_seconds(11.0) == 0.0


def test_a_conflict_means_reading_again_and_the_answer_decides() -> None:
    candidate = leading()
    candidate.begin_write(2.2, WALL)
    candidate.conflicted(2.3)
    assert candidate.decide(2.3) == Read()
    candidate.begin_read(2.3)
    candidate.read(replace(THEIRS, holder="other"), 2.4)
    assert isinstance(candidate.decide(2.4), StepDown)


def test_an_answer_that_names_another_holder_is_a_conflict() -> None:
    candidate = leading()
    draft = candidate.begin_write(2.2, WALL)
    candidate.wrote(replace(draft, holder="other"), 2.3)
    assert candidate.decide(2.3) == Read()
    assert candidate.valid_until == 10.0


def test_what_a_watch_tells_is_ignored_while_leading() -> None:
    candidate = leading()
    candidate.heard(THEIRS, 1.0)
    assert candidate.decide(1.0) == Wait(2.2)


# Lost answers ------------------------------------------------------------------------------------


def test_a_write_whose_answer_was_lost_counts_from_its_start_once_it_is_found_in_the_record() -> None:
    candidate = leading()
    draft = candidate.begin_write(2.2, WALL)
    candidate.failed(4.7)
    candidate.begin_write(4.7, WALL)
    candidate.conflicted(5.0)
    candidate.begin_read(5.0)
    candidate.read(stored(draft, "10"), 6.0)
    assert candidate.valid_until == pytest.approx(12.2)


def test_an_acquisition_whose_answer_was_lost_is_found_too() -> None:
    candidate = make()
    candidate.read(None, 0.0)
    draft = candidate.begin_write(0.0, WALL)
    candidate.failed(2.5)
    assert candidate.term is None
    candidate.read(stored(draft), 3.0)
    assert candidate.valid_until == 10.0


def test_a_write_found_too_late_begins_no_term() -> None:
    candidate = make()
    candidate.read(None, 0.0)
    draft = candidate.begin_write(0.0, WALL)
    candidate.failed(2.5)
    candidate.read(stored(draft), 10.0)
    assert candidate.term is None
    assert candidate.decide(10.0) == Acquire(), "the record is ours, so nobody has to be waited for"


def test_a_renewal_in_doubt_does_not_revive_a_term_that_ended() -> None:
    candidate = leading()
    draft = candidate.begin_write(2.2, WALL)
    candidate.failed(4.7)
    candidate.resign()
    candidate.read(stored(draft, "10"), 5.0)
    assert candidate.term is None
    assert candidate.begin_write(5.0, WALL).transitions == 2


def test_an_answer_that_comes_behind_the_resignation_does_not_revive_the_term() -> None:
    candidate = leading()
    draft = candidate.begin_write(2.2, WALL)
    candidate.resign()
    candidate.wrote(stored(draft, "10"), 2.3)
    assert not candidate.holds(2.3)
    assert candidate.must_read


def test_two_writes_in_doubt_are_told_apart_though_the_wall_clock_was_set_back() -> None:
    candidate = leading()
    drafts = []
    for at in (2.2, 4.7):
        drafts.append(candidate.begin_write(at, WALL - timedelta(hours=1)))
        candidate.failed(at + 2.5)
    assert drafts[0].renewed_at != drafts[1].renewed_at
    candidate.read(stored(drafts[0], "10"), 7.2)
    assert candidate.valid_until == pytest.approx(12.2)


# Pace --------------------------------------------------------------------------------------------


def test_a_conflict_over_a_record_that_did_not_change_is_not_repeated_at_once() -> None:
    """A lock that somebody holds without renewing: the file store's paused holder."""
    candidate = make()
    candidate.read(THEIRS, 0.0)
    candidate.begin_write(15.0, WALL)
    candidate.conflicted(15.0)
    candidate.begin_read(15.0)
    candidate.read(THEIRS, 15.0)
    assert candidate.decide(15.0) == Wait(pytest.approx(17.2))
    candidate.read(replace(THEIRS, version="2"), 15.5)
    assert candidate.decide(15.5) == Acquire(), "a label was set in between; the wait was long enough"


def test_a_watched_record_is_read_only_when_the_watch_is_silent() -> None:
    candidate = make()
    candidate.watched = True
    candidate.read(THEIRS, 0.0)
    assert candidate.decide(0.0) == Wait(5.0)


# Giving up ---------------------------------------------------------------------------------------


def test_a_release_has_no_holder_and_one_second_and_keeps_the_epoch() -> None:
    candidate = leading()
    candidate.resign()
    draft = candidate.begin_release(1.0, WALL)
    assert draft is not None
    assert (draft.holder, draft.duration_seconds, draft.transitions) == ("", 1, 1)


def test_a_record_of_somebody_else_is_not_released() -> None:
    candidate = make()
    candidate.read(THEIRS, 0.0)
    assert candidate.begin_release(0.0, WALL) is None
    assert not candidate.may_be_in_record


def test_a_release_in_doubt_that_is_found_in_the_record_is_no_new_term() -> None:
    candidate = leading()
    candidate.resign()
    draft = candidate.begin_release(1.0, WALL)
    assert draft is not None
    candidate.failed(2.0)
    assert candidate.must_read
    candidate.read(stored(draft, "10"), 2.1)
    assert candidate.term is None
