"""What users notice when an agent is killed, or when everything between it and the stubs vanishes."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tests.faults.fleet import CLUSTER, Fleet
from tests.faults.load import Book, Client, Outcome, Wish, fulfil, get, load, post
from tests.faults.processes import START_SECONDS

PER_SECOND: Final = 50.0
IN_FLIGHT: Final = 20
"""GETs, and as many POSTs, that are under way when an agent is killed."""

ANSWER_MILLISECONDS: Final = 100
"""How long the apiserver takes for each of them, from when the agent is gone."""


@dataclass(frozen=True, slots=True)
class Killed:
    """An agent was killed while requests were under way.

    Attributes:
        gets, posts: how many were under way through it.
        failed: those of all agents that were not answered as they should be.
        elsewhere: how many of these were under way through another agent.
        retried: GETs that were under way through it and were answered all the same.
        miscounted: see `Book.miscounted`.
        out_seconds: until the stub did not list it any more.
        unlucky: requests of the load that began behind that and failed.
    """

    gets: int
    posts: int
    failed: list[Outcome]
    elsewhere: int
    retried: int
    miscounted: list[str]
    out_seconds: float
    unlucky: list[Outcome]


async def kill_an_agent(fleet: Fleet) -> Killed:
    """Kill the agent through which most requests are under way, beside a load; it has ended when this returns."""
    loop = asyncio.get_running_loop()
    active = await fleet.active()
    client = Client(lambda: fleet.service.port, fleet.context)
    mark = f"killed-{loop.time():.3f}"
    async with load(client, per_second=PER_SECOND, prefix=f"beside-{mark}") as users:
        wishes = [
            wish(f"{mark}-{number}", delay_milliseconds=ANSWER_MILLISECONDS)
            for number in range(IN_FLIGHT)
            for wish in (get, post)
        ]
        fleet.counting.holding = True
        asking = [loop.create_task(fulfil(client, wish)) for wish in wishes]
        carriers = await _carriers(fleet, wishes)
        name, _ = Counter(carriers.values()).most_common(1)[0]
        (victim,) = (agent for agent in fleet.agents if agent.name == name)
        began = loop.time()
        victim.kill()
        await victim.ended()
        while name in await active.agents(CLUSTER):
            await asyncio.sleep(0.01)
        gone = loop.time()
        fleet.counting.release()
        outcomes = await asyncio.gather(*asking)
        await asyncio.sleep(1.0)
    through = [outcome for outcome in outcomes if carriers[outcome.target] == name]
    gets = [outcome for outcome in through if outcome.method == "GET"]
    failed = [outcome for outcome in outcomes if outcome.problem]
    return Killed(
        gets=len(gets),
        posts=len(through) - len(gets),
        failed=failed,
        elsewhere=sum(outcome not in through for outcome in failed),
        retried=sum(not outcome.problem for outcome in gets),
        miscounted=Book([*outcomes, *users.book.outcomes]).miscounted(fleet.counting.created),
        out_seconds=gone - began,
        unlucky=[outcome for outcome in users.book.failed if outcome.began > gone],
    )


async def _carriers(fleet: Fleet, wishes: Sequence[Wish]) -> dict[str, str]:
    """Wait until all are under way at the apiserver, and return which agent carries which target."""
    targets = {wish.target for wish in wishes}
    carriers: dict[str, str] = {}
    async with asyncio.timeout(START_SECONDS):
        while len(carriers) < len(targets):
            await asyncio.sleep(0.005)
            arrivals = fleet.counting.arrivals
            carriers = {arrival.target: arrival.agent for arrival in arrivals if arrival.target in targets}
    return carriers


@dataclass(frozen=True, slots=True)
class Vanished:
    """Everything between one agent and the stubs vanished.

    Attributes:
        out_seconds: until the active stub did not list it any more.
        stuck: requests that took more than a second, answered in the end or not.
        unlucky: requests that began behind that and failed.
        book: of the load.
    """

    out_seconds: float
    stuck: int
    unlucky: list[Outcome]
    book: Book


async def black_hole_an_agent(fleet: Fleet) -> Vanished:
    """Let nothing pass between one agent and all stubs, under load, until the active one has given it up; heal it then.

    The fleet needs relays between agents and stubs.
    """
    loop = asyncio.get_running_loop()
    active, agent = await fleet.active(), fleet.agents[0]
    client = Client(lambda: fleet.service.port, fleet.context)
    relays = [between for (name, _), between in fleet.links.items() if name == agent.name]
    async with load(client, per_second=PER_SECOND, prefix=f"vanished-{loop.time():.3f}") as users:
        await asyncio.sleep(0.5)
        began = loop.time()
        for between in relays:
            between.black_hole()
        while agent.name in await active.agents(CLUSTER):
            await asyncio.sleep(0.05)
        gone = loop.time()
        await asyncio.sleep(1.0)
    for between in relays:
        between.heal()
    stuck = sum(outcome.ended - outcome.began > 1 for outcome in users.book.outcomes)
    unlucky = [outcome for outcome in users.book.failed if outcome.began > gone]
    return Vanished(gone - began, stuck, unlucky, users.book)
