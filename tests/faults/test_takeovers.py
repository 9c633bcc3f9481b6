"""One active stub at every moment, and another one soon behind it."""

import asyncio
from collections.abc import Awaitable, Callable
from math import inf
from pathlib import Path

from tests.faults import takeovers
from tests.faults.fleet import Fleet, Plan, Timing, fleet
from tests.faults.takeovers import Takeover

TIMING = Timing(lease=6, deadline=4.0, retry=1.0, delay=3.0)
"""Shorter ones are kept only by a machine that has nothing else to do."""

PLAN = Plan(stubs=2, agents=2, timing=TIMING)


def check_exclusion(found: Takeover) -> None:
    """No request was written by two stubs, and the new one had its agents already."""
    assert found.overlap.turns == 1
    assert found.overlap.proven == 0
    assert found.both == 0
    assert found.redialled == 0


async def fastest_of_three(found: Fleet, take: Callable[[Fleet], Awaitable[Takeover]], within: float) -> None:
    """What else a machine does may slow down one take-over, or two; what is right is right every time."""
    fastest = inf
    for _ in range(3):
        takeover = await take(found)
        assert takeover.book.miscounted(found.counting.created) == []
        check_exclusion(takeover)
        # What runs ends on a stub that hands over, beside the answers of the next one.
        assert takeover.silence > 0 or take is takeovers.hand_over
        if take is not takeovers.crash:
            assert not takeover.book.failed, takeover.book.described()
        fastest = min(fastest, takeover.silence)
        if fastest < within:
            break
        await found.mend()
    assert fastest < within


async def test_a_stub_that_ends_hands_over_within_a_second_and_no_request_fails(tmp_path: Path) -> None:
    async with fleet(tmp_path, PLAN) as found:
        await fastest_of_three(found, takeovers.hand_over, within=1)


async def test_a_stub_that_crashes_is_followed_within_its_lease_and_a_second(tmp_path: Path) -> None:
    async with fleet(tmp_path, PLAN) as found:
        await fastest_of_three(found, takeovers.crash, within=TIMING.lease + 1)


async def test_a_stub_that_stood_still_past_its_deadline_answers_503(tmp_path: Path) -> None:
    async with fleet(tmp_path, PLAN) as found:
        frozen = await takeovers.freeze(found)
        assert [(each.status, each.fields["retry-after"]) for each in (frozen.waiting, frozen.next)] == [
            (503, "1"),
            (503, "1"),
        ]
        assert frozen.overlap.turns == 1
        assert frozen.overlap.proven == 0


async def test_a_stub_whose_machine_slept_past_its_deadline_answers_503(tmp_path: Path) -> None:
    async with fleet(tmp_path, PLAN) as found:
        answer = await takeovers.oversleep(found)
        assert (answer.status, answer.fields["retry-after"]) == (503, "1")


async def test_a_stub_that_is_cut_off_from_its_lease_ceases_to_answer_before_another_one_begins(
    tmp_path: Path,
) -> None:
    async with fleet(tmp_path, PLAN) as found:
        await fastest_of_three(found, takeovers.lose_the_api, within=TIMING.lease + 1)


async def test_wall_clocks_that_differ_by_ten_minutes_make_no_second_leader_and_no_early_one(
    tmp_path: Path,
) -> None:
    async with fleet(tmp_path, Plan(stubs=2, agents=1, timing=TIMING, wall_clocks=(600, -600))) as found:
        active = await found.active()
        await asyncio.sleep(1.5 * TIMING.lease)
        assert sum(stub.has_said("became the active stub") for stub in found.stubs) == 1
        assert await active.is_active()
        takeover = await takeovers.crash(found)
        assert TIMING.lease - TIMING.deadline < takeover.silence < TIMING.lease + 1
        check_exclusion(takeover)
