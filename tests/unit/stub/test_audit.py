"""The lines that a request leaves behind at the stub."""

import io
import json
from dataclasses import replace
from typing import Any, cast

import pytest

from stub.audit import AuditLog
from stub.signing.event import SigningEvent
from tests.unit.fakes import Clock
from tests.unit.stub.parts import BLUE, Stub
from tunnel.core.audit import Stage
from tunnel.core.identifiers import audit_text
from tunnel.kit.jsonlines import JsonLines

SECRET = "s3cr3t-t0ken"
MARK = "cluster-tunnel/"


class Log:
    """An audit log that is read again."""

    def __init__(self) -> None:
        self._file = io.BytesIO()
        self.log = AuditLog(JsonLines(self._file, "--audit"))

    @property
    def entries(self) -> list[dict[str, Any]]:
        return [cast("dict[str, Any]", json.loads(line)) for line in self._file.getvalue().splitlines()]


def audited(stub: Stub) -> Log:
    """Let a stub write to a log."""
    log = Log()
    stub.office._ledgers = (log.log,)
    return log


async def entry_of(stub: Stub, *request: str, answered: bool = True) -> dict[str, Any]:
    """Carry one request out and return its only line."""
    log, user = audited(stub), stub.user()
    user.ask(*request)
    if answered:
        agent = next(iter(stub.registry.links))
        assert agent.in_flight == 1
    user.stream.lose()
    (entry,) = log.entries
    return entry


def facts(entry: dict[str, Any]) -> dict[str, str]:
    """What Kubernetes has no field for."""
    return {name.removeprefix(MARK): value for name, value in entry["annotations"].items()}


async def test_a_line_says_who_asked_which_cluster_for_what_and_how_it_ended(
    stub: Stub, clock: Clock
) -> None:
    agent, log, user = stub.agent("agent-7"), audited(stub), stub.user()
    user.ask(
        "PATCH /clusters/blue/api/v1/namespaces/prod/pods/web-1/status?dryRun=All",
        "Content-Length: 2",
        body=b"{}",
    )
    (request,) = agent.asked()
    await clock.advance(1.5)
    agent.answer(request.id, b"done")
    (entry,) = log.entries
    assert (entry["kind"], entry["stage"]) == ("Event", "ResponseComplete")
    assert entry["auditID"] == audit_text(request.audit)
    assert entry["requestURI"] == "/api/v1/namespaces/prod/pods/web-1/status?dryRun=All"
    assert entry["user"] == {
        "username": "alice",
        "groups": ["devs", "ops"],
        "extra": {"cluster-tunnel/certificate-sha256": ["fa"]},
    }
    assert (entry["verb"], entry["sourceIPs"]) == ("patch", ["192.0.2.1"])
    assert entry["objectRef"]["subresource"] == "status"
    assert entry["responseStatus"]["code"] == 200
    assert facts(entry) == {
        "hop": "stub",
        "cluster": BLUE,
        "agent": "agent-7",
        "request-bytes": "2",
        "response-bytes": "4",
    }
    began, ended = entry["requestReceivedTimestamp"], entry["stageTimestamp"]
    assert (float(ended[17:-1]) - float(began[17:-1])) % 60 == pytest.approx(1.5, abs=1e-5)


async def test_no_secret_is_in_it(stub: Stub) -> None:
    stub.agent()
    entry = await entry_of(
        stub,
        f"GET /api/v1/pods?token={SECRET}",
        f"Authorization: Bearer {SECRET}",
        f"Cookie: session={SECRET}",
        f"X-Custom: {SECRET}",
    )
    assert SECRET not in json.dumps(entry)
    assert entry["requestURI"] == "/api/v1/pods?token=<hidden>"


async def test_a_refused_request_is_booked_too(stub: Stub) -> None:
    entry = await entry_of(stub, "GET /api/v1/secrets", "Impersonate-User: root", answered=False)
    assert (entry["responseStatus"]["code"], entry["user"]["username"]) == (403, "alice")
    assert entry["requestURI"] == "/api/v1/secrets"
    assert "agent" not in facts(entry)
    assert facts(entry)["reason"].startswith("stub: kubectl --as")


async def test_a_user_who_left_before_the_answer_has_no_code(stub: Stub) -> None:
    stub.agent()
    entry = await entry_of(stub, "GET /api")
    assert "responseStatus" not in entry
    assert facts(entry)["reason"] == "client gone: it closed the connection"


async def test_what_a_client_writes_cannot_begin_a_line_of_its_own(stub: Stub) -> None:
    stub.agent()
    entry = await entry_of(stub, 'GET /api/v1/namespaces/a%0A{"user":"root"}/pods')
    assert entry["objectRef"]["namespace"] == 'a\n{"user":"root"}'
    assert entry["user"]["username"] == "alice"


async def test_garbage_is_booked_without_a_caller(stub: Stub) -> None:
    log = audited(stub)
    stub.user().send(b"\x00\x01")
    (entry,) = log.entries
    assert (entry["responseStatus"]["code"], entry["user"], entry["verb"]) == (400, {}, "")


# Long-running requests ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "long"),
    [
        ("GET /api/v1/pods?watch=1", True),
        ("GET /api/v1/namespaces/x/pods/p/log?follow=true", True),
        ("GET /api/v1/pods", False),
        ("DELETE /api/v1/namespaces/x/pods/p", False),
    ],
)
async def test_the_beginning_is_written_of_what_may_last_for_hours(stub: Stub, line: str, long: bool) -> None:
    agent, log, user = stub.agent(), audited(stub), stub.user()
    user.ask(line)
    (request,) = agent.asked()
    exchange = user.front._requests.current
    assert exchange is not None
    log.log.exchange_reached(exchange, Stage.RECEIVED)
    channel = agent.channel()
    channel.head(request.id)
    log.log.exchange_reached(exchange, Stage.STARTED)
    channel.data(b"event\n")
    channel.end()
    stages = [entry["stage"] for entry in log.entries]
    assert stages == ["RequestReceived", "ResponseStarted", "ResponseComplete"][0 if long else 2 :]
    assert len({entry["auditID"] for entry in log.entries}) == 1
    if long:
        received, started, complete = log.entries
        assert "responseStatus" not in received
        assert started["responseStatus"]["code"] == 200
        assert "response-bytes" not in facts(started)
        assert facts(complete)["response-bytes"] == "6"


# Certificates that are issued --------------------------------------------------------------------


def test_an_attempt_to_get_a_certificate_leaves_a_line_of_the_same_shape() -> None:
    log = Log()
    attempt = SigningEvent("join", "192.0.2.7", "id-1", cluster="blue", token_id="t1", serial="0a", code=200)
    log.log.signing_completed(replace(attempt, reason=""))
    log.log.signing_completed(SigningEvent("login", "::1", "id-2", user="alice", groups=("devs",), code=401))
    joined, login = log.entries
    assert (joined["requestURI"], joined["auditID"]) == ("/.cluster-tunnel/join", "id-1")
    assert facts(joined) == {"hop": "stub", "cluster": "blue", "token-id": "t1", "serial": "0a"}
    assert (login["user"], login["responseStatus"]["code"]) == (
        {"username": "alice", "groups": ["devs"]},
        401,
    )
    assert facts(login)["reason"] == "broken off"
