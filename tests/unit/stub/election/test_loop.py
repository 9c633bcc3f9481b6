"""The elector in simulated time: every number of seconds here is exact, and none of them is waited for."""

import asyncio
from functools import partial
from random import Random

import pytest

from stub.election.events import BecameActive, Lost, NotReleased, StoreFailing, StoreRecovered
from stub.election.loop import RELEASE_SECONDS, boottime, instance_of, new_identity
from stub.election.timing import ElectionTiming
from tests.unit.stub.election.simulated_time import SimulatedLoop, now, simulate, simulated
from tests.unit.stub.election.stage import Player, SharedRecord, playing

TIMING = ElectionTiming()


def pair() -> tuple[SharedRecord, Player, Player]:
    shared = SharedRecord()
    return shared, Player(shared, "one"), Player(shared, "two")


async def first_leads(one: Player) -> None:
    """Wait until the first player has led for a while, so that the second has seen a renewal."""
    while not one.terms:
        await asyncio.sleep(0.01)
    await asyncio.sleep(5.0)
    assert one.elector.holds()


# Taking and losing -------------------------------------------------------------------------------


@simulated
async def test_the_first_stub_leads_at_once_where_there_never_was_a_lease() -> None:
    _, one, two = pair()
    start = now()
    async with playing(one):
        while not one.terms:
            await asyncio.sleep(0.01)
        assert now() - start < 0.1
        async with playing(two):
            await asyncio.sleep(60)
    assert one.kinds() == ["BecameActive"]
    assert two.terms == []


@simulated
async def test_a_crashed_holder_is_followed_exactly_a_lease_behind_the_last_change_seen() -> None:
    shared, one, two = pair()
    async with playing(two, one):
        while not (one.terms or two.terms):
            await asyncio.sleep(0.01)
        first, second = (one, two) if one.terms else (two, one)
        await asyncio.sleep(5.0)
        last_write = shared.writes[-1][0]
        assert first.task is not None
        first.task.cancel()
        while not second.terms:
            await asyncio.sleep(0.001)
    taken_at = shared.writes[-1][0]
    assert taken_at - last_write == pytest.approx(TIMING.lease_seconds, abs=0.02)
    assert second.terms[0].epoch == 2


@simulated
async def test_a_holder_whose_store_hangs_has_stopped_before_the_follower_takes_over() -> None:
    _, one, two = pair()
    async with playing(one):
        await first_leads(one)
        async with playing(two):
            await asyncio.sleep(5.0)
            renewed_at = max(at for at, _ in one.store.bounds)
            one.store.hangs = True
            await asyncio.sleep(30)
    assert one.led[0][1] <= renewed_at + TIMING.renew_deadline_seconds + 1e-6
    assert two.led[0][0] >= renewed_at + TIMING.lease_seconds
    assert any(isinstance(event, Lost) for event in one.events)


@simulated
async def test_every_call_is_bounded_by_less_than_what_remains_of_the_lease() -> None:
    _, one, _ = pair()
    async with playing(one):
        await first_leads(one)
        deadline = one.elector.deadline
        assert deadline is not None
        one.store.hangs = True
        await asyncio.sleep(30)
    while_leading = [(at, bound) for at, bound in one.store.bounds if at < deadline]
    assert all(bound <= TIMING.call_seconds for _, bound in while_leading)
    assert all(at + bound <= deadline + 2.3 for at, bound in while_leading), (
        "the next renewal moved the deadline"
    )


@simulated
async def test_a_process_that_was_paused_past_its_deadline_does_not_hold_the_lease_when_it_wakes() -> None:
    _, one, _ = pair()
    async with playing(one):
        await first_leads(one)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)
        loop.sleep_process(20.0)
        assert not one.elector.holds(), "asked before the elector had a chance to run"
        await asyncio.sleep(5.0)
        assert [type(event) for event in one.events[:3]] == [BecameActive, Lost, BecameActive]
        assert one.terms[1].epoch == 2
    assert one.cleanups_done == 2


@simulated
async def test_a_lease_that_somebody_else_took_is_left_at_the_next_conflict() -> None:
    shared, one, two = pair()
    async with playing(one):
        await first_leads(one)
        assert shared.record is not None
        await two.store.write(shared.record.__class__(holder="foreign", version=shared.record.version), 1.0)
        await asyncio.sleep(3.0)
        assert one.kinds() == ["BecameActive", "Lost"]
        assert not one.elector.holds()
        assert len(one.led) == 1


@simulated
async def test_the_next_term_waits_until_the_leading_work_of_the_last_has_ended() -> None:
    _, one, _ = pair()
    one.cleanup_seconds = 40.0
    async with playing(one):
        await first_leads(one)
        one.store.hangs = True
        await asyncio.sleep(20)
        one.store.hangs = False
        await asyncio.sleep(10)
        assert len(one.terms) == 1
        await asyncio.sleep(30)
        assert len(one.terms) == 2


