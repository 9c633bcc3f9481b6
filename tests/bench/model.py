"""The cost model: what a load costs a stub and an agent, from what the benchmark measured.

    python -m tests.bench.model --requests 500 --connections 20 --down 100 --up 10 --watches 2000
    python -m tests.bench.model --check        what it says of the loads that the baseline holds

CPU is the sum of what requests, new connections and bytes cost each for itself, memory that of what is open. One thing is
not a sum: what finds its process asleep pays for waking it up, and for reads and writes of its own; what finds it busy shares
them with others. So everything has two costs, and what it takes lies between them, by how busy the process is.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from tests.bench.figures import OURS, Figure, spread
from tests.bench.processes import ROOT, BenchFailed
from tests.bench.recording import Recording

BASELINE: Final = ROOT / "docs/benchmarks/baseline.json"
SIDES: Final = {"public": "stub", "inner": "agent"}
STEPS: Final = 50
"""How busy a process is decides what a request costs, and the other way round; this many steps settle it."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one of something costs: where it finds the process asleep, and where it finds it busy."""

    asleep: float
    busy: float

    def at(self, busy: float) -> float:
        """Return what it costs where the process is busy for this part of the time."""
        return self.asleep + (self.busy - self.asleep) * min(busy, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What things cost one side.

    Attributes:
        request: a GET of 2 kB, in microseconds.
        connection: a user's new TLS connection, beside its request, in microseconds; nothing at the agent, which sees none.
        down, up: a GB, in seconds.
        watch: KiB of a stream that is silent.
        stalled: KiB of a download that nobody reads.
        rest: MiB of a process that does nothing.
    """

    request: Cost
    connection: Cost
    down: Cost
    up: Cost
    watch: float
    stalled: float
    rest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is asked of a tunnel: requests and new connections a second, MB a second, streams that are open."""

    requests: float = 0.0
    connections: float = 0.0
    down: float = 0.0
    up: float = 0.0
    watches: float = 0.0
    stalled: float = 0.0


class _Medians:
    """The figures of one side of ours.

    Args:
        recording: has them.
        side: `public` or `inner`.
    """

    def __init__(self, recording: Recording, side: str) -> None:
        self._rounds = {False: recording.systems.get(OURS, []), True: recording.own}
        self._side = side

    def get(self, test: str, key: str, *, own: bool = False) -> float:
        """Return a median. Raises BenchFailed where it was not measured."""
        found = spread(self._rounds[own], Figure(test, f"{self._side}_{key}", "", "less"))
        if found is None:
            raise BenchFailed(f"the recording has no figure {self._side}_{key} of {test}")
        return found.median


def costs(recording: Recording, side: str) -> Costs:
    """Return what the medians of a recording say of `public` or `inner`.

    Raises:
        BenchFailed: a figure is missing.
    """
    medians = _Medians(recording, side)
    # A burst lets the agent dial channels, so the first seconds of many clients cost more than what comes behind.
    busy = min(medians.get(test, "us_per_request") for test in ("get16", "get64"))
    request = Cost(medians.get("paced", "us_per_request", own=True), busy)
    return Costs(
        request=request,
        connection=_connection(medians, request) if side == "public" else Cost(0.0, 0.0),
        down=Cost(medians.get("paced", "s_per_gb_down", own=True), medians.get("down", "cpu_s_per_gb")),
        up=Cost(medians.get("paced", "s_per_gb_up", own=True), medians.get("up", "cpu_s_per_gb")),
        watch=medians.get("idle", "kib_per_stream"),
        stalled=medians.get("stalled", "kib_per_stream", own=True),
        rest=medians.get("rest", "rss"),
    )


def _connection(medians: _Medians, request: Cost) -> Cost:
    """A connection was measured with the request that it was made for."""
    asleep = medians.get("paced", "us_per_connection", own=True)
    busy = medians.get("fresh8", "us_per_request")
    return Cost(max(asleep - request.asleep, 0.0), max(busy - request.busy, 0.0))


def cores(of: Costs, load: Load) -> float:
    """Return how many cores' worth of CPU time a load takes."""
    busy = 0.0
    for _ in range(STEPS):
        busy = at(of, load, busy)
    return busy


def at(of: Costs, load: Load, busy: float) -> float:
    """Return the same for a process that is busy for a given part of the time, whatever with."""
    requests = load.requests * of.request.at(busy) + load.connections * of.connection.at(busy)
    return requests / 1e6 + (load.down * of.down.at(busy) + load.up * of.up.at(busy)) / 1e3


def mib(of: Costs, load: Load) -> float:
    """Return the memory that a load takes."""
    return of.rest + (load.watches * of.watch + load.stalled * of.stalled) / 1024


# Looking back ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Check:
    """What the model says of a load that was measured.

    Attributes:
        title: of the figure.
        predicted, measured: by the model, by the benchmark.
    """

    title: str
    predicted: float
    measured: float

    @property
    def off(self) -> float:
        """By how much the prediction is wrong."""
        return self.predicted / self.measured - 1 if self.measured else 0.0


def checks(recording: Recording) -> list[Check]:
    """Return the model's word on the mixed loads of a recording: the medians of its rounds."""
    found = []
    for side, name in SIDES.items():
        of = costs(recording, side)
        for title, rounds in (("a mixed load", _mixed), ("GETs beside 4 downloads", _beside)):
            loads = rounds(recording, side, of)
            if loads:
                predicted, measured = (median(column) for column in zip(*loads, strict=True))
                found.append(Check(f"{name}, {title}, cores", predicted, measured))
    return found


def _mixed(recording: Recording, side: str, of: Costs) -> list[tuple[float, float]]:
    rounds = [each["mixed"] for each in recording.own if "mixed" in each]
    return [(cores(of, _load(each)), each[f"{side}_cores"]) for each in rounds]


def _beside(recording: Recording, side: str, of: Costs) -> list[tuple[float, float]]:
    """Downloads at full speed never let a process sleep, even where others take the core from it."""
    found = []
    for each in recording.systems.get(OURS, []):
        figures = each.get("get4_beside_4bulk", {})
        if "per_second" in figures:
            load = Load(requests=figures["per_second"], down=figures["beside_mb_per_second"])
            spent = figures[f"{side}_us_per_request"] * load.requests / 1e6
            found.append((at(of, load, 1.0), spent))
    return found


def _load(figures: Mapping[str, Any]) -> Load:
    return Load(**{name: figures[name] for name in ("requests", "connections", "down", "up")})


def describe(load: Load) -> str:
    """Return a load in words."""
    parts = (
        (load.requests, "requests/s"),
        (load.connections, "new connections/s"),
        (load.down, "MB/s down"),
        (load.up, "MB/s up"),
        (load.watches, "watches"),
        (load.stalled, "stalled downloads"),
    )
    return ", ".join(f"{value:g} {what}" for value, what in parts if value) or "nothing"


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.model",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name, text in (
        ("requests", "a second, those on new connections included"),
        ("connections", "new TLS connections of users a second"),
        ("down", "MB a second"),
        ("up", "MB a second"),
        ("watches", "silent streams that are open"),
        ("stalled", "downloads that are open and that nobody reads"),
    ):
        parser.add_argument(f"--{name}", type=float, default=0.0, metavar="N", help=text)
    parser.add_argument("--baseline", type=Path, default=BASELINE, metavar="FILE", help="a recording")
    parser.add_argument(
        "--check", action="store_true", help="predict the mixed loads of the recording as well"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args(words)


def main() -> int:
    options = arguments()
    try:
        recording = Recording.read(options.baseline)
        load = Load(**{name: getattr(options, name) for name in Load.__slots__})
        predicted = {
            name: {"cores": cores(of, load), "mib": mib(of, load)}
            for name, of in ((name, costs(recording, side)) for side, name in SIDES.items())
        }
        checked = checks(recording) if options.check else []
    except BenchFailed as error:
        print(f"model: {error}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps(predicted))
        return 0
    print(describe(load))
    for name, found in predicted.items():
        print(f"{name:<6} {found['cores']:7.2f} cores {found['mib']:8.0f} MiB")
    for each in checked:
        print(
            f"{each.title:<42} predicted {each.predicted:.2f}, measured {each.measured:.2f}: {each.off:+.0%}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
