"""The tables and the chart that are made of the figures, and where they stand in a document."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.faults.chart import Line, Panel, render
from tests.faults.figures import Run, Runs


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its title, and what it makes of all good runs of one scenario."""

    title: str
    of: Callable[[Sequence[Run]], str]


def part(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` of them are."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _spread(key: str) -> list[Column]:
    def of(share: float) -> Callable[[Sequence[Run]], str]:
        return lambda runs: f"{part([run[key] for run in runs], share):.2f}"

    return [Column("median", of(0.5)), Column("p90", of(0.9)), Column("longest", of(1.0))]


def _sum(title: str, key: str) -> Column:
    return Column(title, lambda runs: str(sum(run[key] for run in runs)))


def _worst(title: str, key: str) -> Column:
    return Column(title, lambda runs: f"{max(run[key] for run in runs):.2f}")


_RUNS: Final = Column("runs", lambda runs: str(len(runs)))
_PROVEN: Final = Column("written by both", lambda runs: str(sum(run["overlap"]["proven"] for run in runs)))
_BOOK: Final = [
    _sum("requests", "requests"),
    _sum("tried again", "tried_again"),
    _sum("failed", "failed"),
    _worst("slowest, s", "slowest_seconds"),
    _sum("POSTs miscounted", "miscounted"),
]


CLEAN_END: Final = {
    "watch": "between two events",
    "log": "as if it were complete",
    "exec": "connection closed",
}
"""What an end looks like that no error comes with."""


def _endings(runs: Sequence[Run]) -> list[list[str]]:
    """One row for each kind of stream."""
    rows = []
    endings = [ending for run in runs for ending in run["endings"]]
    for kind in dict.fromkeys(ending["kind"] for ending in endings):
        own = [ending for ending in endings if ending["kind"] == kind]
        seconds = [ending["seconds"] for ending in own]
        how = sorted({CLEAN_END[kind] if ending["how"] == "clean" else "broken off" for ending in own})
        rows.append([kind, str(len(own)), f"{min(seconds):.2f} to {max(seconds):.2f}", ", ".join(how)])
    return rows


TABLES: Final[Sequence[tuple[str, str, Sequence[Column]]]] = (
    (
        "takeovers",
        "the active stub",
        (
            _RUNS,
            *_spread("silence_seconds"),
            _sum("answered by both", "answered_by_both"),
            _PROVEN,
            _sum("agents that dialled", "redialled"),
            *_BOOK,
        ),
    ),
    (
        "freezes",
        "the active stub",
        (
            _RUNS,
            Column(
                "answers behind it",
                lambda runs: ", ".join(sorted({str(s) for r in runs for s in r["statuses"]})),
            ),
            _PROVEN,
        ),
    ),
    ("rollouts", "restarted", (_RUNS, _worst("longest, s", "seconds"), *_BOOK)),
    (
        "kills",
        "agent",
        (
            _RUNS,
            _sum("GETs through it", "gets"),
            _sum("answered through another", "tried_elsewhere"),
            _sum("POSTs through it", "posts"),
            _sum("failed", "failed"),
            _sum("failed elsewhere", "failed_elsewhere"),
            _sum("failed later", "unlucky"),
            _worst("out of the pick after, s", "out_seconds"),
            _sum("POSTs miscounted", "miscounted"),
        ),
    ),
    (
        "black holes",
        "agent",
        (
            _RUNS,
            *_spread("out_seconds"),
            _sum("requests", "requests"),
            _sum("took above 1 s", "stuck"),
            _sum("failed", "failed"),
            _sum("failed later", "unlucky"),
            _sum("POSTs miscounted", "miscounted"),
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario for the tables.

    Attributes:
        name: in the kept figures.
        table: that it is a row of.
        row: what the row is called.
    """

    name: str
    table: str
    row: str


def tables(results: Runs, scenarios: Sequence[Scenario]) -> dict[str, str]:
    """Return each table as Markdown, by its name."""
    found = {}
    for name, first, columns in TABLES:
        rows = [
            [_row(scenario, results), *(column.of(_good(results[scenario.name])) for column in columns)]
            for scenario in scenarios
            if scenario.table == name and _good(results.get(scenario.name, ()))
        ]
        if rows:
            found[name] = table([first, *(column.title for column in columns)], rows)
    rows = [
        [scenario.row, *row]
        for scenario in scenarios
        if scenario.table == "drains"
        for row in _endings(_good(results.get(scenario.name, ())))
    ]
    if rows:
        found["drains"] = table(["drained", "open", "of them", "ended after, s", "how"], rows)
    return found


def _row(scenario: Scenario, results: Runs) -> str:
    """Return what a row is called; runs that did not come to their end are not left out in silence."""
    broken = len(results[scenario.name]) - len(_good(results[scenario.name]))
    return (
        f"{scenario.row} ({broken} more did not come to {'its' if broken == 1 else 'their'} end)"
        if broken
        else scenario.row
    )


def _good(runs: Sequence[Run]) -> list[Run]:
    return [run for run in runs if "error" not in run]


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(row) + " |" for row in (titles, ["---"] * len(titles), *rows)]
    return "\n".join(lines)


def distribution(results: Runs, scenarios: Sequence[Scenario]) -> str:
    """Return a chart of how long nobody answered: the share of runs by seconds."""
    lines = []
    for scenario in scenarios:
        values = sorted(
            run["silence_seconds"]
            for run in _good(results.get(scenario.name, ()))
            if "silence_seconds" in run
        )
        if values:
            share = [(value, 100 * (number + 1) / len(values)) for number, value in enumerate(values)]
            lines.append(Line(scenario.name, [(values[0], 0.0), *share]))
    return render([Panel("runs that were over, %", lines)], "seconds without an answer")


def write_between_markers(document: Path, parts: Mapping[str, str]) -> None:
    """Replace what stands between `<!-- NAME -->` and `<!-- /NAME -->` of a document, for each name.

    Raises:
        ValueError: the document lacks the markers of a name.
    """
    text = document.read_text()
    for name, part in parts.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise ValueError(f"{document}: {begin.strip()} or {end} is missing")
        text = f"{before}{begin}\n{part}\n\n{end}{after}"
    document.write_text(text)
