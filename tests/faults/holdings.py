"""What processes hold over time: memory, descriptors and tasks; whether it grows, and whether it is all accounted for."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import sqrt
from statistics import fmean
from typing import Final

from tests.faults.chart import Line, Panel, Point, render
from tests.faults.fleet import Fleet
from tests.faults.processes import Held, Member, StubProcess

MIB: Final = 2**20
WARM_UP: Final = 0.4
"""The part of a run that is left out: pools fill, and the allocator finds its size."""


@dataclass
class Track:
    """What one process of a member held, from its start on.

    Attributes:
        resident, descriptors, tasks, blocks: by minutes since the beginning of the run; blocks in thousands.
    """

    name: str
    pid: int
    resident: list[Point] = field(default_factory=list)
    descriptors: list[Point] = field(default_factory=list)
    tasks: list[Point] = field(default_factory=list)
    blocks: list[Point] = field(default_factory=list)


class Sampler:
    """Looks at all members of a fleet in regular intervals.

    Args:
        fleet: whose.
        every: seconds between two looks.

    Attributes:
        tracks: of all processes, also those that have ended.
    """

    def __init__(self, fleet: Fleet, every: float) -> None:
        self._fleet = fleet
        self._every = every
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self.tracks: list[Track] = []

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            for member in self._fleet.members:
                if member.alive:
                    self._look(member)
            await asyncio.sleep(self._every)

    def _look(self, member: Member) -> None:
        minute = (self._loop.time() - self._began) / 60
        track = self.track(member)
        try:
            resident, descriptors = member.memory_and_descriptors()
        except FileNotFoundError:
            return  # it ended meanwhile
        track.resident.append((minute, resident / MIB))
        track.descriptors.append((minute, descriptors))
        # What it wrote since the last look; one that is frozen writes later, so nobody waits for it.
        if member.stock_file.exists():
            stock = json.loads(member.stock_file.read_text())
            track.tasks.append((minute, sum(stock["tasks"].values())))
            track.blocks.append((minute, stock["blocks"] / 1000))
            member.stock_file.unlink()
        member.take_stock()

    def track(self, member: Member) -> Track:
        """Return the track of the process that a member has now."""
        pid = member.running.pid
        for track in self.tracks:
            if track.pid == pid:
                return track
        self.tracks.append(Track(member.name, pid))
        return self.tracks[-1]

    def chart(self) -> str:
        """Return a chart of everything."""
        panels = [
            Panel("resident memory, MiB", [Line(track.name, track.resident) for track in self.tracks]),
            Panel(
                "blocks of memory that Python's objects take, thousands",
                [Line(track.name, track.blocks) for track in self.tracks],
            ),
            Panel("descriptors", [Line(track.name, track.descriptors) for track in self.tracks]),
            Panel("tasks", [Line(track.name, track.tasks) for track in self.tracks]),
        ]
        return render(panels, "minutes")


@dataclass(frozen=True, slots=True)
class Growth:
    """How something changed behind the warm-up, by the line of least squares.

    Attributes:
        rise: of that line, over all of the time.
        noise: standard deviation around it.
    """

    rise: float
    noise: float


def growth(points: Sequence[Point]) -> Growth:
    """Return how points rise, of which the first part is warm-up.

    It is shown and judges nothing: libc keeps what the highest peak took, and how high that is depends on what else the machine does.
    """
    used = points[int(len(points) * WARM_UP) :]
    if len(used) < 3:
        return Growth(0.0, 0.0)
    mean_x, mean_y = fmean(x for x, _ in used), fmean(y for _, y in used)
    square = sum((x - mean_x) ** 2 for x, _ in used)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in used) / square
    left = [y - mean_y - slope * (x - mean_x) for x, y in used]
    return Growth(slope * (used[-1][0] - used[0][0]), sqrt(fmean(each * each for each in left)))


# Accounts ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Account:
    """What a member holds while nobody uses it.

    Attributes:
        held: all of it.
        explained: descriptors that are sessions, channels, and connections to the apiserver: how many there are follows how
            busy it was in the last ten minutes.
    """

    held: Held
    explained: int

    @property
    def unexplained(self) -> int:
        """Descriptors that should be the same at all times."""
        return self.held.descriptors - self.explained


async def account(fleet: Fleet, member: Member) -> Account:
    """Look at a member of a fleet that is at rest."""
    held = await member.held()
    if isinstance(member, StubProcess):
        sessions = await member.sessions()
        return Account(held, sum(1 + each["channels"] for each in sessions))
    sessions = [
        each for stub in fleet.stubs for each in await stub.sessions() if each["agent"] == member.name
    ]
    channels = sum(1 + each["channels"] for each in sessions)
    return Account(held, channels + fleet.counting.connections[member.name])


def change(before: Held, after: Held) -> dict[str, float]:
    """Return how much more memory is taken than before: resident, and by Python's objects."""
    rest = (after.resident_bytes - before.resident_bytes) / MIB
    return {"rest_mib": round(rest, 2), "blocks": after.blocks - before.blocks}


UNCERTAIN: Final = 3
"""Descriptors and tasks that come and go by themselves: a connection to the Lease's apiserver, a probe, the role in the election."""

UNCERTAIN_BLOCKS: Final = 20_000
"""Blocks of caches that fill up to their limits. It is less than one for each request of ten minutes."""

UNCERTAIN_MIB: Final = 20.0
"""Resident memory in pieces between what is alive. A kilobyte that leaks with each request is as much in ten minutes."""


def leaks(name: str, before: Account, after: Account) -> list[str]:
    """Return what there is more of than before."""
    found = []
    if after.unexplained > before.unexplained + UNCERTAIN:
        found.append(f"{name}: {after.unexplained} unexplained descriptors, {before.unexplained} before")
    kept = change(before.held, after.held)["rest_mib"]
    if kept > UNCERTAIN_MIB:
        found.append(
            f"{name}: {kept:.1f} MiB of memory more than before, of which libc can give nothing back"
        )
    if after.held.blocks > before.held.blocks + UNCERTAIN_BLOCKS:
        found.append(f"{name}: {after.held.blocks} blocks of memory, {before.held.blocks} before")
    if sum(after.held.tasks.values()) > sum(before.held.tasks.values()) + UNCERTAIN:
        found.append(f"{name}: tasks {after.held.tasks}, before {before.held.tasks}")
    return found
