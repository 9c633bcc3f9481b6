"""Which exchanges are recorded, and when an agent is asked."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from stub.recording.recorder import Recorder, RecordingRules, start_recorder
from stub.recording.stdio import Stdio
from stub.settings import StubSettings
from tests.unit.fakes import Clock
from tests.unit.stub.parts import FarAgent, Stub
from tests.unit.stub.recording.parts import HeldWriter, message
from tunnel.aio.splice import Splice
from tunnel.core.identifiers import audit_text
from tunnel.kit.failures import CommandFailed

EXEC = "GET /clusters/blue/api/v1/namespaces/prod/pods/web-1/exec?command=sh&tty=true"
FIELDS = ("Connection: Upgrade", "Upgrade: websocket")
V5 = "Sec-WebSocket-Protocol: v5.channel.k8s.io"
SWITCHED = [
    (b"Connection", b"Upgrade"),
    (b"Upgrade", b"websocket"),
    (b"Sec-WebSocket-Accept", b"x"),
    (b"Sec-WebSocket-Protocol", b"v5.channel.k8s.io"),
]


class RecordingStub(Stub):
    """A stub that records, with a disk that waits for the test."""

    def __init__(self, folder: Path, **rules: Any) -> None:
        super().__init__()
        self.folder = folder
        self.writer = HeldWriter()
        self.recorder = self.office.recorder = Recorder(RecordingRules(folder, **rules), self.writer)

    @property
    def files(self) -> list[str]:
        """The recordings there are."""
        return [path.name for path in self.folder.iterdir()]

    def finish(self) -> None:
        """Break off what runs, and write what waits."""
        for connection in list(self.office.connections):
            connection.abort("the test is over")
        self.writer.run()


@pytest.fixture
async def stub(clock: Clock, tmp_path: Path) -> AsyncIterator[RecordingStub]:
    stub = RecordingStub(tmp_path)
    yield stub
    stub.finish()


@pytest.fixture
async def strict(clock: Clock, tmp_path: Path) -> AsyncIterator[RecordingStub]:
    """One that demands recordings."""
    stub = RecordingStub(tmp_path, required=True)
    yield stub
    stub.finish()


@pytest.fixture
async def strict_agent(strict: RecordingStub) -> FarAgent:
    return strict.agent()


async def test_an_exec_has_a_file_named_by_time_cluster_and_request(
    stub: RecordingStub, agent: FarAgent
) -> None:
    user, channel = stub.user(), agent.channel()
    user.ask(EXEC, *FIELDS, V5)
    (request,) = agent.asked()
    channel.head(1, 101, SWITCHED)
    channel.stream.receive(message(Stdio.STDOUT, b"hello"))
    assert user.take().endswith(message(Stdio.STDOUT, b"hello"))
    user.stream.lose()
    stub.writer.run()
    (name,) = stub.files
    assert re.fullmatch(rf"\d{{8}}T\d{{6}}Z-blue-{audit_text(request.audit)}\.cast", name)
    header, event = [json.loads(line) for line in (stub.folder / name).read_text().splitlines()]
    assert (header["title"], event[1:]) == ("alice@blue prod/web-1", ["o", "hello"])


@pytest.mark.parametrize(
    "line",
    [
        "GET /api/v1/namespaces/prod/pods/web-1/portforward",
        "GET /api/v1/namespaces/prod/pods/web-1/proxy/exec",
    ],
)
async def test_other_upgrades_are_not_recorded(stub: RecordingStub, agent: FarAgent, line: str) -> None:
    user = stub.user()
    user.ask(line, *FIELDS)
    assert len(agent.asked()) == 1
    assert not stub.writer.jobs


async def test_where_nothing_is_recorded_nobody_looks_at_bytes(clock: Clock) -> None:
    stub = Stub()
    agent, user = stub.agent(), stub.user()
    user.ask(EXEC, *FIELDS, V5)
    agent.channel().head(1, 101, SWITCHED)
    assert type(user.front._requests.current._splice) is Splice  # type: ignore[union-attr]
    user.front.abort("the test is over")


async def test_a_plain_request_to_exec_is_none(strict: RecordingStub, strict_agent: FarAgent) -> None:
    user = strict.user()
    user.ask(EXEC)
    assert len(strict_agent.asked()) == 1
    assert not strict.writer.jobs


async def test_an_exec_that_is_refused_leaves_no_file(stub: RecordingStub, agent: FarAgent) -> None:
    user = stub.user()
    user.ask(EXEC, *FIELDS)
    stub.writer.run()
    assert len(stub.files) == 1
    agent.channel().answer(1, b"no", 403)
    stub.writer.run()
    assert (user.answer()[0], stub.files) == (403, [])


async def test_a_cluster_without_agents_costs_no_file(strict: RecordingStub) -> None:
    user = strict.user()
    user.ask(EXEC, *FIELDS)
    assert user.answer()[0] == 503
    assert not strict.writer.jobs


async def test_where_it_is_required_nobody_is_asked_before_there_is_a_file(
    strict: RecordingStub, strict_agent: FarAgent
) -> None:
    user = strict.user()
    user.ask(EXEC, *FIELDS, body=b"early")
    assert strict_agent.asked() == []
    strict.writer.run()
    assert len(strict_agent.asked()) == 1
    assert len(strict.files) == 1
    strict_agent.channel().head(1, 101, SWITCHED)
    assert user.take().startswith(b"HTTP/1.1 101 ")


async def test_where_it_is_required_and_fails_nobody_is_asked(
    strict: RecordingStub, strict_agent: FarAgent
) -> None:
    strict.folder.rmdir()
    user = strict.user()
    user.ask(EXEC, *FIELDS, V5)
    strict.writer.run()
    status, fields, body = user.answer()
    assert (status, fields["connection"]) == (503, "close")
    expected = "stub: exec and attach must be recorded here, and the recording fails: it cannot be opened: No such file"
    assert json.loads(body)["message"].startswith(expected)
    assert strict_agent.asked() == []
    assert strict.recorder.tally.faulty == 1


async def test_where_it_is_required_what_could_not_be_decoded_is_not_asked_for(
    strict: RecordingStub, strict_agent: FarAgent
) -> None:
    user = strict.user()
    user.ask(EXEC, *FIELDS, "Sec-WebSocket-Protocol: v5.channel.k8s.io, mine")
    status, _, body = user.answer()
    assert (status, "'mine' cannot be decoded" in json.loads(body)["message"]) == (400, True)
    assert strict.recorder.tally.faulty == 1
    assert strict_agent.asked() == []
    assert strict.files == []


async def test_a_user_who_leaves_while_the_file_is_opened_asks_nobody(
    strict: RecordingStub, strict_agent: FarAgent
) -> None:
    user = strict.user()
    user.ask(EXEC, *FIELDS)
    user.stream.lose()
    strict.writer.run()
    assert strict_agent.asked() == []
    assert strict.files == []
    assert strict.book.codes == [0]


async def test_an_answer_in_another_protocol_than_was_offered_is_502(
    strict: RecordingStub, strict_agent: FarAgent
) -> None:
    user = strict.user()
    user.ask(EXEC, *FIELDS, V5)
    strict.writer.run()
    strict_agent.channel().head(1, 101, [*SWITCHED[:-1], (b"Sec-WebSocket-Protocol", b"mine")])
    assert user.answer()[0] == 502
    strict.writer.run()
    assert strict.files == []


async def test_closing_writes_what_waits(stub: RecordingStub) -> None:
    written = []
    stub.writer.submit(lambda: written.append(True))
    await stub.recorder.close()
    assert (written, stub.writer.closed) == ([True], True)


async def test_a_folder_that_cannot_be_written_is_said_at_the_start(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    settings = StubSettings(ca_dir=tmp_path, record_exec=folder)
    with pytest.raises(CommandFailed, match=r"--record-exec .*gone: No such file or directory"):
        start_recorder(settings)


async def test_without_a_folder_nothing_is_recorded(tmp_path: Path) -> None:
    assert start_recorder(StubSettings(ca_dir=tmp_path)) is None
