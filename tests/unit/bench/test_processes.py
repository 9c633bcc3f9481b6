"""Processes that measure, and those that are measured."""

import os
import sys
import time
from pathlib import Path

import pytest

from tests.bench.processes import BenchFailed, clean_environment, fitting, side, worker


def test_variables_that_change_settings_do_not_reach_children(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CTUN_LISTEN", "HTTPS_PROXY", "https_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("HARMLESS", "y")
    found = clean_environment()
    assert found["HARMLESS"] == "y"
    assert not {name.upper() for name in found} & {"CTUN_LISTEN", "HTTPS_PROXY", "NO_PROXY"}


def test_what_fits_into_the_open_files_is_measured_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert fitting(1000, 2, 20_000, "watches") == 1000
    assert capsys.readouterr().err == ""


def test_what_does_not_fit_is_cut_with_a_clear_message(capsys: pytest.CaptureFixture[str]) -> None:
    assert fitting(10_000, 2, 20_000, "watches") == 9900
    said = capsys.readouterr().err
    assert "10000 watches need 20200 open files" in said
    assert "ulimit" in said


def test_a_side_shows_its_cpu_time_and_memory_and_is_ended(tmp_path: Path) -> None:
    code = "import time\nwhile time.process_time() < 0.2: pass\nprint('spent', flush=True)\ntime.sleep(60)"
    with side("busy", tmp_path, sys.executable, "-c", code) as busy:
        deadline = time.monotonic() + 10
        while "spent" not in busy.log.read_text() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert 0.15 < busy.cpu_seconds() < 2
        assert 1 < busy.resident_mib() < 200
        assert busy.alive
    assert not busy.alive


def test_a_worker_that_ended_is_an_error_and_not_a_hang() -> None:
    with worker("load", "no-port", os.devnull) as users, pytest.raises(BenchFailed, match="load"):
        users.ask(do="get", clients=1, seconds=1)
