"""The lines of a recording."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stub.recording.asciicast import Asciicast, Happening, Subject, read_size
from stub.recording.stdio import Stdio

SUBJECT = Subject("jane@blue prod/web-1", "sh -c 'ls /'", tty=True)


def lines(*happenings: tuple[float, Stdio | None, bytes], subject: Subject = SUBJECT) -> list[Any]:
    """What a whole exec becomes: the header, then the events."""
    cast = Asciicast(subject, 1764000000.75)
    text = "".join([cast.lines(Happening(*each)) for each in happenings]) + cast.end()
    assert text.endswith("\n")
    return [json.loads(line) for line in text.split("\n")[:-1]]


def output(events: list[Any]) -> str:
    return "".join(text for _, kind, text in events if kind == "o")


def test_the_first_line_says_what_is_recorded() -> None:
    assert lines((0.5, Stdio.STDOUT, b"hello\n")) == [
        {
            "version": 2,
            "width": 80,
            "height": 24,
            "timestamp": 1764000000,
            "title": "jane@blue prod/web-1",
            "command": "sh -c 'ls /'",
        },
        [0.5, "o", "hello\n"],
    ]


def test_an_exec_in_which_nothing_happened_has_a_first_line_too() -> None:
    (header,) = lines(subject=Subject("jane@blue prod/web-1", "", tty=False))
    assert header["version"] == 2
    assert "command" not in header


def test_the_first_size_is_the_terminals_and_the_next_ones_are_events() -> None:
    sizes = b'{"Width":100,"Height":50}\n{"Width":120,"Height":50}\n'
    header, event = lines((0.1, Stdio.RESIZE, sizes))
    assert (header["width"], header["height"]) == (100, 50)
    assert event == [0.1, "r", "120x50"]


def test_a_size_behind_output_is_an_event() -> None:
    header, shown, resized = lines((0, Stdio.STDOUT, b"x"), (1, Stdio.RESIZE, b'{"Width":100,"Height":50}'))
    assert (header["width"], shown[1], resized[1:]) == (80, "o", ["r", "100x50"])


def test_a_size_may_come_in_pieces() -> None:
    assert lines((0, Stdio.RESIZE, b'{"Width":100,'), (1, Stdio.RESIZE, b'"Height":50}'))[0]["width"] == 100


@pytest.mark.parametrize(
    "text",
    [
        b"{}",
        b'{"Width":0,"Height":1}',
        b'{"Width":65536,"Height":1}',
        b'{"Width":true,"Height":1}',
        b'{"Width":"1","Height":1}',
        b'{"Width":1e1,"Height":1}',
        b"{\xff}",
        b"{1}",
        b'{"Width":' + b"9" * 5000 + b"}",
    ],
)
def test_what_is_no_size_is_none(text: bytes) -> None:
    assert read_size(text) is None
    assert lines((0, Stdio.RESIZE, text)) == lines()


def test_what_never_becomes_a_size_is_not_kept() -> None:
    cast = Asciicast(SUBJECT, 0)
    for _ in range(100):
        assert cast.lines(Happening(0, Stdio.RESIZE, b"{" * 1000)) == ""
    assert len(cast._size) == 1024


def test_a_character_may_be_cut_in_each_stream_for_itself() -> None:
    happenings = [(0, Stdio.STDOUT, b"\xe2\x82"), (1, Stdio.STDERR, b"oops"), (2, Stdio.STDOUT, b"\xac")]
    assert [event[1:] for event in lines(*happenings)[1:]] == [["o", "oops"], ["o", "€"]]


@given(st.lists(st.binary(max_size=5), max_size=6))
def test_output_is_whole_however_it_was_cut(pieces: list[bytes]) -> None:
    _, *events = lines(*((0, Stdio.STDOUT, piece) for piece in pieces))
    assert output(events) == b"".join(pieces).decode("utf-8", "replace")


def test_input_and_marks_are_events_of_their_own() -> None:
    events = lines((0, Stdio.STDIN, b"ls\r"), (1.0000004, None, b"3 bytes are missing"))[1:]
    assert events == [[0, "i", "ls\r"], [1, "m", "3 bytes are missing"]]
