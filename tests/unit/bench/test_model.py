"""The cost model and the page it fills."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.bench import model
from tests.bench.model import Cost, Load, checks, cores, costs, mib
from tests.bench.performance import section
from tests.bench.processes import BenchFailed
from tests.unit.bench.recordings import a_recording, both


def test_what_finds_its_process_asleep_costs_more() -> None:
    cost = Cost(asleep=200.0, busy=100.0)
    assert [cost.at(busy) for busy in (0.0, 0.5, 1.0, 3.0)] == [200.0, 150.0, 100.0, 100.0]


def test_unit_costs_are_the_medians_of_the_recording() -> None:
    stub, agent = (costs(a_recording(3), side) for side in ("public", "inner"))
    assert stub.request == Cost(200.0, 100.0)
    assert stub.connection == Cost(4000.0, 2000.0)
    assert (stub.down, stub.up) == (Cost(4.0, 2.0), Cost(6.0, 3.0))
    assert (stub.watch, stub.stalled, stub.rest) == (64.0, 256.0, 50.0)
    assert agent.connection == Cost(0.0, 0.0)


def test_a_light_load_costs_what_it_costs_asleep_and_a_heavy_one_what_it_costs_busy() -> None:
    stub = costs(a_recording(), "public")
    assert cores(stub, Load(requests=1)) == pytest.approx(200e-6, rel=0.01)
    assert cores(stub, Load(requests=20_000)) == pytest.approx(2.0)
    assert cores(stub, Load()) == 0


def test_how_busy_it_is_and_what_a_request_costs_agree_with_each_other() -> None:
    stub = costs(a_recording(), "public")
    load = Load(requests=3000, connections=20, down=50, up=20)
    busy = cores(stub, load)
    assert 0 < busy < 1
    assert model.at(stub, load, busy) == pytest.approx(busy, abs=1e-6)


def test_memory_is_what_is_open_beside_a_process_at_rest() -> None:
    assert mib(costs(a_recording(), "public"), Load(watches=16, stalled=4)) == 50.0 + 1.0 + 1.0


def test_a_figure_that_was_not_measured_is_named() -> None:
    recording = a_recording()
    del recording.systems["cluster-tunnel"][0]["down"]
    with pytest.raises(BenchFailed, match="public_cpu_s_per_gb of down"):
        costs(recording, "public")


# Looking back --------------------------------------------------------------------------------------


def with_mixed(cores_of_each: float) -> Any:
    recording = a_recording()
    load = {"requests": 1000.0, "connections": 0.0, "down": 0.0, "up": 0.0}
    recording.own.append({"mixed": load | both("cores", cores_of_each)})
    return recording


def test_a_measured_load_is_compared_with_what_the_model_says_of_it() -> None:
    recording = with_mixed(0.2)
    stub, agent = checks(recording)
    assert stub.measured == agent.measured == 0.2
    assert stub.predicted == cores(costs(recording, "public"), Load(requests=1000))
    assert stub.off == pytest.approx(stub.predicted / 0.2 - 1)


def test_downloads_at_full_speed_are_reckoned_as_busy_however_little_of_the_core_they_got() -> None:
    recording = a_recording()
    beside = {"per_second": 1000.0, "beside_mb_per_second": 100.0, **both("us_per_request", 300.0)}
    recording.systems["cluster-tunnel"][0]["get4_beside_4bulk"] = beside
    stub, _ = checks(recording)
    assert stub.predicted == pytest.approx(0.1 + 0.2)
    assert stub.measured == pytest.approx(0.3)


# Showing -------------------------------------------------------------------------------------------


def test_the_page_shows_costs_limits_examples_and_how_true_they_are() -> None:
    text = section(with_mixed(0.2))
    assert "| a GET of 2 kB, µs | 200 | 100 | 200 | 100 |" in text
    assert "| requests/s | 10 000 | 10 000 |" in text
    assert "| new connections/s | 500 | \N{EN DASH} |" in text
    assert "| stub, a mixed load, cores |" in text
    assert "20 people with kubectl" in text


def test_a_recording_without_mixed_loads_claims_nothing_of_them() -> None:
    assert "measured in that run" not in section(a_recording())


def test_the_command_foretells_a_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    a_recording().write(tmp_path / "baseline.json")
    words = ["model", "--baseline", str(tmp_path / "baseline.json"), "--requests", "20000", "--json"]
    monkeypatch.setattr("sys.argv", words)
    assert model.main() == 0
    assert json.loads(capsys.readouterr().out)["stub"] == {"cores": pytest.approx(2.0), "mib": 50.0}


def test_a_missing_baseline_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["model", "--baseline", str(tmp_path / "none.json")])
    assert model.main() == 1
    assert "none.json" in capsys.readouterr().err
