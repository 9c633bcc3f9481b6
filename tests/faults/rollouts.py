"""What users notice while every stub and every agent is replaced, one after the other."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tests.faults.fleet import Fleet
from tests.faults.load import Book, Client, load
from tests.faults.processes import START_SECONDS, Member
from tests.faults.streams import STREAMS, Stream, held

PER_SECOND: Final = 50.0


@dataclass(frozen=True, slots=True)
class Rollout:
    """Every member of one kind was restarted.

    Attributes:
        seconds: it took.
        book: of the load.
    """

    seconds: float
    book: Book


async def restart_all(fleet: Fleet, members: Sequence[Member], *, settle: bool = False) -> Rollout:
    """Restart one member after the other under load, each as soon as the one before is ready, as a rolling update does.

    Args:
        settle: wait also until every agent is connected with every stub, which a Deployment's minReadySeconds is for.
    """
    loop = asyncio.get_running_loop()
    client = Client(lambda: fleet.service.port, fleet.context)
    began = loop.time()
    async with load(client, per_second=PER_SECOND, prefix=f"rollout-{began:.3f}") as users:
        for member in members:
            await fleet.restart(member)
            if settle:
                await fleet.whole()
        seconds = loop.time() - began
        await fleet.whole()
    return Rollout(seconds, users.book)


@dataclass(frozen=True, slots=True)
class Ending:
    """How something that was held open ended.

    Attributes:
        kind: watch, log or exec.
        seconds: after the SIGTERM.
        how: `clean` or what broke.
        lines: that came behind the SIGTERM.
    """

    kind: str
    seconds: float
    how: str
    lines: int


async def drain_below_streams(fleet: Fleet, member: Member, streams: list[Stream]) -> list[Ending]:
    """Ask a member to end and return how the streams through it did."""
    loop = asyncio.get_running_loop()
    began, known = loop.time(), [stream.number for stream in streams]
    member.terminate()
    await member.ended(fleet.plan.timing.grace + START_SECONDS)
    while any(stream.ended_at is None for stream in streams):
        if loop.time() - began > fleet.plan.timing.grace + START_SECONDS:
            break
        await asyncio.sleep(0.01)
    return [
        Ending(
            stream.name,
            (stream.ended_at or loop.time()) - began,
            stream.ending or "goes on",
            stream.number - before,
        )
        for stream, before in zip(streams, known, strict=True)
    ]


async def drain_a_stub(fleet: Fleet) -> list[Ending]:
    """Ask the active stub to end while a watch, a log and an exec go through it."""
    active = await fleet.active()
    client = Client(lambda: active.port, fleet.context)
    streams = [kind(client) for kind in STREAMS]
    async with held(*streams):
        return await drain_below_streams(fleet, active, streams)


async def drain_an_agent(fleet: Fleet) -> list[Ending]:
    """Ask that agent to end through which most of twelve watches, logs and execs go, and tell of those."""
    client = Client(lambda: fleet.service.port, fleet.context)
    streams = [kind(client, after=100_000 * number) for number in range(1, 5) for kind in STREAMS]
    async with held(*streams):
        carriers = {arrival.target: arrival.agent for arrival in fleet.counting.arrivals}
        name, _ = Counter(carriers[stream.target] for stream in streams).most_common(1)[0]
        (agent,) = (each for each in fleet.agents if each.name == name)
        through = [stream for stream in streams if carriers[stream.target] == name]
        return await drain_below_streams(fleet, agent, through)
