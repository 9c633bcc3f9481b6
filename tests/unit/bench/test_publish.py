"""The page, its plots and the baseline, from a recording."""

import json
from pathlib import Path

import pytest

from tests.bench import __main__ as command
from tests.bench import performance
from tests.bench.processes import ROOT
from tests.bench.publish import comparison, publish
from tests.unit.bench.recordings import a_recording, a_round

PAGES = {
    "benchmarks.md": "By hand.\n<!-- figures: begin -->\n<!-- figures: end -->\nMore.\n",
    "performance.md": "By hand.\n<!-- costs: begin -->\n<!-- costs: end -->\n",
}


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    for name, text in PAGES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def row(text: str, title: str) -> list[str]:
    (line,) = (line for line in text.splitlines() if line.startswith(f"| {title}"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_ours_stands_beside_the_peers_with_its_ratio_to_the_best() -> None:
    text = comparison(a_recording(frp=[a_round(400.0)], chisel=[a_round(500.0)], direct=[a_round(2000.0)]))
    assert row(text, "figure")[1:] == ["cluster-tunnel", "ratio to the best peer", "frp", "chisel", "direct"]
    assert row(text, "GET, 16 clients, requests/s")[1:] == [
        "**1 000**",
        "2.00 (chisel)",
        "400",
        "500",
        "2 000",
    ]


def test_a_yardstick_has_no_cluster_side() -> None:
    text = comparison(a_recording(direct=[a_round()]))
    assert row(text, "CPU a request, cluster side")[-1] == "\N{EN DASH}"
    assert row(text, "CPU a request, public side")[-1] == "120"


def test_ours_alone_has_no_ratio() -> None:
    assert row(comparison(a_recording(3)), "figure")[1:] == ["cluster-tunnel"]


def test_the_page_says_how_it_was_made_and_keeps_what_is_written_by_hand(docs: Path) -> None:
    written = publish(a_recording(frp=[{**a_round(), "up": {"error": "time-out"}}]), docs)
    text = (docs / "benchmarks.md").read_text()
    assert text.startswith("By hand.\n")
    assert text.endswith("\nMore.\n")
    for said in ("0123456789ab", "abacus", "listen: 127.0.0.1:8443", "- frp: up: time-out", "75.0"):
        assert said in text
    assert json.loads((docs / "benchmarks/baseline.json").read_text())["commit"] == "0123456789ab"
    assert all(f"benchmarks/{path.name}" in text for path in written if path.suffix == ".svg")


def test_what_was_recorded_before_is_published_by_the_command(
    docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_recording().write(docs / "bench.json")
    words = ["bench", "--from", str(docs / "bench.json"), "--docs", str(docs)]
    monkeypatch.setattr("sys.argv", words)
    assert command.main() == 0
    assert "CPU a request" in (docs / "benchmarks.md").read_text()
    assert "a GET of 2 kB" in (docs / "performance.md").read_text()


def test_what_an_outside_program_recorded_gets_the_facts_of_this_machine(
    docs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (docs / "bench.json").write_text(json.dumps({"cluster-tunnel": [a_round()], "frp": [a_round()]}))
    monkeypatch.setattr("sys.argv", ["bench", "--from", str(docs / "bench.json"), "--docs", str(docs)])
    assert command.main() == 0
    assert "CPython" in (docs / "benchmarks.md").read_text()
    assert (docs / "performance.md").read_text() == PAGES["performance.md"]
    assert "stays as it is" in capsys.readouterr().err


def test_a_page_without_its_place_is_one_clear_line(
    docs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    a_recording().write(docs / "bench.json")
    (docs / "benchmarks.md").write_text("nothing")
    monkeypatch.setattr("sys.argv", ["bench", "--from", str(docs / "bench.json"), "--docs", str(docs)])
    assert command.main() == 1
    assert "benchmarks.md" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["--from", "a", "--record", "b"],
        ["--systems", "frp"],
        ["--rounds", "0"],
        ["--seconds", "0"],
        ["--fast"],
    ],
)
def test_a_call_that_makes_no_sense_is_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        command.arguments(words)
    assert end.value.code == 2


def test_the_recorded_command_holds_no_folder_of_whoever_called_it() -> None:
    called = ["--peers", str(ROOT / "elsewhere/bench.py"), "--rounds", "5"]
    assert command.command(called) == "python -m tests.bench --peers bench.py --rounds 5"


def test_the_pages_of_this_project_have_their_places(tmp_path: Path) -> None:
    for name in PAGES:
        (tmp_path / name).write_text((ROOT / "docs" / name).read_text())
    publish(a_recording(), tmp_path)
    performance.publish(a_recording(), tmp_path)