@simulated
async def test_an_acquisition_whose_answer_was_lost_is_found_in_the_record_by_looking() -> None:
    shared, one, _ = pair()
    one.store.watchable = False
    async with playing(one):
        await asyncio.sleep(0.025)  # behind the first look, before the answer to the first write
        one.store.loses_answers = True
        await asyncio.sleep(1.0)
        one.store.loses_answers = False
        await asyncio.sleep(3.0)
        assert one.elector.holds()
        assert one.terms[0].epoch == 1
    assert len(shared.writes) <= 3


# Letting go --------------------------------------------------------------------------------------


@simulated
async def test_a_stop_ends_the_work_then_empties_the_record_and_a_watching_follower_leads_within_a_second() -> (
    None
):
    shared, one, two = pair()
    one.cleanup_seconds = 0.5
    async with playing(one):
        await first_leads(one)
        async with playing(two):
            await asyncio.sleep(3.0)
            one.elector.stop()
            assert not one.elector.holds(), "from the call on, before anything is awaited"
            assert one.elector.deadline is None
            while not two.terms:
                await asyncio.sleep(0.01)
            released_at, released = next(write for write in shared.writes if not write[1].holder)
            assert released_at >= one.led[0][1] + 0.5
            assert released.duration_seconds == 1
            assert two.terms[0].epoch == one.terms[0].epoch + 1
            assert now() - released_at < 0.1
    assert one.kinds() == ["BecameActive", "Released"]
    assert one.task is not None
    assert one.task.done()
    assert not one.task.cancelled()


@simulated
async def test_a_release_that_meets_a_conflict_is_tried_again() -> None:
    shared, one, _ = pair()
    async with playing(one):
        await first_leads(one)
        assert shared.record is not None
        shared.put(shared.record)  # somebody set a label
        one.elector.stop()
        await asyncio.sleep(1.0)
    assert one.kinds()[-1] == "Released"
    assert shared.record.holder == ""


@simulated
async def test_a_release_whose_answer_was_lost_is_looked_for_and_not_repeated() -> None:
    shared, one, _ = pair()
    async with playing(one):
        await first_leads(one)
        one.store.loses_answers = True
        one.elector.stop()
        await asyncio.sleep(2.0)
        one.store.loses_answers = False
        await asyncio.sleep(2.0)
        assert one.task is not None
        assert one.task.done()
    assert sum(not record.holder for _, record in shared.writes) == 1


@simulated
async def test_the_record_of_another_is_not_emptied() -> None:
    shared, one, two = pair()
    async with playing(one):
        await first_leads(one)
        two.elector.stop()
        async with playing(two):
            await asyncio.sleep(1.0)
        assert shared.record is not None
        assert shared.record.holder == "one"


@simulated
async def test_a_store_that_hangs_does_not_hold_up_the_end() -> None:
    _, one, _ = pair()
    async with playing(one):
        await first_leads(one)
        one.store.hangs = True
        asked_at = now()
        one.elector.stop()
        while one.task is not None and not one.task.done():
            await asyncio.sleep(0.01)
        assert now() - asked_at <= TIMING.call_seconds + RELEASE_SECONDS + 0.1
    assert one.events[-1] == NotReleased("the store did not take it in time")


@simulated
async def test_a_second_stop_does_without_the_release_but_not_without_the_end_of_the_work() -> None:
    _, one, _ = pair()
    one.cleanup_seconds = 1.0
    async with playing(one):
        await first_leads(one)
        one.store.hangs = True
        one.elector.stop()
        one.elector.stop()
        asked_at = now()
        while one.task is not None and not one.task.done():
            await asyncio.sleep(0.01)
        assert now() - asked_at <= max(TIMING.call_seconds, 1.0) + 0.1
    assert one.cleanups_done == 1
    assert one.events[-1] == NotReleased("told to end at once")


@simulated
async def test_a_stop_while_the_lease_is_being_taken_releases_it_and_never_leads() -> None:
    shared, one, _ = pair()
    async with playing(one):
        await asyncio.sleep(0.025)
        one.elector.stop()
        await asyncio.sleep(1.0)
    assert one.terms == []
    assert one.kinds() == ["Released"]
    assert [record.holder for _, record in shared.writes] == ["one", ""]


@simulated
async def test_a_stop_behind_an_acquisition_without_an_answer_finds_it_and_releases_it() -> None:
    shared, one, _ = pair()
    one.store.watchable = False
    async with playing(one):
        await asyncio.sleep(0.025)
        one.store.loses_answers = True
        await asyncio.sleep(1.0)
        one.store.loses_answers = False
        one.elector.stop()
        await asyncio.sleep(4.0)
        assert not one.elector.holds()
        assert one.elector.term is None
    assert one.kinds()[-1] == "Released"
    assert [record.holder for _, record in shared.writes] == ["one", ""]


@simulated
async def test_being_cancelled_ends_the_work_and_leaves_the_record() -> None:
    shared, one, _ = pair()
    one.cleanup_seconds = 0.2
    async with playing(one):
        await first_leads(one)
    assert one.cleanups_done == 1
    assert not one.elector.holds()
    assert shared.record is not None
    assert shared.record.holder == "one"


