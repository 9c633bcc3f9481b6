"""Log lines."""

import errno
import io
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tunnel.kit import logs
from tunnel.kit.logs import JsonFormatter, LogSettings, TextFormatter, ThreadedHandler


def record(message: str, *args: object, error: Exception | None = None, **extra: Any) -> logging.LogRecord:
    trace = (type(error), error, None) if error else None
    made = logging.getLogger("stub.front").makeRecord(
        "stub.front", logging.INFO, "f.py", 1, message, args, trace, extra=extra
    )
    made.created, made.msecs = 1_767_225_600.25, 250.0
    return made


def as_json(made: logging.LogRecord) -> dict[str, Any]:
    line = JsonFormatter().format(made)
    assert "\n" not in line
    parsed: dict[str, Any] = json.loads(line)
    return parsed


def test_a_json_line_has_the_fixed_keys_and_the_extras() -> None:
    assert as_json(record("opened %d", 3, cluster="blue", peer="10.0.0.1")) == {
        "time": "2026-01-01T00:00:00.250Z",
        "level": "info",
        "logger": "stub.front",
        "message": "opened 3",
        "cluster": "blue",
        "peer": "10.0.0.1",
    }


def test_a_json_line_holds_its_traceback() -> None:
    assert as_json(record("failed", error=ValueError("x")))["error"] == "ValueError: x"


def test_a_json_line_takes_any_object_as_an_extra() -> None:
    assert as_json(record("x", where=ValueError("y")))["where"] == "y"


def test_a_text_line_shows_the_extras_behind_the_message() -> None:
    line = TextFormatter().format(record("session opened", cluster="blue", reason="two words"))
    assert line == '00:00:00.250Z info    stub.front: session opened cluster=blue reason="two words"'


def test_a_text_line_cannot_be_forged_by_what_it_quotes() -> None:
    line = TextFormatter().format(record("from\nforged\x1b[2J", agent="a\ninfo"))
    assert "\n" not in line
    assert "\x1b" not in line


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_credentials_do_not_reach_a_line(formatter: logging.Formatter) -> None:
    error = ValueError("upstream said: Authorization: Bearer abc.def-ghi")
    line = formatter.format(record("401 for bearer abc.def-ghi", error=error, token="abc.def-ghi"))
    assert "abc.def-ghi" not in line
    assert line.count("<hidden>") == 3


# Writing ---------------------------------------------------------------------------------------


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, put back afterwards."""
    root = logging.getLogger()
    level = root.level
    yield root
    logs.stop()
    root.setLevel(level)


def test_start_chooses_json_where_nobody_looks_and_the_level(root: logging.Logger) -> None:
    stream = io.StringIO()
    logs.start(LogSettings(log_level="warning"), stream)
    root.info("quiet")
    root.warning("loud")
    logs.stop()
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["loud"]


def test_start_chooses_text_on_a_terminal(root: logging.Logger) -> None:
    stream = io.StringIO()
    stream.isatty = lambda: True  # type: ignore[method-assign]
    logs.start(LogSettings(), stream)
    root.info("hello")
    logs.stop()
    assert stream.getvalue().endswith("info    root: hello\n")


def test_errors_that_can_be_raised_nowhere_are_logged_until_the_stop(root: logging.Logger) -> None:
    class Broken:
        def __del__(self) -> None:
            raise ValueError("spoilt")

    stream, before = io.StringIO(), sys.unraisablehook
    logs.start(LogSettings(), stream)
    Broken()
    logs.stop()
    assert json.loads(stream.getvalue())["reason"] == "ValueError: spoilt"
    assert sys.unraisablehook is before


def test_a_second_start_replaces_the_first(root: logging.Logger) -> None:
    first, second = io.StringIO(), io.StringIO()
    logs.start(LogSettings(), first)
    logs.start(LogSettings(), second)
    root.info("once")
    logs.stop()
    assert (first.getvalue(), second.getvalue().count("once")) == ("", 1)


class HeldStream(io.StringIO):
    """A terminal that is held: writing waits until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()
        self.let_go = threading.Event()

    def write(self, text: str) -> int:
        self.reached.set()
        self.let_go.wait()
        return super().write(text)


def test_a_held_terminal_does_not_stop_the_caller_and_drops_are_counted() -> None:
    stream = HeldStream()
    handler = ThreadedHandler(stream, lines=2)
    handler.emit(record("0"))
    stream.reached.wait()
    for number in range(1, 6):
        handler.emit(record(str(number)))
    stream.let_go.set()
    handler.close()
    assert stream.getvalue().splitlines() == ["0", "1", "3 log lines were dropped", "2"]


class FullDisk(io.StringIO):
    """Takes the first line, and then none until there is room."""

    def __init__(self) -> None:
        super().__init__()
        self.refused = 0
        self.room = threading.Event()

    def write(self, text: str) -> int:
        if self.getvalue() and not self.room.is_set():
            self.refused += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(text)


def test_a_full_disk_costs_the_lines_it_could_not_take_and_no_later_one() -> None:
    stream = FullDisk()
    handler = ThreadedHandler(stream)
    for text in ("a", "lost", "lost too"):
        handler.emit(record(text))
    while stream.refused < 2:
        time.sleep(0)
    stream.room.set()
    handler.emit(record("b"))
    handler.close()
    assert stream.getvalue().splitlines() == ["a", "b", "2 log lines were dropped"]


def test_a_reader_that_went_away_costs_no_more_than_its_lines() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w")
    handler = ThreadedHandler(stream)
    handler.emit(record("x"))
    handler.close()
    assert not handler._writer.running
    with pytest.raises(BrokenPipeError):
        stream.close()


def test_a_line_that_cannot_be_formatted_is_reported_and_not_raised(
    capsys: pytest.CaptureFixture[str],
) -> None:
    handler = ThreadedHandler(io.StringIO())
    handler.emit(record("%d", "no number"))
    handler.close()
    assert "--- Logging error ---" in capsys.readouterr().err


def test_what_every_line_of_a_process_says_stands_beside_its_extras() -> None:
    stream = io.StringIO()
    logs.start(LogSettings(log_format="json"), stream, worker=1)
    logging.getLogger("stub").info("opened", extra={"cluster": "blue"})
    logs.stop()
    line = json.loads(stream.getvalue())
    assert (line["worker"], line["cluster"]) == (1, "blue")
