"""Everything that can be done to a fleet, one thing after the other, as a seed decides."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from tests.faults.fleet import Fleet
from tests.faults.processes import AgentProcess, Member, StubProcess
from tests.faults.relay import Relay, Way

Deed = Callable[["Mischief"], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Window:
    """When something was done; until all was mended again requests may fail. Times are on the loop's clock."""

    name: str
    began: float
    ended: float

    @property
    def seconds(self) -> float:
        """How long it took, the mending included."""
        return self.ended - self.began


class Mischief:
    """See the module.

    Args:
        fleet: with relays between agents and stubs, a Kubernetes Lease, and three stubs and agents at least. The last stub and the
            last agent are never ended, so that what they hold can be compared from beginning to end.
        seed: decides.
    """

    def __init__(self, fleet: Fleet, seed: int) -> None:
        self.fleet = fleet
        self.random = random.Random(seed)
        self.windows: list[Window] = []
        self._left: list[str] = []

    @property
    def veterans(self) -> list[Member]:
        """The members that are never ended."""
        return [self.fleet.stubs[-1], self.fleet.agents[-1]]

    def any_stub(self, *, mortal: bool = False) -> StubProcess:
        """Return a stub; none that must not be ended, if `mortal`."""
        return self.random.choice(self.fleet.stubs[:-1] if mortal else self.fleet.stubs)

    def any_agent(self, *, mortal: bool = False) -> AgentProcess:
        """Return an agent; none that must not be ended, if `mortal`."""
        return self.random.choice(self.fleet.agents[:-1] if mortal else self.fleet.agents)

    def links_of(self, agent: AgentProcess) -> list[Relay]:
        """Return what is between an agent and the stubs."""
        return [link for (name, _), link in self.fleet.links.items() if name == agent.name]

    async def wait(self, least: float, most: float) -> None:
        """Let something last for a while."""
        await asyncio.sleep(self.random.uniform(least, most))

    async def do_next(self) -> None:
        """Do one thing, and wait until the fleet has got over it. Raises FaultFailed where it does not."""
        if not self._left:
            # Each once in every round, in an order of its own.
            self._left = self.random.sample(sorted(DEEDS), len(DEEDS))
        name = self._left.pop()
        began = asyncio.get_running_loop().time()
        try:
            await DEEDS[name](self)
            await self.fleet.mend()
        finally:
            self.windows.append(Window(name, began, asyncio.get_running_loop().time()))

    def excuse(self, began: float, ended: float) -> str | None:
        """Return what was done to the fleet while a request was under way and may let it fail, or None."""
        for window in self.windows:
            near = window.began <= ended + SLACK_SECONDS and began <= window.ended + SLACK_SECONDS
            if near and window.name not in HARMLESS:
                return window.name
        return None


SLACK_SECONDS: Final = 1.0
"""Between what is done and what users notice."""


# Members -------------------------------------------------------------------------------------------


async def _restart_stub(mischief: Mischief) -> None:
    await mischief.fleet.restart(mischief.any_stub(mortal=True))


async def _restart_agent(mischief: Mischief) -> None:
    await mischief.fleet.restart(mischief.any_agent(mortal=True))


async def _kill_stub(mischief: Mischief) -> None:
    stub = mischief.any_stub(mortal=True)
    stub.kill()
    await stub.ended()
    await mischief.wait(0, 2)


async def _kill_agent(mischief: Mischief) -> None:
    agent = mischief.any_agent(mortal=True)
    agent.kill()
    await agent.ended()
    await mischief.wait(0, 2)


async def _freeze(mischief: Mischief, member: Member, least: float, most: float) -> None:
    member.freeze()
    try:
        await mischief.wait(least, most)
    finally:
        member.thaw()


async def _freeze_stub(mischief: Mischief) -> None:
    """Often past its deadline."""
    await _freeze(mischief, mischief.any_stub(), 0.5, 2.0 * mischief.fleet.plan.timing.lease)


async def _freeze_agent(mischief: Mischief) -> None:
    await _freeze(mischief, mischief.any_agent(), 0.5, 5)


