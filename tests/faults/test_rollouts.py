"""Replacing stubs and agents while they are used."""

import asyncio
from pathlib import Path

from tests.faults import rollouts
from tests.faults.fleet import SHORT, Fleet, Plan, Timing, fleet
from tests.faults.load import UPLOAD_BYTES, Book, Client, fulfil, post
from tests.faults.rollouts import Ending, Rollout

LATE = 3.0
"""Seconds behind the grace, at most, until what still runs is broken off."""


def check(rollout: Rollout, found: Fleet) -> None:
    assert not rollout.book.failed, rollout.book.described()
    assert rollout.book.miscounted(found.counting.created) == []
    assert len(rollout.book.outcomes) > rollouts.PER_SECOND, "it was used meanwhile"


async def test_replacing_every_stub_under_load_fails_no_request(tmp_path: Path) -> None:
    """The delay is for the service, which follows at once only on a machine that has nothing else to do."""
    async with fleet(tmp_path, Plan(stubs=2, agents=1, lease="file", timing=Timing(delay=3.0))) as found:
        check(await rollouts.restart_all(found, found.stubs, settle=True), found)


async def test_users_of_a_stub_that_leads_before_its_agents_have_found_it_are_told_to_come_again(
    tmp_path: Path,
) -> None:
    async with fleet(tmp_path, Plan(stubs=1, agents=1, lease="file", relayed=True)) as found:
        (stub,), (link,) = found.stubs, found.links.values()
        client = Client(lambda: stub.port, found.context)
        port, link.leads_to = link.leads_to, lambda: None
        await found.restart(stub)
        await found.active()
        asking = asyncio.get_running_loop().create_task(fulfil(client, post("early")))
        await asyncio.sleep(0.5)
        link.leads_to = port
        found.agents[0].hurry()
        outcome = await asking
        client.close()
        assert not outcome.problem
        assert found.counting.created["early"] == 1


async def test_a_lease_that_is_handed_over_goes_to_a_stub_that_has_agents(tmp_path: Path) -> None:
    async with fleet(tmp_path, Plan(agents=1, lease="file", relayed=True)) as found:
        old, (lonely, _) = await found.active(), await found.standbys()
        found.links[found.agents[0].name, lonely.name].leads_to = lambda: None
        found.links[found.agents[0].name, lonely.name].cut()
        old.terminate()
        while (new := await found.active()) is old:
            await asyncio.sleep(0.01)
        assert new is not lonely


async def test_replacing_every_agent_under_load_fails_no_request(tmp_path: Path) -> None:
    async with fleet(tmp_path, Plan(stubs=2, lease="file")) as found:
        check(await rollouts.restart_all(found, found.agents), found)


def check_endings(endings: list[Ending], watch_seconds: float) -> None:
    """Watches end between two events, so that clients go on where they were; what cannot be resumed lives to the grace."""
    for ending in endings:
        if ending.kind == "watch":
            assert ending.how == "clean"
            assert ending.seconds < watch_seconds
        else:
            assert SHORT.grace - 0.1 < ending.seconds < SHORT.grace + LATE
            assert ending.lines > SHORT.grace * 2, "it went on meanwhile"
    assert all(ending.how != "clean" for ending in endings if ending.kind == "log"), "it would look complete"


async def test_what_is_open_through_an_agent_that_drains_lives_to_the_grace(tmp_path: Path) -> None:
    async with fleet(tmp_path, Plan(stubs=1, agents=2, lease="none")) as found:
        check_endings(await rollouts.drain_an_agent(found), watch_seconds=LATE)


async def test_what_is_open_through_a_stub_that_drains_lives_to_the_grace(tmp_path: Path) -> None:
    async with fleet(tmp_path, Plan(stubs=2, agents=1, lease="file")) as found:
        endings = await rollouts.drain_a_stub(found)
        assert {ending.kind for ending in endings} == {"watch", "log", "exec"}
        check_endings(endings, watch_seconds=SHORT.delay + LATE)


async def test_large_writes_that_cross_the_word_of_a_draining_agent_are_tried_again(tmp_path: Path) -> None:
    """The link is as slow as one to another continent: what the stub sends in a round trip meets an agent that drains."""
    async with fleet(tmp_path, Plan(stubs=1, agents=2, lease="none", relayed=True)) as found:
        for link in found.links.values():
            link.up.delay = link.down.delay = 0.1
        client = Client(lambda: found.service.port, found.context)
        loop = asyncio.get_running_loop()
        writing = []
        for number in range(60):
            writing.append(loop.create_task(fulfil(client, post(f"crossing-{number}", UPLOAD_BYTES))))
            await asyncio.sleep(0.01)
            if number == 30:
                found.agents[0].terminate()
        book = Book(await asyncio.gather(*writing))
        client.close()
        assert book.miscounted(found.counting.created) == []
        assert not book.failed, book.described()
