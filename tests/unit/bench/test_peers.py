"""Measuring beside others, by a program that a test plays."""

import sys
from pathlib import Path

import pytest

from tests.bench.facts import peer_versions
from tests.bench.peers import built, chosen, record, without_folders
from tests.bench.processes import BenchFailed

PROGRAM = """\
import json, os, sys
words = sys.argv[1:]
if "broken" in words:
    sys.exit(3)
output = words[words.index("-o") + 1]
systems = words[words.index("-s") + 1 : words.index("-r")]
seen = {"words": " ".join(words[-4:-2]), "tunnel": os.environ["CLUSTER_TUNNEL"], "lease": os.environ.get("CTUN_LEASE")}
json.dump({name: [{"seen": seen}] * int(words[words.index("-r") + 1]) for name in systems}, open(output, "w"))
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "bin").mkdir()
    for name in ("load", "upstream", "front", "back", "frps", "frpc"):
        (tmp_path / "bin" / name).touch()
    return tmp_path


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "bench.py"
    path.write_text(PROGRAM)
    return path


def test_what_is_built_is_measured(home: Path) -> None:
    assert built(home) == ["direct", "frp", "remotedialer", "cluster-tunnel"]
    assert chosen(["bare", "frp"], home) == ["bare", "frp"]


@pytest.mark.parametrize(("name", "reason"), [("chisel", "is not built"), ("ngrok", "is none of")])
def test_a_system_that_cannot_run_is_named(home: Path, name: str, reason: str) -> None:
    with pytest.raises(BenchFailed, match=f"{name} {reason}"):
        chosen([name], home)


def test_without_anything_built_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BenchFailed, match="`build` first"):
        built(tmp_path)


def test_the_program_is_called_with_our_own_command_and_a_clean_environment(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CTUN_LEASE", "file:/somewhere")
    found = record(program, ["frp", "cluster-tunnel"], 2, 1.5, tmp_path / "rounds.json")
    assert {name: len(rounds) for name, rounds in found.items()} == {"frp": 2, "cluster-tunnel": 2}
    seen = found["frp"][0]["seen"]
    assert seen["words"] == "-d 1.5"
    assert Path(seen["tunnel"]).parent == Path(sys.executable).parent
    assert seen["lease"] is None


def test_a_program_that_fails_is_an_error_with_its_exit_code(program: Path, tmp_path: Path) -> None:
    with pytest.raises(BenchFailed, match="exit code 3"):
        record(program, ["broken"], 1, 1.0, tmp_path / "rounds.json")


def test_versions_of_the_peers_come_from_the_file_that_builds_them(program: Path) -> None:
    program.with_name("go.mod").write_text(
        "module x\nrequire github.com/jpillora/chisel v1.10.1\nrequire (\n\tgithub.com/fatedier/frp v0.70.1 // y\n)\n"
    )
    found = peer_versions(program)
    assert (found["chisel"], found["frp"]) == ("1.10.1", "0.70.1")
    assert "remotedialer" not in found


def test_an_error_keeps_no_folder_of_this_machine() -> None:
    error = "Command '['/home/jane/bench/bin/load', '-url', 'https://localhost:1/a/b']' timed out"
    assert without_folders(error) == "Command '['load', '-url', 'https://localhost:1/a/b']' timed out"
