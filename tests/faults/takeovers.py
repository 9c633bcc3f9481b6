"""What happens when the active stub ends, crashes, freezes or loses its lease: done to a fleet, and measured."""

import asyncio
import time
from dataclasses import dataclass
from itertools import chain
from typing import Final

from tests.faults import content
from tests.faults.fleet import CLUSTER, Fleet
from tests.faults.http import Answer, Connection
from tests.faults.load import Book, Client, load
from tests.faults.overlaps import Overlap, find_overlap, written
from tests.faults.probe import Prober, probing
from tests.faults.processes import START_SECONDS, StubProcess

PER_SECOND: Final = 50.0

LEAD_SECONDS: Final = 0.5
"""How long users are served before and behind a take-over, at least."""


@dataclass(frozen=True, slots=True)
class Takeover:
    """One take-over. Times are in seconds.

    Attributes:
        silence: between the last answer of the old stub and the first of the new one, for who asks both every 20 ms.
        follows: between what was done to the old stub and the first answer of the new one.
        both: answers of the old stub to questions that were asked behind the first answer of the new one.
        redialled: agents that the new stub had to wait for.
        overlap: see there.
        book: of the load.
    """

    silence: float
    follows: float
    both: int
    redialled: int
    overlap: Overlap
    book: Book


class Observed:
    """A fleet under load and under observation, while the active stub is done something to.

    Args:
        fleet: a whole one.
        active: the active stub.
        others: those that stand by.
        prober: asks all of them.
    """

    def __init__(self, fleet: Fleet, active: StubProcess, others: list[StubProcess], prober: Prober) -> None:
        self.fleet = fleet
        self.active = active
        self.others = others
        self.prober = prober
        self._loop = asyncio.get_running_loop()
        self._began = time.time()

    async def served(self) -> None:
        """Wait until the active stub has answered, and some time more."""
        await self.prober.first_answer([self.active], 0, START_SECONDS)
        await asyncio.sleep(LEAD_SECONDS)

    async def follower(self, began: float) -> tuple[StubProcess, float, int]:
        """Wait for another stub's first answer; return it, when it came, and how many agents had to dial it since `began`."""
        bound = self.fleet.plan.timing.lease + START_SECONDS
        first = await self.prober.first_answer(self.others, began, bound)
        agents = await first.stub.agents(CLUSTER)
        since = self._loop.time() - began
        redialled = sum(facts["connectedSeconds"] < since for facts in agents.values())
        return first.stub, first.answered, redialled

    def overlap(self) -> Overlap:
        """Judge what agents received since this began."""
        agents, stubs = (
            chain(*(member.audit() for member in of)) for of in (self.fleet.agents, self.fleet.stubs)
        )
        return find_overlap(written(agents, stubs, self._began))


async def hand_over(fleet: Fleet) -> Takeover:
    """Ask the active stub to end, under load; it has ended when this returns."""
    return await _take_over(fleet, crash=False)


async def crash(fleet: Fleet) -> Takeover:
    """Kill the active stub, under load."""
    return await _take_over(fleet, crash=True)


async def _take_over(fleet: Fleet, *, crash: bool) -> Takeover:
    active, others = await fleet.active(), await fleet.standbys()
    loop = asyncio.get_running_loop()
    client = Client(lambda: fleet.service.port, fleet.context)
    async with load(client, per_second=PER_SECOND, prefix=f"take-over-{loop.time():.3f}") as users:
        await asyncio.sleep(LEAD_SECONDS)
        async with probing(fleet.stubs, fleet.context) as prober:
            observed = Observed(fleet, active, others, prober)
            await observed.served()
            began = loop.time()
            active.kill() if crash else active.terminate()
            new, answered, redialled = await observed.follower(began)
            await asyncio.sleep(LEAD_SECONDS)
            last = max(probe.answered for probe in prober.answered(active))
            both = len(prober.both_answered(active, new))
        await active.ended()
        await asyncio.sleep(LEAD_SECONDS)
    return Takeover(answered - last, answered - began, both, redialled, observed.overlap(), users.book)


@dataclass(frozen=True, slots=True)
class Frozen:
    """A stub that stood still and goes on.

    Attributes:
        waiting: what it answered to a request that had waited in its socket.
        next: what it answered to the next one.
        overlap: see there.
    """

    waiting: Answer
    next: Answer
    overlap: Overlap


async def freeze(fleet: Fleet) -> Frozen:
    """Freeze the active stub until another one answers, and let it go on."""
    active, others = await fleet.active(), await fleet.standbys()
    target = content.object_target("frozen", 2)
    async with probing(others, fleet.context) as prober:
        observed = Observed(fleet, active, others, prober)
        connection = await Connection.open(active.port, fleet.context)
        assert (await connection.ask("GET", target)).status == 200
        active.freeze()
        await observed.follower(asyncio.get_running_loop().time())
        waiting = asyncio.get_running_loop().create_task(connection.ask("GET", target))
        # The request is in the socket's buffer before the process can look at anything.
        await asyncio.sleep(LEAD_SECONDS)
        active.thaw()
        first = await waiting
        connection.close()
        behind = await Connection.open(active.port, fleet.context)
        second = await behind.ask("GET", target)
        behind.close()
    return Frozen(first, second, observed.overlap())


async def oversleep(fleet: Fleet) -> Answer:
    """Let the active stub's machine sleep past its deadline, and return what it answers then."""
    active = await fleet.active()
    connection = await Connection.open(active.port, fleet.context)
    try:
        assert (await connection.ask("GET", content.object_target("asleep", 2))).status == 200
        active.oversleep()
        return await connection.ask("GET", content.object_target("asleep", 2))
    finally:
        connection.close()


async def lose_the_api(fleet: Fleet) -> Takeover:
    """Let everything that the active stub sends to the Lease's apiserver vanish, until another stub answers."""
    active, others = await fleet.active(), await fleet.standbys()
    loop = asyncio.get_running_loop()
    client = Client(lambda: fleet.service.port, fleet.context)
    async with (
        load(client, per_second=PER_SECOND, prefix=f"cut-off-{loop.time():.3f}") as users,
        probing(fleet.stubs, fleet.context) as prober,
    ):
        observed = Observed(fleet, active, others, prober)
        await observed.served()
        began = loop.time()
        fleet.api[active.name].black_hole()
        new, answered, redialled = await observed.follower(began)
        await asyncio.sleep(2 * LEAD_SECONDS)
        last = max(probe.answered for probe in prober.answered(active))
        both = len(prober.both_answered(active, new))
        fleet.api[active.name].heal()
    return Takeover(answered - last, answered - began, both, redialled, observed.overlap(), users.book)
