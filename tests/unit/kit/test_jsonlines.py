"""Lines of JSON in a file."""

import errno
import io
import json
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from io import FileIO
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tunnel.kit import linewriter
from tunnel.kit.failures import CommandFailed
from tunnel.kit.jsonlines import JsonLines


class Disk(io.BytesIO):
    """A file that takes only so much more."""

    room = 0

    def write(self, data: Any, /) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = data[: self.room]
        self.room -= len(taken)
        return super().write(taken)

    def close(self) -> None:
        """Keep what was written, to be looked at."""


class Pipe(io.BytesIO):
    """A pipe whose reader stands still until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()
        self.let_go = threading.Event()

    def write(self, data: Any, /) -> int:
        self.reached.set()
        self.let_go.wait()
        return super().write(data)

    def close(self) -> None:
        """Keep what was written, to be looked at."""


def losses(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, object]]:
    """What was said of lost lines: how loud, by which flag, and why or how many."""
    extras = ((record.levelname, record.__dict__) for record in caplog.records)
    return [(level, extra["flag"], extra.get("reason", extra.get("lines"))) for level, extra in extras]


def test_each_entry_is_one_line_whatever_is_in_it() -> None:
    file = io.BytesIO()
    lines = JsonLines(file, "--audit")
    lines.write({"a": "x\ny\u2028"})
    lines.write({"b": 1})
    assert [json.loads(line) for line in file.getvalue().split(b"\n")[:-1]] == [{"a": "x\ny\u2028"}, {"b": 1}]


def test_lines_are_appended_to_the_file(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    path.write_text("before\n")
    lines = JsonLines.open(str(path), "--audit")
    lines.write({})
    assert path.read_text() == "before\n{}\n"
    lines.close()


def test_lines_of_several_writers_to_one_file_stay_whole(tmp_path: Path) -> None:
    """A stub's workers share its audit log; each line must be one write, however long."""
    path = str(tmp_path / "audit.log")

    def write(writer: int) -> None:
        lines = JsonLines.open(path, "--audit")
        for number in range(100):
            lines.write({"writer": writer, "number": number, "text": "x" * 200 * number})
        lines.close()

    with ThreadPoolExecutor(4) as writers:
        list(writers.map(write, range(4)))
    found = [json.loads(line) for line in Path(path).read_text().splitlines()]
    assert sorted((each["writer"], each["number"]) for each in found) == list(product(range(4), range(100)))


def test_a_file_that_cannot_be_opened_is_named_with_its_flag(tmp_path: Path) -> None:
    where = str(tmp_path / "none" / "audit.log")
    with pytest.raises(CommandFailed, match=r"--audit .*none/audit\.log: No such file or directory"):
        JsonLines.open(where, "--audit")


def test_a_dash_is_standard_output_which_stays_open() -> None:
    JsonLines.open("-", "--audit").close()
    assert sys.__stdout__ is not None
    os.fstat(sys.__stdout__.fileno())


def test_a_closed_standard_output_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "__stdout__", None)
    with pytest.raises(CommandFailed, match="--audit -: standard output is closed"):
        JsonLines.open("-", "--audit")


def test_a_full_disk_is_said_once_and_costs_its_lines_alone(caplog: pytest.LogCaptureFixture) -> None:
    disk = Disk()
    lines = JsonLines(disk, "--audit")
    for _ in range(2):
        lines.write({"lost": True})
    assert losses(caplog) == [("ERROR", "--audit", os.strerror(errno.ENOSPC))]
    disk.room = 100
    for _ in range(2):
        lines.write({"kept": True})
    assert disk.getvalue() == b'{"kept":true}\n' * 2
    assert losses(caplog)[1:] == [("WARNING", "--audit", 2)]


@pytest.mark.parametrize("room", range(1, 15))
def test_a_line_within_which_a_disk_fills_up_is_finished_as_soon_as_there_is_room(
    room: int, caplog: pytest.LogCaptureFixture
) -> None:
    disk = Disk()
    lines = JsonLines(disk, "--audit")
    disk.room = room
    lines.write({"begun": True})
    lines.write({"lost": True})
    disk.room = 1
    lines.write({"lost": True})
    disk.room = 100
    lines.write({"kept": True})
    assert disk.getvalue() == b'{"begun":true}\n{"kept":true}\n'
    assert losses(caplog)[-1] == ("WARNING", "--audit", 2)


def test_a_line_that_was_begun_is_finished_at_the_end() -> None:
    disk = Disk()
    lines = JsonLines(disk, "--audit")
    disk.room = 5
    lines.write({"begun": True})
    disk.room = 100
    lines.close()
    assert disk.getvalue() == b'{"begun":true}\n'


def test_a_descriptor_that_does_not_block_and_takes_nothing_costs_the_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with open(reading, "rb"), FileIO(writing, "w") as file:
        lines = JsonLines(file, "--audit")
        for _ in range(3):
            lines.write({"text": "x" * 65_536})
    assert losses(caplog) == [("ERROR", "--audit", os.strerror(errno.EAGAIN))]


# What may be held ------------------------------------------------------------------------------


def test_a_reader_that_stands_still_stops_nobody_and_costs_what_does_not_fit(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pipe = Pipe()
    lines = JsonLines(pipe, "--audit", threaded=True, lines=2)
    lines.write({"n": 0})
    pipe.reached.wait()
    for number in range(1, 6):
        lines.write({"n": number})
    assert losses(caplog) == [("ERROR", "--audit", "too many lines wait for their reader")]
    pipe.let_go.set()
    lines.close()
    assert [json.loads(line)["n"] for line in pipe.getvalue().splitlines()] == [0, 1, 2]
    assert losses(caplog)[1:] == [("WARNING", "--audit", 3)]


def test_a_reader_that_still_stands_still_at_the_end_is_not_waited_for(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linewriter, "CLOSE_SECONDS", 0.01)
    pipe = Pipe()
    lines = JsonLines(pipe, "--audit", threaded=True)
    lines.write({"n": 0})
    lines.close()
    assert losses(caplog) == [("ERROR", "--audit", "its reader stands still at the end")]
    pipe.let_go.set()


def test_a_pipe_is_written_by_a_thread_and_what_waits_is_written_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as reader:
        lines = JsonLines.open(str(path), "--audit")
        for _ in range(3):
            lines.write({"text": "x" * 1000})
        lines.close()
        assert lines._writer is not None
        assert not lines._writer.running
        assert len(reader.read().splitlines()) == 3
