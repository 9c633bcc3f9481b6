"""The part of docs/benchmarks.md about growth: a table and plots for each thing of which there are many."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.bench.figures import number
from tests.bench.pages import put, table
from tests.bench.processes import BenchFailed
from tests.bench.svg import Line, lines

Points = Sequence[Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Plot:
    """One plot.

    Attributes:
        file: its name.
        title: says what y is.
        series: by name in the legend, the key of its points.
    """

    file: str
    title: str
    series: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Topic:
    """One thing of which there are many.

    Attributes:
        title: for people.
        counted: what x is.
        columns: of the table, by title: the key.
        plots: of it.
    """

    title: str
    counted: str
    columns: Mapping[str, str]
    plots: Sequence[Plot]


TOPICS: Final[Mapping[str, Topic]] = {
    "clusters": Topic(
        "Connected clusters",
        "clusters",
        {
            "stub, KiB each": "stub_kib",
            "stub at rest, µs/s each": "stub_idle_us_per_second",
            "stub, ms to take one in": "stub_connect_ms",
            "all connected after, s": "connect_seconds",
            "stub, µs a request": "stub_us_per_request",
            "requests/s": "per_second",
        },
        (
            Plot("growth-clusters-memory", "Stub memory, KiB for each cluster", {"stub": "stub_kib"}),
            Plot("growth-clusters-cpu", "Stub CPU, µs a request", {"stub": "stub_us_per_request"}),
        ),
    ),
    "watches": Topic(
        "Silent watches",
        "watches",
        {
            "stub, KiB each": "stub_kib",
            "agent, KiB each": "agent_kib",
            "stub, ms to open one": "stub_open_ms",
            "agent, ms to open one": "agent_open_ms",
            "stub at rest, µs/s each": "stub_idle_us_per_second",
            "agent at rest, µs/s each": "agent_idle_us_per_second",
        },
        (Plot("growth-watches", "Memory, KiB for each watch", {"stub": "stub_kib", "agent": "agent_kib"}),),
    ),
    "uploads": Topic(
        "Uploads at once",
        "uploads",
        {
            "stub, KiB each": "stub_kib",
            "agent, KiB each": "agent_kib",
            "stub, s a GB": "stub_s_per_gb",
            "agent, s a GB": "agent_s_per_gb",
            "MB/s together": "mb_per_second",
        },
        (
            Plot(
                "growth-uploads",
                "CPU, s a GB of upload",
                {"stub": "stub_s_per_gb", "agent": "agent_s_per_gb"},
            ),
            Plot(
                "growth-uploads-memory",
                "Memory, KiB for each upload",
                {"stub": "stub_kib", "agent": "agent_kib"},
            ),
        ),
    ),
    "answers": Topic(
        "Large answers",
        "MiB",
        {
            "stub, s a GB": "stub_s_per_gb",
            "agent, s a GB": "agent_s_per_gb",
            "stub grew by, MiB": "stub_mib_grown",
            "agent grew by, MiB": "agent_mib_grown",
            "MB/s": "mb_per_second",
        },
        (
            Plot(
                "growth-answers",
                "CPU, s a GB of answer",
                {"stub": "stub_s_per_gb", "agent": "agent_s_per_gb"},
            ),
        ),
    ),
    "storm": Topic(
        "Agents that come back all at once",
        "agents",
        {
            "all serve after, s": "seconds",
            "half of them after, s": "p50_seconds",
            "ms each": "milliseconds_each",
            "stub, ms of CPU each": "stub_connect_ms",
        },
        (Plot("growth-storm", "Until all serve again, ms for each agent", {"all": "milliseconds_each"}),),
    ),
}


def publish(recording: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write the section, its plots and growth.json into `folder`, and return what was written.

    Raises:
        BenchFailed: it is no recording of growth, or the page has no place for it.
    """
    if not isinstance(recording, dict) or not isinstance(recording.get("points"), dict):
        raise BenchFailed("this is no recording of growth")
    plots = folder / "benchmarks"
    plots.mkdir(parents=True, exist_ok=True)
    written = []
    parts = [_how(recording)]
    for name, points in recording["points"].items():
        topic = TOPICS[name]
        parts += [f"### {topic.title}", _table(topic, points)]
        for plot in topic.plots:
            written.append(plots / f"{plot.file}.svg")
            written[-1].write_text(draw(plot, topic.counted, points))
            parts.append(f"![{plot.title}](benchmarks/{plot.file}.svg)")
    put(folder / "benchmarks.md", "growth", "\n\n".join(parts))
    (plots / "growth.json").write_text(json.dumps(recording, indent=1) + "\n")
    return [*written, folder / "benchmarks.md", plots / "growth.json"]


def _how(recording: Mapping[str, Any]) -> str:
    machine = ", ".join(recording["machine"].values())
    flags = "; ".join(f"{name}: `{text}`" for name, text in recording["flags"].items())
    return f"Recorded {recording['recorded']} at {recording['commit']} on {machine}. Flags beside the defaults: {flags}."


def _table(topic: Topic, points: Points) -> str:
    rows = [
        [f"{point['count']:g}", *(number(point[key]) for key in topic.columns.values())] for point in points
    ]
    return table([topic.counted, *topic.columns], rows)


def draw(plot: Plot, counted: str, points: Points) -> str:
    """Return a plot over the numbers that were measured."""
    drawn = [
        Line(name, [(point["count"], max(point[key], 0.0)) for point in points])
        for name, key in plot.series.items()
    ]
    return lines(plot.title, counted, drawn)
