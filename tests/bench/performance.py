"""docs/performance.md, as far as it is generated: what the cost model says (tests/bench/model.py).

python -m tests.bench.performance          write it anew from docs/benchmarks/baseline.json
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.bench.figures import DASH, number
from tests.bench.model import BASELINE, SIDES, Costs, Load, checks, cores, costs, describe, mib
from tests.bench.pages import put, table
from tests.bench.processes import ROOT, BenchFailed
from tests.bench.recording import Recording

TWICE: Final = (
    ("a GET of 2 kB, µs", "request"),
    ("a user's new TLS connection, µs", "connection"),
    ("a GB down, s", "down"),
    ("a GB up, s", "up"),
)
"""What costs a process more that it wakes up."""

ONCE: Final = (
    ("a silent stream (watch, `logs -f`), KiB", "watch"),
    ("a download that nobody reads, KiB", "stalled"),
    ("a process that does nothing, MiB", "rest"),
)

EXAMPLES: Final = (
    ("20 people with kubectl", Load(requests=5, connections=2, down=1, watches=20)),
    ("a few controllers and 200 people", Load(requests=100, connections=10, down=10, watches=500)),
    ("a busy installation", Load(requests=1000, connections=20, down=50, up=5, watches=5000)),
)


def section(recording: Recording) -> str:
    """Return the generated part of docs/performance.md."""
    sides = {name: costs(recording, side) for side, name in SIDES.items()}
    return "\n\n".join(
        [
            f"From the run of {recording.recorded} at {recording.commit} ({', '.join(recording.machine.values())}).",
            table(
                ["CPU", *(f"{name}, {how}" for name in sides for how in ("asleep", "busy"))],
                [[title, *_twice(sides, key)] for title, key in TWICE],
            ),
            table(
                ["memory", *sides],
                [[title, *(number(getattr(of, key)) for of in sides.values())] for title, key in ONCE],
            ),
            "One core, fully used, therefore carries at most:",
            table(["", *sides], _most(sides)),
            "Three examples:",
            table(
                ["load", *(f"{name}, {what}" for name in sides for what in ("cores", "MiB"))],
                _examples(sides),
            ),
            *_checked(recording),
        ]
    )


def _twice(sides: Mapping[str, Costs], key: str) -> list[str]:
    found = [getattr(of, key) for of in sides.values()]
    return [number(value) if value else DASH for cost in found for value in (cost.asleep, cost.busy)]


def _most(sides: Mapping[str, Costs]) -> list[list[str]]:
    """Return what one core carries, were it to do nothing else; an agent sees no connections of users."""
    rows = [("requests/s", 1e6, "request"), ("new connections/s", 1e6, "connection")]
    rows += [("MB/s down", 1e3, "down"), ("MB/s up", 1e3, "up")]
    return [
        [title, *(number(whole / cost) if (cost := getattr(of, key).busy) else DASH for of in sides.values())]
        for title, whole, key in rows
    ]


def _examples(sides: Mapping[str, Costs]) -> list[list[str]]:
    rows = []
    for title, load in EXAMPLES:
        cells = [(f"{cores(of, load):.2f}", f"{mib(of, load):.0f}") for of in sides.values()]
        rows.append([f"{title}: {describe(load)}", *(cell for pair in cells for cell in pair)])
    return rows


def _checked(recording: Recording) -> list[str]:
    found = checks(recording)
    if not found:
        return []
    rows = [
        [each.title, f"{each.predicted:.2f}", f"{each.measured:.2f}", f"{each.off:+.0%}"] for each in found
    ]
    return [
        "What the model says of loads that were measured in that run:",
        table(["load", "predicted", "measured", "off by"], rows),
    ]


def publish(recording: Recording, folder: Path) -> list[Path]:
    """Write the generated part of performance.md in `folder` and return what was written.

    Raises:
        BenchFailed: the page has no place for it, or the recording lacks a figure.
    """
    put(folder / "performance.md", "costs", section(recording))
    return [folder / "performance.md"]


def main() -> int:
    try:
        publish(Recording.read(BASELINE), ROOT / "docs")
    except BenchFailed as error:
        print(f"performance: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