# Leading work that ends by itself ----------------------------------------------------------------


@simulated
async def test_leading_work_that_returns_gives_the_lease_up() -> None:
    shared, one, _ = pair()
    one.resigns_after = 3.0
    async with playing(one):
        await asyncio.sleep(4.0)
        assert one.task is not None
        assert one.task.done()
    assert shared.record is not None
    assert shared.record.holder == ""


@simulated
async def test_leading_work_that_breaks_releases_the_lease_and_is_raised_plainly() -> None:
    shared, one, _ = pair()
    one.resigns_after, one.fault = 3.0, RuntimeError("broken")
    with pytest.raises(RuntimeError, match="broken"):
        await one.elector.run()
    assert shared.record is not None
    assert shared.record.holder == ""
    assert not one.elector.holds()


@simulated
async def test_leading_work_that_returns_when_it_is_told_to_end_does_not_end_the_elector() -> None:
    _, one, _ = pair()
    one.swallows_its_end = True
    async with playing(one):
        await first_leads(one)
        one.store.hangs = True
        await asyncio.sleep(20)
        one.store.hangs = False
        await asyncio.sleep(5)
        assert one.elector.holds()
        assert len(one.terms) == 2


# Everything at once ------------------------------------------------------------------------------


def disturb(player: Player, random: Random) -> None:
    """Switch the faults of a store anew: mostly to none."""
    fault = random.choice(["none", "none", "none", "hangs", "fails", "loses_answers"])
    for name in ("hangs", "fails", "loses_answers"):
        setattr(player.store, name, name == fault)
    player.store.delay = random.choice([0.01, 0.5, 1.4])
    player.store.watchable = random.random() < 0.7


async def look_at_faulty_stores(random: Random) -> int:
    """Play for three minutes; return how many terms there were."""
    shared = SharedRecord()
    players = [Player(shared, f"stub-{number}") for number in range(3)]
    async with playing(*players):
        for turn in range(1800):
            await asyncio.sleep(0.1)
            assert sum(player.elector.holds() for player in players) <= 1
            if turn % 50 == 0:
                disturb(random.choice(players), random)
    epochs = sorted(term.epoch for player in players for term in player.terms)
    assert len(set(epochs)) == len(epochs)
    return len(epochs)


def test_electors_with_faulty_stores_never_hold_the_lease_at_once() -> None:
    terms = [simulate(partial(look_at_faulty_stores, Random(seed))) for seed in range(20)]
    assert sum(terms) > 40, "the faults were not enough to change hands"


# What is told ------------------------------------------------------------------------------------


@simulated
async def test_a_failing_store_is_told_once_and_its_recovery_once() -> None:
    _, one, _ = pair()
    async with playing(one):
        await first_leads(one)
        one.store.fails = True
        await asyncio.sleep(5.0)
        assert one.elector.failing_since is not None
        one.store.fails = False
        await asyncio.sleep(5.0)
        assert one.elector.failing_since is None
    failing, recovered = one.events[1:]
    assert isinstance(failing, StoreFailing)
    assert failing.reason == "the store fails"
    assert isinstance(recovered, StoreRecovered)
    assert 2.0 < recovered.after_seconds < 7.0


@simulated
async def test_without_a_watch_a_release_is_noticed_by_looking() -> None:
    _, one, two = pair()
    two.store.watchable = False
    async with playing(one):
        await first_leads(one)
        async with playing(two):
            await asyncio.sleep(5.0)
            one.elector.stop()
            await asyncio.sleep(TIMING.longest_retry_seconds + 0.2)
            assert two.elector.holds()


@simulated
async def test_a_watching_standby_makes_no_calls_while_the_holder_renews() -> None:
    _, one, two = pair()
    async with playing(one):
        await first_leads(one)
        async with playing(two):
            await asyncio.sleep(60.0)
            assert len(two.store.bounds) == 1


@simulated
async def test_a_loop_that_runs_says_when_it_last_did() -> None:
    _, one, _ = pair()
    async with playing(one):
        for _ in range(20):
            await asyncio.sleep(1.0)
            assert one.elector.silent_seconds <= TIMING.call_seconds


def test_no_two_processes_have_one_identity() -> None:
    assert new_identity("pod") != new_identity("pod")
    assert new_identity("x" * 5000).startswith("xxx")
    assert len(new_identity("x" * 5000)) < 256


@pytest.mark.parametrize(
    ("identity", "instance"),
    [
        (new_identity("my_pod", "0123456789abcdef"), "0123456789abcdef"),
        ("somebody else", None),
        ("pod_0123456789abcdef0", None),
        ("", None),
    ],
)
def test_an_identity_tells_the_instance_that_it_was_made_with(identity: str, instance: str | None) -> None:
    assert instance_of(identity) == instance


def test_the_clock_does_not_go_back() -> None:
    assert boottime() <= boottime()
