"""`cluster-tunnel drain` and `cluster-tunnel profile`, asking a process that a test plays."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tunnel.cli.main import main

Output = pytest.CaptureFixture[str]

DONE = {"seconds": 2.0, "samples": 40, "stacks": {"MainThread;app:main": 300_000, "logs;app:write": 100_000}}


class ScriptedProcess:
    """Answers one request with the lines of a script.

    Args:
        path: of its socket.
        script: what it says.
    """

    def __init__(self, path: Path, *script: dict[str, object]) -> None:
        self.request: dict[str, object] = {}
        self._script = script
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen()
        self._thread = threading.Thread(target=self._answer)
        self._thread.start()

    def _answer(self) -> None:
        connection, _ = self._listening.accept()
        with connection, connection.makefile("rb") as lines:
            self.request = json.loads(lines.readline() or b"{}")
            connection.sendall(b"".join(json.dumps(line).encode() + b"\n" for line in self._script))

    def end(self) -> None:
        self._thread.join()
        self._listening.close()


Script = Callable[..., ScriptedProcess]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control"


@pytest.fixture
def process(path: Path) -> Iterator[Script]:
    started: list[ScriptedProcess] = []

    def start(*script: dict[str, object]) -> ScriptedProcess:
        started.append(ScriptedProcess(path, *script))
        return started[-1]

    yield start
    for each in started:
        each.end()


# Draining ------------------------------------------------------------------------------------------


def test_a_drain_prints_what_has_changed_and_ends_with_0(process: Script, path: Path, capsys: Output) -> None:
    counts = [{"report": {"running": count}} for count in (2, 2, 1)]
    asked = process(*counts, {"done": {"running": 0}})
    assert main(["drain", "--control", str(path)]) == 0
    *progress, last = capsys.readouterr().out.splitlines()
    assert progress == ["draining: 2 connections still open", "draining: 1 connection still open"]
    assert last.startswith("drained in ")
    assert asked.request == {"command": "drain"}


def test_a_drain_that_broke_something_off_is_1(process: Script, path: Path, capsys: Output) -> None:
    process({"done": {"running": 3}})
    assert main(["drain", "--control", str(path)]) == 1
    assert "3 connections had to be broken off" in capsys.readouterr().err


def test_the_socket_may_be_given_by_a_variable(
    process: Script, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process({"done": {"running": 0}})
    monkeypatch.setenv("CTUN_CONTROL", str(path))
    assert main(["drain"]) == 0


# Profiles ------------------------------------------------------------------------------------------


def test_a_profile_prints_its_table(process: Script, path: Path, capsys: Output) -> None:
    asked = process({"done": DONE})
    assert main(["profile", "--control", str(path), "--seconds", "2", "--rate", "50"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "40 looks in 2.0 s, of which 20% were CPU time",
        "",
        "  own %  total %  function",
        "  75.0%    75.0%  app:main",
        "  25.0%    25.0%  app:write",
    ]
    assert asked.request == {"command": "profile", "seconds": 2, "hertz": 50}


def test_a_profile_of_a_process_that_did_nothing_says_so(process: Script, path: Path, capsys: Output) -> None:
    process({"done": {"seconds": 1.0, "samples": 0, "stacks": {}}})
    assert main(["profile", "--control", str(path), "--seconds", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[2:] == [
        "it had next to nothing to do: look for longer, or while it works"
    ]


def test_the_stacks_of_a_profile_are_written_where_it_is_asked_for(process: Script, path: Path) -> None:
    process({"done": DONE})
    stacks = path.with_name("stacks")
    assert main(["profile", "--control", str(path), "-o", str(stacks)]) == 0
    assert stacks.read_text() == "MainThread;app:main 300000\nlogs;app:write 100000\n"


@pytest.mark.parametrize(
    "flags", [["--seconds", "0"], ["--seconds", "601"], ["--rate", "fast"], ["--rows", "-1"]]
)
def test_a_number_out_of_range_is_named_by_its_flag(flags: list[str], path: Path, capsys: Output) -> None:
    assert main(["profile", "--control", str(path), *flags]) == 2
    assert f"{flags[0]}: " in capsys.readouterr().err


# What goes wrong -----------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["drain", "profile"])
def test_a_missing_socket_is_a_usage_error(
    command: str, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CTUN_CONTROL", raising=False)
    assert main([command]) == 2
    assert "--control is missing" in capsys.readouterr().err


def test_a_path_where_nothing_is_asks_whether_the_process_runs(path: Path, capsys: Output) -> None:
    assert main(["drain", "--control", str(path)]) == 1
    assert "is the stub or agent running" in capsys.readouterr().err


def test_a_socket_that_nobody_listens_on_says_so(path: Path, capsys: Output) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    assert main(["drain", "--control", str(path)]) == 1
    assert "has ended" in capsys.readouterr().err


def test_a_refusal_is_shown_as_the_process_words_it(process: Script, path: Path, capsys: Output) -> None:
    process({"error": "a profile is being taken already"})
    assert main(["profile", "--control", str(path)]) == 1
    assert "a profile is being taken already" in capsys.readouterr().err


def test_a_process_that_ends_without_an_answer_is_an_error(
    process: Script, path: Path, capsys: Output
) -> None:
    process({"report": {"running": 1}})
    assert main(["drain", "--control", str(path)]) == 1
    assert "ended without an answer" in capsys.readouterr().err
