"""The recording of one exec: what waits for the disk, and what becomes of an exec whose recording fails."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from stub.recording import recording as module
from stub.recording.asciicast import Asciicast, Subject
from stub.recording.file import RecordingFile
from stub.recording.recording import Recording, RecordingTally
from stub.recording.stdio import Stdio
from tests.unit.fakes import Clock, FakeStream
from tests.unit.stub.recording.parts import HeldWriter, message
from tunnel.core.errors import BadGateway, Unavailable
from tunnel.core.http.message import Field
from tunnel.core.http.upgrade import Upgrade

ANSWER: list[Field] = [(b"Sec-WebSocket-Protocol", b"v5.channel.k8s.io")]
MASK = b"mask"
GARBAGE = b"\xff\x01 garbage"
KIB = 1024
TOO_MANY = module.OWN_BYTES // (64 * KIB) + 4
"""Pieces of 64 KiB that do not all find room."""


@dataclass
class Exec:
    """An exec of which a recording is made, with a disk that waits for the test."""

    path: Path
    required: bool = False
    with_input: bool = False
    max_bytes: int = 0
    writer: HeldWriter = field(default_factory=HeldWriter)
    tally: RecordingTally = field(default_factory=RecordingTally)
    client: FakeStream = field(default_factory=FakeStream)
    server: FakeStream = field(default_factory=FakeStream)
    reasons: list[str] = field(default_factory=list)
    settled: int = 0

    def __post_init__(self) -> None:
        cast = Asciicast(Subject("jane@blue prod/web-1", "sh", tty=True), 0)
        file = RecordingFile(self.path, cast, self.max_bytes)
        self.recording = Recording(
            "one.cast", file, self.writer, self.tally, required=self.required, with_input=self.with_input
        )

    def open(self) -> None:
        """Ask for the file."""
        self.recording.open(self._settled)

    def _settled(self) -> None:
        self.settled += 1

    def begin(self) -> "Exec":
        """Ask for the file, wait for it, and become a pipe."""
        self.open()
        self.writer.run()
        self.recording.upgraded(Upgrade.WEBSOCKET, ANSWER)
        self.recording.splice(self.client, self.server, self._closed, 30)
        return self

    def _closed(self, sent: int, received: int, reason: str) -> None:
        self.reasons.append(reason)
        self.recording.end()

    def show(self, data: bytes, stdio: Stdio = Stdio.STDOUT) -> None:
        """The server sends output, if it is read."""
        self.server.receive(message(stdio, data))

    def show_until_held(self) -> None:
        """The server sends output until it is no longer read."""
        for _ in range(TOO_MANY):
            if self.server.reading:
                self.show(b"x" * 64 * KIB)
        assert not self.server.reading

    def end(self) -> list[list[Any]]:
        """Both sides end, and the disk takes everything; what was recorded."""
        self.recording.end()
        self.writer.run()
        assert self.tally.waiting_bytes == 0
        header, *events = [json.loads(line) for line in self.path.read_text().splitlines()]
        assert header["version"] == 2
        return events


Make = Callable[..., Exec]


@pytest.fixture
async def make(clock: Clock, tmp_path: Path) -> AsyncIterator[Make]:
    made: list[Exec] = []

    def running(**options: Any) -> Exec:
        made.append(Exec(tmp_path / "one.cast", **options))
        return made[-1]

    yield running
    for each in made:
        each.recording.end()
        each.writer.run()


def marks(events: list[list[Any]]) -> list[str]:
    return [text for _, kind, text in events if kind == "m"]


def output(events: list[list[Any]]) -> str:
    return "".join(text for _, kind, text in events if kind == "o")


# What is recorded --------------------------------------------------------------------------------


async def test_output_is_recorded_with_the_time_it_came_at(make: Make, clock: Clock) -> None:
    running = make().begin()
    running.show(b"one")
    await clock.advance(1.5)
    running.show(b"two", Stdio.STDERR)
    assert running.end() == [[0, "o", "one"], [1.5, "o", "two"]]
    assert (running.tally, running.recording.problem) == (RecordingTally(started=1), "")


@pytest.mark.parametrize("with_input", [False, True])
async def test_input_is_recorded_only_where_it_is_asked_for(make: Make, with_input: bool) -> None:
    running = make(with_input=with_input).begin()
    running.client.receive(message(Stdio.STDIN, b"password\n", mask=MASK))
    assert running.end() == ([[0, "i", "password\n"]] if with_input else [])


async def test_its_name_is_told_once_there_is_an_exec(make: Make) -> None:
    running = make()
    running.open()
    assert (running.recording.file_name, running.settled) == ("", 0)
    running.writer.run()
    assert (running.recording.file_name, running.settled) == ("", 1)
    running.recording.upgraded(Upgrade.SPDY, [])
    assert running.recording.file_name == "one.cast"


async def test_what_never_became_an_exec_leaves_no_file(make: Make) -> None:
    running = make()
    running.open()
    running.recording.end()
    running.recording.end()
    running.writer.run()
    assert not running.path.exists()
    assert running.tally == RecordingTally()


# What cannot be recorded -------------------------------------------------------------------------


async def test_an_exec_goes_on_without_a_file(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    running = make()
    running.path.write_text("taken")
    running.begin()
    running.show(b"unrecorded")
    assert running.client.take().endswith(b"unrecorded")
    running.recording.end()
    running.writer.run()
    assert running.path.read_text() == "taken"
    assert running.recording.problem == "it cannot be opened: File exists"
    assert (running.recording.file_name, running.tally.faulty) == ("", 1)
    assert len(caplog.records) == 1


async def test_an_exec_that_must_be_recorded_is_not_begun_without_a_file(make: Make) -> None:
    running = make(required=True)
    running.path.write_text("taken")
    running.open()
    running.recording.require()
    running.writer.run()
    assert running.settled == 1
    with pytest.raises(Unavailable, match=r"exec and attach must be recorded here, .*: File exists"):
        running.recording.require()


async def test_a_file_that_comes_too_late_is_not_waited_for(make: Make, clock: Clock) -> None:
    running = make(required=True)
    running.open()
    await clock.advance(module.OPEN_SECONDS)
    with pytest.raises(Unavailable, match=r"was not opened within 10 s"):
        running.recording.require()
    running.recording.end()
    running.writer.run()
    assert (running.settled, running.path.exists()) == (1, False)


@pytest.mark.parametrize("required", [False, True])
async def test_a_protocol_that_is_not_known_goes_on_only_where_it_may(make: Make, required: bool) -> None:
    running = make(required=required)
    running.open()
    running.writer.run()
    unknown: list[Field] = [(b"Sec-WebSocket-Protocol", b"v6.channel.k8s.io")]
    if required:
        with pytest.raises(BadGateway, match=r"must be recorded here, and .*'v6\.channel\.k8s\.io'"):
            running.recording.upgraded(Upgrade.WEBSOCKET, unknown)
        running.recording.end()
        running.writer.run()
        assert not running.path.exists()
    else:
        running.recording.upgraded(Upgrade.WEBSOCKET, unknown)
        running.recording.splice(running.client, running.server, lambda *_: None, 30)
        running.show(b"shown")
        assert marks(running.end()) == [
            "not all is recorded from here on: the subprotocol 'v6.channel.k8s.io' cannot be decoded"
        ]
    assert running.tally.faulty == 1


async def test_a_direction_that_cannot_be_decoded_leaves_the_other_one(make: Make) -> None:
    running = make().begin()
    running.client.receive(GARBAGE)
    running.show(b"still recorded")
    assert running.server.take() == GARBAGE
    events = running.end()
    assert output(events) == "still recorded"
    assert len(marks(events)) == 1


async def test_an_exec_that_must_be_recorded_is_cut_where_it_cannot_be_decoded(make: Make) -> None:
    running = make(required=True).begin()
    running.server.receive(GARBAGE)
    assert running.client.take() == b""
    assert running.client.aborted
    assert running.server.aborted
    assert running.reasons == [
        "the recording failed: a WebSocket frame uses an extension that was not agreed on"
    ]


@pytest.mark.parametrize("required", [False, True])
async def test_a_recording_that_is_full_ends_the_session_only_where_it_must(
    make: Make, required: bool
) -> None:
    running = make(required=required, max_bytes=200).begin()
    running.show(b"x" * 300)
    running.writer.run()
    assert running.client.aborted is required
    assert running.recording.problem == "it has reached 200 bytes"
    if not required:
        running.show(b"more")
    assert marks(running.end()) == ["the recording ends here: it has reached 200 bytes"]


# More than can be written -------------------------------------------------------------------------


async def test_what_the_disk_cannot_take_is_dropped_and_marked(make: Make) -> None:
    running = make().begin()
    for _ in range(TOO_MANY):
        running.show(b"x" * 64 * KIB)
    assert running.tally.waiting_bytes <= module.OWN_BYTES
    running.writer.run()
    running.show(b"end")
    events = running.end()
    dropped = running.tally.dropped_bytes
    assert dropped >= 4 * 64 * KIB
    assert marks(events) == [f"{dropped} bytes are missing here: they came faster than they could be written"]
    assert len(output(events)) == TOO_MANY * 64 * KIB + 3 - dropped
    assert events[-1] == [0, "o", "end"]


async def test_what_is_missing_at_the_end_is_marked_too(make: Make) -> None:
    running = make().begin()
    for _ in range(TOO_MANY):
        running.show(b"x" * 64 * KIB)
    assert running.end()[-1][1] == "m"


async def test_many_pieces_without_bytes_fill_no_memory(make: Make) -> None:
    running = make().begin()
    running.server.receive(message(Stdio.STDOUT, b"x") * 60_000)
    assert len(running.recording._waiting) * 128 <= module.OWN_BYTES


async def test_an_exec_that_must_be_recorded_is_held_until_the_disk_follows(make: Make) -> None:
    running = make(required=True).begin()
    running.show_until_held()
    assert not running.client.reading
    assert running.tally.waiting_bytes < module.OWN_BYTES + 2 * 64 * KIB
    running.writer.run()
    assert running.server.reading
    assert running.client.reading
    assert marks(running.end()) == []
    assert running.tally.faulty == 0


async def test_one_that_shows_much_takes_turns_with_others(make: Make) -> None:
    """And room is given back turn by turn, or a writer that is fast enough would seem too slow."""
    running = make().begin()
    for _ in range(10):
        running.show(b"x" * 64 * KIB)
    before = running.tally.waiting_bytes
    running.writer.jobs.popleft()()
    assert before - 3 * 64 * KIB < running.tally.waiting_bytes < before
    assert len(running.writer.jobs) == 1
    assert len(output(running.end())) == 10 * 64 * KIB


async def test_an_exec_is_not_held_for_ever(make: Make, clock: Clock) -> None:
    running = make(required=True).begin()
    running.show_until_held()
    await clock.advance(module.STALL_SECONDS)
    assert running.reasons == ["the recording failed: it cannot be written as fast as output comes"]
    running.writer.run()
    assert running.tally.waiting_bytes == 0


async def test_in_a_crowd_each_has_less_room_and_still_some(make: Make) -> None:
    running = make(required=True).begin()
    running.tally.waiting_bytes = module.WAITING_BYTES + 1
    running.show(b"x" * 1000)
    assert running.server.reading
    running.show(b"x" * 64 * KIB)
    assert not running.server.reading
    running.writer.run()
    assert running.server.reading
    running.recording.end()
    running.writer.run()
    await asyncio.sleep(0)
    assert running.tally.waiting_bytes == module.WAITING_BYTES + 1
