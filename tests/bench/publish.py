"""Turns a recording into the page docs/benchmarks.md, its plots, and the baseline."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.bench.figures import (
    DASH,
    FIGURES,
    NO_INNER_SIDE,
    OURS,
    OWN_FIGURES,
    YARDSTICKS,
    Figure,
    Spread,
    best_peer,
    failures,
    number,
    spread,
)
from tests.bench.pages import put, table
from tests.bench.recording import Recording
from tests.bench.svg import bars

PLOTS: Final = {
    "requests": ("GET of 2 kB, requests a second", ("16 clients", "64 clients"), FIGURES[0:2]),
    "latency": ("GET of 2 kB, milliseconds", ("1 client, p50", "16 clients, p99"), FIGURES[2:4]),
    "cpu-request": ("CPU a request, microseconds", ("public side", "cluster side"), FIGURES[4:6]),
    "connections": ("A new connection for each request, requests a second", ("8 clients",), FIGURES[6:7]),
    "bulk": ("Bulk transfer, MB a second", ("download", "upload"), (FIGURES[7], FIGURES[10])),
    "beside": ("GET beside 4 downloads, milliseconds", ("p50", "p99"), FIGURES[13:15]),
    "memory": ("Memory of an idle watch, KiB", ("public side", "cluster side"), FIGURES[19:21]),
}
"""By name of the file: title, groups, and the figure of each group."""


def publish(recording: Recording, folder: Path) -> list[Path]:
    """Write page, plots and baseline into `folder`, and return what was written.

    Raises:
        BenchFailed: the page has no place for the figures.
    """
    plots = folder / "benchmarks"
    plots.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in _plots(recording).items():
        written.append(plots / f"{name}.svg")
        written[-1].write_text(text)
    put(folder / "benchmarks.md", "figures", page(recording, [path.stem for path in written]))
    recording.write(plots / "baseline.json")
    return [*written, folder / "benchmarks.md", plots / "baseline.json"]


def page(recording: Recording, plots: Sequence[str]) -> str:
    """Return the generated part of the page.

    Args:
        plots: names of those that were drawn.
    """
    parts = [_how(recording), comparison(recording), *_own(recording), *_failures(recording)]
    parts += [f"![{PLOTS[name][0]}](benchmarks/{name}.svg)" for name in plots]
    return "\n\n".join([*parts, *_configuration(recording)])


def _how(recording: Recording) -> str:
    rounds = max((len(each) for each in recording.systems.values()), default=0)
    counted = (
        "one round" if rounds == 1 else f"medians of {rounds} interleaved rounds, with the least and the most"
    )
    facts = [
        ("recorded", recording.recorded),
        ("commit", recording.commit),
        ("command", f"`{recording.command}`" if recording.command else ""),
        ("users", recording.load),
        ("machine", ", ".join(f"{name} {value}" for name, value in recording.machine.items())),
        ("versions", ", ".join(f"{name} {value}" for name, value in recording.versions.items())),
        ("peers", ", ".join(f"{name} {value}" for name, value in recording.peer_versions.items())),
        ("figures", counted),
    ]
    return table(["", ""], [[name, value] for name, value in facts if value])


# Tables ----------------------------------------------------------------------------------------


def comparison(recording: Recording) -> str:
    """Return the table of all systems: ours, its ratio to the best of the peers, the peers, the yardsticks."""
    systems = recording.systems
    others = sorted((name for name in systems if name != OURS), key=lambda name: name in YARDSTICKS)
    ours = [OURS] if OURS in systems else []
    rows = []
    for figure in FIGURES:
        cells = {name: _cell(recording, name, figure) for name in (*ours, *others)}
        if any(cell != DASH for cell in cells.values()):
            ratio = [_ratio(recording, figure)] if others and ours else []
            rows.append(
                [figure.title, *(cells[name] for name in ours), *ratio, *(cells[name] for name in others)]
            )
    header = ["figure", *ours, *(["ratio to the best peer"] if others and ours else []), *others]
    return table(header, rows)


def _cell(recording: Recording, name: str, figure: Figure) -> str:
    found = spread(recording.systems[name], figure)
    if found is None or (figure.inner and name in NO_INNER_SIDE):
        return DASH
    return f"**{found}**" if name == OURS else str(found)


def _ratio(recording: Recording, figure: Figure) -> str:
    ours = spread(recording.systems[OURS], figure)
    best = best_peer(recording.systems, figure)
    if ours is None or best is None or not best[1]:
        return DASH
    return f"{number(ours.median / best[1])} ({best[0]})"


def _own(recording: Recording) -> list[str]:
    rows = []
    for figure in OWN_FIGURES:
        found = spread(recording.own, figure)
        if found is not None:
            rows.append([figure.title, str(found)])
    rows += [[title, number(value)] for title, value in recording.callbacks.items()]
    return [table(["cluster-tunnel alone", ""], rows)] if rows else []


def _failures(recording: Recording) -> list[str]:
    found = [
        f"- {name}: {failure}" for name, rounds in recording.systems.items() for failure in failures(rounds)
    ]
    return ["What did not work in these rounds:\n\n" + "\n".join(found)] if found else []


def _configuration(recording: Recording) -> list[str]:
    if not recording.configuration:
        return []
    parts = [
        f"`cluster-tunnel {name} --print-config`\n\n```yaml\n{text.strip()}\n```"
        for name, text in recording.configuration.items()
    ]
    return ["<details><summary>The configuration that was measured</summary>", *parts, "</details>"]


# Plots -----------------------------------------------------------------------------------------


def _plots(recording: Recording) -> dict[str, str]:
    drawn = {}
    for name, (title, names, figures) in PLOTS.items():
        groups = {group: _series(recording, figure) for group, figure in zip(names, figures, strict=True)}
        groups = {group: series for group, series in groups.items() if series}
        if groups:
            drawn[name] = bars(title, groups, figures[0].better)
    return drawn


def _series(recording: Recording, figure: Figure) -> dict[str, Spread]:
    names = sorted(recording.systems, key=lambda name: (name != OURS, name in YARDSTICKS))
    found = {
        name: spread(recording.systems[name], figure)
        for name in names
        if not (figure.inner and name in NO_INNER_SIDE)
    }
    return {name: each for name, each in found.items() if each is not None}
