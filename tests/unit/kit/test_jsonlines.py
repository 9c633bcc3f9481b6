"""Lines of JSON in a file."""

import io
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import pytest

from tunnel.kit.failures import CommandFailed
from tunnel.kit.jsonlines import JsonLines


class FullDisk(io.StringIO):
    """A file that cannot be written while it is full."""

    full = True

    def write(self, text: str) -> int:
        if self.full:
            raise OSError(28, "No space left on device")
        return super().write(text)


def test_each_entry_is_one_line_whatever_is_in_it() -> None:
    file = io.StringIO()
    lines = JsonLines(file, "--audit")
    lines.write({"a": "x\ny\u2028"})
    lines.write({"b": 1})
    assert [json.loads(line) for line in file.getvalue().split("\n")[:-1]] == [{"a": "x\ny\u2028"}, {"b": 1}]


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
    assert not sys.stdout.closed


def test_a_full_disk_is_said_once_and_costs_its_lines_alone(caplog: pytest.LogCaptureFixture) -> None:
    disk = FullDisk()
    lines = JsonLines(disk, "--audit")
    for _ in range(2):
        lines.write({"lost": True})
    (record,) = caplog.records
    assert (record.levelname, record.__dict__["flag"]) == ("ERROR", "--audit")
    disk.full = False
    lines.write({"kept": True})
    assert disk.getvalue() == '{"kept":true}\n'
