"""Agents that are killed, and links that break, stall and crumble."""

import asyncio
from pathlib import Path

import pytest

from tests.faults import losses
from tests.faults.fleet import CLUSTER, Plan, fleet
from tests.faults.load import Client, load
from tests.faults.relay import Way

OUT_SECONDS = 15.0
"""Within this an agent that does not answer is out of the pick."""

LATE_SECONDS = 3.0
"""What takes no time, on a machine that has much else to do."""

RELAYED = Plan(stubs=1, agents=2, lease="none", relayed=True)


async def test_a_killed_agent_touches_only_what_it_carried_and_reads_are_tried_elsewhere(
    tmp_path: Path,
) -> None:
    async with fleet(tmp_path, Plan(stubs=1, lease="none")) as found:
        killed = await losses.kill_an_agent(found)
        assert killed.gets > 0
        assert killed.retried == killed.gets
        assert killed.elsewhere == 0
        assert killed.miscounted == []
        assert killed.unlucky == []
        # What had been written cannot be taken back, and whether it took effect is not known: nobody is asked to do it again.
        assert [(each.status, each.attempts) for each in killed.failed] == [(502, 1)] * killed.posts
        assert all(found.counting.created[each.name] == 1 for each in killed.failed)


@pytest.mark.slow
async def test_an_agent_behind_a_black_hole_is_out_within_15_seconds(tmp_path: Path) -> None:
    async with fleet(tmp_path, RELAYED) as found:
        vanished = await losses.black_hole_an_agent(found)
        assert vanished.out_seconds < OUT_SECONDS
        assert len(vanished.book.failed) < len(vanished.book.outcomes) / 10, vanished.book.described()
        assert vanished.unlucky == []
        assert vanished.book.miscounted(found.counting.created) == []
        await found.whole()


@pytest.mark.slow
async def test_an_agent_that_is_not_told_of_its_broken_connections_comes_back_within_15_seconds(
    tmp_path: Path,
) -> None:
    async with fleet(tmp_path, RELAYED) as found:
        client = Client(lambda: found.service.port, found.context)
        (stub,), (agent, *_) = found.stubs, found.agents
        loop = asyncio.get_running_loop()
        async with load(client) as users:
            await asyncio.sleep(0.5)
            found.links[agent.name, stub.name].half_open()
            began = loop.time()
            while agent.name in await stub.agents(CLUSTER):
                await asyncio.sleep(0.01)
            assert loop.time() - began < LATE_SECONDS, "the stub was told"
            while agent.name not in await stub.agents(CLUSTER):
                await asyncio.sleep(0.05)
            assert loop.time() - began < OUT_SECONDS
        assert all(outcome.began < began + 0.1 for outcome in users.book.failed), users.book.described()


async def test_an_answer_whose_channel_breaks_is_seen_to_be_cut(tmp_path: Path) -> None:
    async with fleet(tmp_path, Plan(stubs=1, agents=1, lease="none", relayed=True)) as found:
        client = Client(lambda: found.service.port, found.context)
        (link,) = found.links.values()
        async with load(client) as users:
            await asyncio.sleep(0.5)
            link.up = Way(cut_after=350_000)
            await asyncio.sleep(3)
            link.heal()
            await found.whole()
        assert users.book.failed, "some answer was on a channel that broke"
        assert not [outcome for outcome in users.book.outcomes if outcome.wrong]
        assert users.book.miscounted(found.counting.created) == []


async def test_every_byte_is_right_over_a_link_that_splits_and_delays(tmp_path: Path) -> None:
    async with fleet(tmp_path, RELAYED) as found:
        for link, size in zip(found.links.values(), (7, 1000), strict=True):
            link.up = Way(delay=0.02, piece=size)
            link.down = Way(delay=0.02, piece=size)
        client = Client(lambda: found.service.port, found.context)
        async with load(client, per_second=20) as users:
            await asyncio.sleep(4)
        assert len(users.book.outcomes) > 20
        assert not users.book.failed, users.book.described()
        assert users.book.miscounted(found.counting.created) == []
