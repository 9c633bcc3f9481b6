"""The page about growth, and its command."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.bench import growth
from tests.bench.growth_page import TOPICS, publish
from tests.bench.processes import ROOT, BenchFailed

PAGE = "By hand.\n<!-- growth: begin -->\n<!-- growth: end -->\n"


def recording() -> dict[str, Any]:
    points = {
        name: [{"count": count, **dict.fromkeys(topic.columns.values(), 2.0)} for count in (10, 100)]
        for name, topic in TOPICS.items()
    }
    facts = {"recorded": "2026-01-02T03:04:05Z", "commit": "0123456789ab", "machine": {"cores": "2"}}
    return {**facts, "flags": {"stub": "--max-connections 9"}, "points": points}


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    (tmp_path / "benchmarks.md").write_text(PAGE)
    return tmp_path


def test_each_thing_gets_a_table_and_its_plots(docs: Path) -> None:
    written = publish(recording(), docs)
    text = (docs / "benchmarks.md").read_text()
    assert text.startswith("By hand.\n")
    assert text.count("\n| 100 |") == len(TOPICS)
    plots = [path for path in written if path.suffix == ".svg"]
    assert len(plots) == sum(len(topic.plots) for topic in TOPICS.values())
    assert all(f"benchmarks/{path.name}" in text and path.is_file() for path in plots)
    assert json.loads((docs / "benchmarks/growth.json").read_text()) == recording()


def test_every_plot_is_of_a_column_that_is_shown() -> None:
    for topic in TOPICS.values():
        for plot in topic.plots:
            assert set(plot.series.values()) <= set(topic.columns.values())


def test_every_measurement_has_a_topic_and_numbers() -> None:
    assert set(growth.MEASURES) == set(TOPICS) == set(growth.NUMBERS)
    assert all(small == full[: len(small)] or small[-1] <= full[0] for small, full in growth.NUMBERS.values())


def test_something_else_is_no_recording_of_growth(docs: Path) -> None:
    with pytest.raises(BenchFailed, match="no recording"):
        publish({"systems": {}}, docs)


def test_the_page_of_this_project_has_its_place(docs: Path) -> None:
    (docs / "benchmarks.md").write_text((ROOT / "docs/benchmarks.md").read_text())
    publish(recording(), docs)


@pytest.mark.parametrize("words", [["pods"], ["--from", "x", "--full"], ["--from", "x", "clusters"]])
def test_a_call_that_makes_no_sense_is_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        growth.arguments(words)
    assert end.value.code == 2
