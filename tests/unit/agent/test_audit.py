"""The lines that a request leaves behind at the agent."""

import io
import json
from typing import Any

import pytest

from agent.audit import AuditLog
from tests.unit.agent.parts import Agent, request, upload
from tests.unit.fakes import Clock
from tunnel.core.identifiers import audit_text
from tunnel.kit.jsonlines import JsonLines

AUDIT = bytes(range(16))
CALLER = (
    b"user\0alice\0group\0devs\0extra/cluster-tunnel/certificate-sha256\0"
    + b"0f" * 32
    + b"\0address\x00192.0.2.1"
)
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
WATCH = b"/api/v1/pods?watch=1"
EXEC = b"/api/v1/namespaces/x/pods/p/exec?command=sh"


class Audited(Agent):
    """An agent whose log is read again."""

    def __init__(self) -> None:
        self._file = io.BytesIO()
        super().__init__(audit=AuditLog(JsonLines(self._file, "--audit"), "agent-7"))
        self.connect()
        self.channel = self.channels.add()

    @property
    def entries(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._file.getvalue().splitlines()]

    @property
    def entry(self) -> dict[str, Any]:
        """The only one."""
        (entry,) = self.entries
        return entry

    @property
    def stages(self) -> list[str]:
        return [entry["stage"] for entry in self.entries]


def facts(entry: dict[str, Any]) -> dict[str, str]:
    """What Kubernetes has no field for."""
    return {name.removeprefix("cluster-tunnel/"): value for name, value in entry["annotations"].items()}


@pytest.fixture
async def agent(clock: Clock) -> Audited:
    return Audited()


async def test_a_line_says_which_stub_asked_for_whom_and_how_it_ended(agent: Audited, clock: Clock) -> None:
    agent.ask(
        request(1, b"PATCH", b"/api/v1/namespaces/prod/pods/web", body=b"{}", audit=AUDIT, caller=CALLER)
    )
    clock.now += 1.5
    agent.upstreams.give().ok(b"body")
    entry = agent.entry
    assert (entry["auditID"], entry["stage"]) == (audit_text(AUDIT), "ResponseComplete")
    assert entry["user"] == {
        "username": "alice",
        "groups": ["devs"],
        "extra": {"cluster-tunnel/certificate-sha256": ["0f" * 32]},
    }
    assert (entry["verb"], entry["sourceIPs"], entry["responseStatus"]["code"]) == (
        "patch",
        ["192.0.2.1"],
        200,
    )
    assert entry["objectRef"] == {"resource": "pods", "namespace": "prod", "name": "web", "apiVersion": "v1"}
    assert facts(entry) == {
        "hop": "agent",
        "cluster": "blue",
        "agent": "agent-7",
        "stub": "stub.example.com:8443",
        "request-bytes": "2",
        "response-bytes": "4",
    }
    began, ended = entry["requestReceivedTimestamp"], entry["stageTimestamp"]
    assert (float(ended[17:-1]) - float(began[17:-1])) % 60 == pytest.approx(1.5, abs=1e-5)


async def test_a_request_above_the_ceiling_is_booked_with_the_reason(agent: Audited) -> None:
    agent.ask(request(caller=b"user\0system:admin"))
    assert agent.entry["user"] == {"username": "system:admin"}
    assert agent.entry["responseStatus"]["code"] == 403
    assert facts(agent.entry)["reason"].startswith("above the cluster's ceiling")


async def test_a_stub_that_names_its_caller_in_riddles_is_booked_without_one(agent: Audited) -> None:
    agent.ask(request(caller=b"role\0x"))
    assert (agent.entry["user"], agent.entry["responseStatus"]["code"]) == ({}, 400)


async def test_an_answer_that_breaks_off_keeps_its_status_and_says_why(agent: Audited) -> None:
    agent.ask(request())
    apiserver = agent.upstreams.give()
    apiserver.answer(CHUNKED + b"3\r\none\r\n")
    apiserver.stream.lose()
    assert agent.entry["responseStatus"]["code"] == 200
    assert facts(agent.entry)["response-bytes"] == "3"
    assert "closed the connection" in facts(agent.entry)["reason"]


async def test_what_never_got_an_answer_has_the_agents_own_status(agent: Audited) -> None:
    agent.ask(request())
    agent.upstreams.give().stream.lose()
    assert agent.entry["responseStatus"]["code"] == 502


@pytest.mark.parametrize("how", ["cancelled", "the session is over", "the channel is gone"])
async def test_each_request_ends_with_one_line_however_it_ends(agent: Audited, how: str) -> None:
    agent.ask(request())
    agent.upstreams.give().answer(CHUNKED)
    match how:
        case "cancelled":
            agent.cancel(1)
        case "the channel is gone":
            agent.channel.stream.lose()
    agent.link.stop("the agent shut down")
    assert agent.stages == ["ResponseComplete"]
    assert facts(agent.entry)["reason"]


async def test_a_streamed_bodys_bytes_are_counted(agent: Audited) -> None:
    agent.ask(upload(length=8))
    agent.send(1, b"body")
    apiserver = agent.upstreams.give()
    agent.send(1, b"more")
    apiserver.ok(b"")
    assert facts(agent.entry)["request-bytes"] == "8"


async def test_the_stages_of_a_watch_are_written_as_it_reaches_them(agent: Audited) -> None:
    agent.ask(request(target=WATCH, audit=AUDIT))
    assert agent.stages == ["RequestReceived"]
    apiserver = agent.upstreams.give()
    apiserver.answer(CHUNKED + b"3\r\none\r\n")
    assert agent.stages == ["RequestReceived", "ResponseStarted"]
    apiserver.answer(b"0\r\n\r\n")
    received, started, complete = agent.entries
    assert "responseStatus" not in received
    assert started["responseStatus"]["code"] == complete["responseStatus"]["code"] == 200
    assert "response-bytes" not in facts(started)
    assert (facts(complete)["response-bytes"], facts(complete).get("reason")) == ("3", None)
    assert {entry["auditID"] for entry in agent.entries} == {audit_text(AUDIT)}


async def test_a_pipes_bytes_and_the_reason_of_its_end_are_written(agent: Audited) -> None:
    agent.ask(request(method=b"POST", target=EXEC, upgrade=True))
    apiserver = agent.upstreams.give()
    apiserver.answer(SWITCHED + b"hello")
    agent.channel.stream.receive(b"in")
    apiserver.answer(b"!")
    agent.channel.stream.receive_end()
    apiserver.stream.receive_end()
    assert agent.stages == ["RequestReceived", "ResponseStarted", "ResponseComplete"]
    complete = agent.entries[-1]
    assert complete["responseStatus"]["code"] == 101
    assert complete["requestURI"].endswith("?command=sh")
    found = facts(complete)
    assert (found["request-bytes"], found["response-bytes"], found["reason"]) == (
        "2",
        "6",
        "both sides ended",
    )


async def test_no_secret_is_in_it(agent: Audited) -> None:
    fields = [(b"Authorization", b"Bearer s3cr3t"), (b"Cookie", b"s3cr3t")]
    agent.ask(request(target=b"/api/v1/pods?token=s3cr3t", fields=fields))
    agent.upstreams.give().ok(b"s3cr3t")
    text = json.dumps(agent.entries)
    assert "s3cr3t" not in text
    assert "token-1" not in text  # the agent's own