async def _oversleep(mischief: Mischief) -> None:
    (await mischief.fleet.active()).oversleep()
    await mischief.wait(1, 2)


async def _hurry(mischief: Mischief) -> None:
    for agent in mischief.fleet.agents:
        agent.hurry()


# Between agents and stubs --------------------------------------------------------------------------


async def _cut_links(mischief: Mischief) -> None:
    for link in mischief.links_of(mischief.any_agent()):
        link.cut()


async def _break_links(mischief: Mischief, near: bool) -> None:
    """All that one side hears nothing of must be found out by its PING before the fleet is whole again."""
    for link in mischief.links_of(mischief.any_agent()):
        link.half_open(near=near)
    await mischief.wait(0, 1)


async def _break_links_unseen_by_agents(mischief: Mischief) -> None:
    await _break_links(mischief, near=False)


async def _break_links_unseen_by_stubs(mischief: Mischief) -> None:
    await _break_links(mischief, near=True)


async def _black_hole(mischief: Mischief) -> None:
    links = mischief.links_of(mischief.any_agent())
    for link in links:
        link.black_hole()
    await mischief.wait(1, 16)
    for link in links:
        link.heal()


async def _bad_links(mischief: Mischief, way: Callable[[], Way], seconds: float) -> None:
    links = mischief.links_of(mischief.any_agent())
    for link in links:
        link.up, link.down = way(), way()
    await asyncio.sleep(seconds)
    for link in links:
        link.heal()


async def _crumble_links(mischief: Mischief) -> None:
    draw = mischief.random
    await _bad_links(mischief, lambda: Way(delay=draw.uniform(0, 0.1), piece=draw.randint(50, 3000)), 5)


async def _break_links_after_a_while(mischief: Mischief) -> None:
    draw = mischief.random
    await _bad_links(mischief, lambda: Way(cut_after=draw.randint(1, 500_000)), 5)


# What they need ------------------------------------------------------------------------------------


async def _lose_the_api(mischief: Mischief) -> None:
    stub = mischief.any_stub()
    api = mischief.fleet.api[stub.name]
    api.black_hole()
    await mischief.wait(0.5, 2.0 * mischief.fleet.plan.timing.lease)
    api.heal()


async def _restart_the_apiserver(mischief: Mischief) -> None:
    mischief.fleet.counting.cut()


async def _use_up_descriptors(mischief: Mischief) -> None:
    member = mischief.random.choice([mischief.any_stub(), mischief.any_agent()])
    member.limit_descriptors(0)
    await mischief.wait(1, 4)
    member.limit_descriptors(None)


async def _fill_the_disk(mischief: Mischief) -> None:
    stub = await mischief.fleet.active()
    stub.limit_files((mischief.fleet.folder / f"{stub.name}.audit").stat().st_size)
    await mischief.wait(1, 4)
    stub.limit_files(None)


DEEDS: Final[dict[str, Deed]] = {
    "restart a stub": _restart_stub,
    "restart an agent": _restart_agent,
    "kill a stub": _kill_stub,
    "kill an agent": _kill_agent,
    "freeze a stub": _freeze_stub,
    "freeze an agent": _freeze_agent,
    "let the active stub oversleep": _oversleep,
    "hurry the agents": _hurry,
    "cut an agent's links": _cut_links,
    "break an agent's links, unseen by it": _break_links_unseen_by_agents,
    "break an agent's links, unseen by stubs": _break_links_unseen_by_stubs,
    "black-hole an agent": _black_hole,
    "crumble an agent's links": _crumble_links,
    "break an agent's links after a while": _break_links_after_a_while,
    "black-hole a stub's Lease": _lose_the_api,
    "restart the apiserver": _restart_the_apiserver,
    "use up descriptors": _use_up_descriptors,
    "fill the disk": _fill_the_disk,
}
"""By what they are called in reports."""

HARMLESS: Final = frozenset({"hurry the agents", "fill the disk"})
"""What nobody may notice."""
