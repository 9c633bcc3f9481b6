"""Recordings as files."""

import json
from pathlib import Path

import pytest

from tests.bench.processes import BenchFailed
from tests.bench.recording import Recording, read_all
from tests.unit.bench.recordings import a_recording, a_round


def test_a_recording_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "baseline.json"
    a_recording().write(path)
    assert Recording.read(path) == a_recording()


def test_what_an_outside_program_wrote_is_a_recording_without_facts(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    path.write_text(json.dumps({"frp": [a_round()]}))
    found = Recording.read(path)
    assert found.systems == {"frp": [a_round()]}
    assert found.recorded.endswith("Z")
    assert found.commit == ""


@pytest.mark.parametrize("text", ["", "[]", '{"frp": 1}', '{"frp": [1]}', '{"frp": [{"get1": 1}]}'])
def test_anything_else_is_refused_by_its_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bench.json"
    path.write_text(text)
    with pytest.raises(BenchFailed, match=r"bench\.json"):
        Recording.read(path)


def test_several_recordings_are_one_with_the_facts_of_the_first(tmp_path: Path) -> None:
    bare, whole = tmp_path / "bare.json", tmp_path / "whole.json"
    bare.write_text(json.dumps({"cluster-tunnel": [a_round(1.0)], "frp": [a_round()]}))
    a_recording().write(whole)
    together = read_all([whole, bare])
    assert [len(rounds) for rounds in together.systems.values()] == [2, 1]
    assert together.recorded == a_recording().recorded
    assert read_all([bare, whole]).commit == a_recording().commit
