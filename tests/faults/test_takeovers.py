"""One active stub at every moment, and another one soon behind it."""

import asyncio
from pathlib import Path

from tests.faults import takeovers
from tests.faults.fleet import SHORT, Plan, fleet
from tests.faults.takeovers import Takeover

PLAN = Plan(stubs=2, agents=2)


def check_exclusion(found: Takeover) -> None:
    """No request was written by two stubs, and the new one had its agents already."""
    assert found.overlap.turns == 1
    assert found.overlap.proven == 0
    assert found.both == 0
    assert found.redialled == 0


async def test_a_stub_that_ends_hands_over_within_a_second_and_no_request_fails(tmp_path: Path) -> None:
    async with fleet(tmp_path, PLAN) as found:
        takeover = await takeovers.hand_over(found)
        assert takeover.silence < 1
        assert not takeover.book.failed, takeover.book.described()
        assert takeover.book.miscounted(found.counting.created) == []
        check_exclusion(takeover)


async def test_a_stub_that_crashes_is_followed_within_its_lease_and_a_second(tmp_path: Path) -> None:
    async with fleet(tmp_path, PLAN) as found:
        takeover = await takeovers.crash(found)
        assert takeover.silence < SHORT.lease + 1
        assert takeover.book.miscounted(found.counting.created) == []
        check_exclusion(takeover)


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
        takeover = await takeovers.lose_the_api(found)
        assert takeover.silence > 0
        assert takeover.follows < SHORT.lease + 1
        assert not takeover.book.failed, takeover.book.described()
        assert takeover.book.miscounted(found.counting.created) == []
        check_exclusion(takeover)


async def test_wall_clocks_that_differ_by_ten_minutes_make_no_second_leader_and_no_early_one(
    tmp_path: Path,
) -> None:
    async with fleet(tmp_path, Plan(stubs=2, agents=1, wall_clocks=(600, -600))) as found:
        active = await found.active()
        await asyncio.sleep(1.5 * SHORT.lease)
        assert sum(stub.has_said("became the active stub") for stub in found.stubs) == 1
        assert await active.is_active()
        takeover = await takeovers.crash(found)
        assert SHORT.lease - SHORT.deadline < takeover.silence < SHORT.lease + 1
        check_exclusion(takeover)
