"""The benchmarks without connections still do what they measure."""

import asyncio

import pytest

from tests.bench.core import RATES, allocated, rate
from tests.bench.request_path import prepared, run


@pytest.mark.parametrize("title", RATES)
def test_each_rate_is_of_work_that_is_really_done(title: str) -> None:
    make, _ = RATES[title]
    assert make()() > 0
    assert rate(make(), 0.01) > 0


@pytest.mark.parametrize("side", ["stub", "agent"])
async def test_a_request_leaves_no_memory_behind(side: str) -> None:
    """Less than one block in ten requests: caches of a fixed size may still fill."""
    async with prepared(side) as once:
        peak, kept = await allocated(once)
        await asyncio.sleep(0)
    assert kept < 0.1
    assert 0 < peak < 64


def test_the_callbacks_of_both_sides_can_be_timed() -> None:
    found = run(requests=20, rounds=1)
    assert set(found) == {"stub", "agent"}
    assert all(0 < each < float("inf") for each in found.values())
