"""Access rules at the stub and the ceiling at the agent, in a whole tunnel."""

import json
from pathlib import Path

import pytest

from tests.integration.client import Answer
from tests.integration.tunnel_fixture import Tunnel
from tests.integration.upstream import answering
from tunnel.kit.document import RulesFile

POD = "/api/v1/namespaces/dev/pods/web"
WEBSOCKET = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
)
RULES = """\
rules:
  - {name: devs may look, groups: [devs], clusters: [blue], readOnly: true}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of rules, which both ends look at for each request."""
    monkeypatch.setattr(RulesFile.__init__, "__defaults__", (0.0,))
    return tmp_path / "rules.yaml"


async def with_access(parts: Tunnel, file: Path, text: str) -> None:
    file.write_text(text)
    await parts.start_stub(access=file)
    await parts.start_agent()


async def with_ceiling(parts: Tunnel, file: Path, text: str) -> None:
    file.write_text(text)
    await parts.start_stub()
    await parts.start_agent(ceiling=file)


def is_forbidden(answer: Answer, words: str) -> bool:
    assert answer.status == 403
    assert answer.kubernetes_status["reason"] == "Forbidden"
    return words in answer.message


async def test_a_rule_decides_about_plain_requests_and_upgrades(parts: Tunnel, file: Path) -> None:
    await with_access(parts, file, RULES)
    jane = await parts.connect()
    assert (await jane.ask(f"GET {POD}")).status == 200
    refused = await jane.ask(f"DELETE {POD}")
    assert is_forbidden(refused, "the rule 'devs may look' allows reading only, not delete")
    assert refused.message.startswith("stub: the access rules do not allow this in the cluster 'blue'")
    assert (await jane.ask(f"GET /clusters/blue{POD}")).status == 200
    assert is_forbidden(await jane.ask(f"GET {POD}/exec", *WEBSOCKET), "no running commands in pods")
    assert [incoming.target for incoming in parts.upstream.requests] == [POD.encode()] * 2


async def test_a_refused_request_is_audited_with_its_cluster(parts: Tunnel, file: Path) -> None:
    await with_access(parts, file, RULES)
    await (await parts.connect()).ask(f"DELETE {POD}")
    (line,) = parts.audit.read_text().splitlines()
    entry = json.loads(line)
    assert (entry["user"]["username"], entry["verb"], entry["responseStatus"]["code"]) == (
        "jane",
        "delete",
        403,
    )
    assert entry["annotations"]["cluster-tunnel/cluster"] == "blue"


async def test_a_user_whom_no_rule_names_does_not_reach_the_cluster(parts: Tunnel, file: Path) -> None:
    await with_access(parts, file, RULES)
    joe = await parts.connect("joe")
    assert is_forbidden(await joe.ask("GET /api"), "let you reach the cluster 'blue': no rule names 'joe'")
    assert is_forbidden(
        await joe.ask("GET /clusters/green/api"), "no rule names 'joe' for the cluster 'green'"
    )
    assert not parts.upstream.requests


@pytest.mark.parametrize("seconds", [0.0, 30.0])
@pytest.mark.parametrize("line", ["GET /clusters/{}/api", "POST /clusters/{}/api", "HEAD /clusters/{}/api"])
async def test_case_33_a_hidden_cluster_looks_like_one_that_does_not_exist(
    parts: Tunnel, file: Path, monkeypatch: pytest.MonkeyPatch, line: str, seconds: float
) -> None:
    monkeypatch.setattr("stub.front.office.STARTING_SECONDS", seconds)
    file.write_text(
        "hideClusters: true\nclusters: {nowhere: {default: allow}}\nrules: [{users: [x], clusters: ['*']}]"
    )
    await parts.start_stub(access=file, default_cluster=None)
    await parts.start_agent()
    joe = await parts.connect("joe")
    body = b"x" if line.startswith("POST") else b""
    hidden = await joe.ask(line.format("blue"), body=body)
    unknown = await joe.ask(line.format("nowhere"), body=body)
    assert hidden.status == (503 if seconds else 404)
    assert _without_names(hidden) == _without_names(unknown)


def _without_names(answer: Answer) -> tuple[str, list[str], str]:
    """What is left of an answer without cluster and request id."""
    fields = [
        f"{name}: {value}".replace("nowhere", "blue")
        for name, value in answer.fields
        if name.lower() not in ("x-cluster-tunnel-request-id", "content-length")
    ]
    text = answer.body.decode().replace("nowhere", "blue").partition(" (request ")[0]
    return answer.line, fields, text


async def test_changed_rules_hold_from_the_next_request_of_an_open_connection(
    parts: Tunnel, file: Path
) -> None:
    await with_access(parts, file, RULES)
    jane = await parts.connect()
    assert (await jane.ask("GET /api")).status == 200
    file.write_text("rules: [{users: [joe], clusters: [blue]}]")
    assert (await jane.ask("GET /api")).status == 403
    file.write_text("rules: [{users: [")
    assert (await jane.ask("GET /api")).status == 403
    assert (await (await parts.connect("joe")).ask("GET /api")).status == 200


async def test_the_ceiling_holds_where_the_stub_allows(parts: Tunnel, file: Path) -> None:
    await with_ceiling(parts, file, "readOnly: true\nnamespaces: [dev]")
    parts.upstream.script = answering(200, b"ok")
    jane = await parts.connect()
    assert (await jane.ask(f"GET {POD}/log?follow=true")).body == b"ok"
    assert (await jane.ask("GET /apis")).body == b"ok"
    refused = await jane.ask(f"DELETE {POD}")
    assert is_forbidden(refused, "agent: above the cluster's ceiling: it allows reading only, not delete")
    assert is_forbidden(await jane.ask("GET /api/v1/pods"), "only the namespaces dev")
    assert is_forbidden(await jane.ask(f"GET {POD}/exec", *WEBSOCKET), "no running commands in pods")
    assert len(parts.upstream.requests) == 2


async def test_a_changed_ceiling_holds_from_the_next_request(parts: Tunnel, file: Path) -> None:
    await with_ceiling(parts, file, "forbiddenGroups: [admins]")
    jane = await parts.connect()
    assert (await jane.ask(f"DELETE {POD}")).status == 200
    file.write_text("forbiddenGroups: [ops]")
    assert is_forbidden(
        await jane.ask("GET /api"), "above the cluster's ceiling: the group 'ops' is forbidden"
    )
