"""A recording on disk."""

import json
import os
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stub.recording.asciicast import Asciicast, Happening, Subject
from stub.recording.file import RecordingFile, cost
from stub.recording.stdio import Stdio

SUBJECT = Subject("jane@blue prod/web-1", "sh", tty=False)


def shown(*texts: str) -> deque[Happening]:
    return deque([Happening(0, Stdio.STDOUT, text.encode()) for text in texts])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "one.cast"


@pytest.fixture
def make(path: Path) -> Callable[[int], RecordingFile]:
    def file(max_bytes: int) -> RecordingFile:
        made = RecordingFile(path, Asciicast(SUBJECT, 0), max_bytes)
        assert made.open() == ""
        return made

    return file


def events(path: Path) -> list[list[Any]]:
    """The events of a file that can be played: whole lines, the first of them a header."""
    text = path.read_text()
    assert text.endswith("\n")
    header, *rest = [json.loads(line) for line in text.splitlines()]
    assert header["version"] == 2
    return rest


def test_only_its_owner_can_read_it(make: Callable[[int], RecordingFile], path: Path) -> None:
    file = make(0)
    assert path.stat().st_mode & 0o777 == 0o600
    assert file.end() == ""


def test_what_is_written_is_there_at_once(make: Callable[[int], RecordingFile], path: Path) -> None:
    file, waiting = make(0), shown("hello", "world")
    size = sum(map(cost, waiting))
    assert file.write(waiting) == (size, "")
    assert not waiting
    assert events(path) == [[0, "o", "hello"], [0, "o", "world"]]
    assert file.end() == ""


@pytest.mark.parametrize("there", ["file", "link"])
def test_a_name_that_is_taken_is_left_alone(path: Path, tmp_path: Path, there: str) -> None:
    other = tmp_path / "other"
    other.write_text("precious")
    path.symlink_to(other) if there == "link" else path.write_text("precious")
    file = RecordingFile(path, Asciicast(SUBJECT, 0), 0)
    assert file.open() == "it cannot be opened: File exists"
    assert file.write(shown("x"))[1] == ""
    file.discard()
    assert path.read_text() == "precious"


@pytest.mark.parametrize("room", [1, 130, 180, 200])
def test_a_recording_that_is_full_ends_with_a_mark_and_can_be_played(
    make: Callable[[int], RecordingFile], path: Path, room: int
) -> None:
    file = make(room)
    assert file.write(shown(*"123456789"))[1] == f"it has reached {room} bytes"
    *before, mark = events(path)
    assert mark == [0, "m", f"the recording ends here: it has reached {room} bytes"]
    assert "".join(text for _, _, text in before) == "123456789"[: len(before)]
    assert len(path.read_bytes()) - len(json.dumps(mark)) - 1 <= max(room, 120)
    assert file.write(shown("more"))[1] == ""
    assert file.end() == ""
    assert events(path) == [*before, mark]


def test_a_full_disk_leaves_whole_lines(make: Callable[[int], RecordingFile], path: Path) -> None:
    file = make(0)
    file.write(shown("hello"))
    assert file._file is not None

    class FullDisk:
        """Takes a few bytes, then no more."""

        def __init__(self, real: Any) -> None:
            self.real, self.room = real, 5

        def write(self, data: memoryview) -> int:
            if not self.room:
                raise OSError(28, os.strerror(28))
            taken, self.room = self.real.write(data[: self.room]), 0
            return int(taken)

        def truncate(self, size: int) -> None:
            self.real.truncate(size)

        def close(self) -> None:
            self.real.close()

    file._file = FullDisk(file._file)  # type: ignore[assignment]
    assert file.write(shown("lost"))[1] == "it cannot be written: No space left on device"
    assert events(path) == [[0, "o", "hello"]]
    assert file.end() == ""


def test_an_exec_that_never_was_leaves_no_file(make: Callable[[int], RecordingFile], path: Path) -> None:
    make(0).discard()
    assert not path.exists()
