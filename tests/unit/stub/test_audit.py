"""The line that each request leaves behind."""

import io
import json
import sys
from pathlib import Path
from typing import IO, Any, cast

import pytest

from stub.audit import AuditLog
from tests.unit.fakes import Clock
from tests.unit.stub.parts import BLUE, Stub
from tunnel.core.identifiers import audit_text
from tunnel.kit.failures import CommandFailed

SECRET = "s3cr3t-t0ken"


class FullDisk(io.StringIO):
    """A file that cannot be written while it is full."""

    full = True

    def write(self, text: str) -> int:
        if self.full:
            raise OSError(28, "No space left on device")
        return super().write(text)


async def line_of(stub: Stub, *request: str, body: bytes = b"", answered: bool = True) -> dict[str, Any]:
    """Carry one request out and return its line."""
    file = io.StringIO()
    log = AuditLog(file)
    stub.office._ledgers = (log,)
    user = stub.user()
    user.ask(*request, body=body)
    if answered:
        agent = next(iter(stub.registry.links))
        assert agent.in_flight == 1
    user.stream.lose()
    (line,) = file.getvalue().splitlines()
    return cast("dict[str, Any]", json.loads(line))


@pytest.fixture
async def stub(clock: Clock) -> Stub:
    return Stub()


async def test_a_line_says_who_asked_which_cluster_for_what_and_how_it_ended(
    stub: Stub, clock: Clock
) -> None:
    agent, file = stub.agent("agent-7"), io.StringIO()
    stub.office._ledgers = (AuditLog(file),)
    user = stub.user()
    user.ask(
        "PATCH /clusters/blue/api/v1/namespaces/prod/pods/web-1/status?dryRun=All",
        "Content-Length: 2",
        body=b"{}",
    )
    (request,) = agent.asked()
    await clock.advance(1.5)
    agent.answer(request.id, b"done")
    entry = json.loads(file.getvalue())
    assert entry.pop("time").endswith("+00:00")
    assert entry == {
        "auditID": audit_text(request.audit),
        "cluster": BLUE,
        "user": "alice",
        "groups": ["devs", "ops"],
        "address": "192.0.2.1",
        "verb": "patch",
        "method": "PATCH",
        "path": "/api/v1/namespaces/prod/pods/web-1/status",
        "resource": "pods",
        "subresource": "status",
        "namespace": "prod",
        "name": "web-1",
        "agent": "agent-7",
        "code": 200,
        "requestBytes": 2,
        "responseBytes": 4,
        "seconds": 1.5,
        "reason": "",
    }


async def test_no_secret_is_in_it(stub: Stub) -> None:
    stub.agent()
    line = await line_of(
        stub,
        f"GET /api/v1/pods?token={SECRET}",
        f"Authorization: Bearer {SECRET}",
        f"Cookie: session={SECRET}",
        f"X-Custom: {SECRET}",
    )
    assert SECRET not in json.dumps(line)
    assert line["path"] == "/api/v1/pods"


async def test_a_refused_request_is_booked_too(stub: Stub) -> None:
    line = await line_of(stub, "GET /api/v1/secrets", "Impersonate-User: root", answered=False)
    assert (line["code"], line["user"], line["agent"], line["path"]) == (403, "alice", "", "/api/v1/secrets")
    assert line["reason"].startswith("stub: kubectl --as")


async def test_a_user_who_left_before_the_answer_has_no_code(stub: Stub) -> None:
    stub.agent()
    line = await line_of(stub, "GET /api")
    assert (line["code"], line["reason"]) == (0, "client gone: it closed the connection")


async def test_what_a_client_writes_cannot_begin_a_line_of_its_own(stub: Stub) -> None:
    stub.agent()
    line = await line_of(stub, 'GET /api/v1/namespaces/a%0A{"user":"root"}/pods')
    assert line["namespace"] == 'a\n{"user":"root"}'
    assert line["user"] == "alice"


async def test_garbage_is_booked_without_a_caller(stub: Stub) -> None:
    file = io.StringIO()
    stub.office._ledgers = (AuditLog(file),)
    stub.user().send(b"\x00\x01")
    entry = json.loads(file.getvalue())
    assert (entry["code"], entry["user"], entry["method"]) == (400, "", "")


def test_lines_are_appended_to_the_file(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    path.write_text("before\n")
    log = AuditLog.open(str(path))
    log.close()
    assert path.read_text() == "before\n"


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    where = str(tmp_path / "none" / "audit.log")
    with pytest.raises(CommandFailed, match=r"--audit .*none/audit\.log: No such file or directory"):
        AuditLog.open(where)


def test_a_dash_is_standard_output_which_stays_open() -> None:
    AuditLog.open("-").close()
    assert not sys.stdout.closed


async def test_a_full_disk_is_said_once_and_costs_no_request(
    stub: Stub, caplog: pytest.LogCaptureFixture
) -> None:
    disk = FullDisk()
    stub.office._ledgers = (AuditLog(cast("IO[str]", disk)),)
    user = stub.user()
    for _ in range(2):
        user.ask()
        assert user.answer()[0] == 503
    assert [record.message for record in caplog.records].count("the audit log cannot be written") == 1
    disk.full = False
    user.ask()
    assert len(disk.getvalue().splitlines()) == 1
