"""Whom the upstream sees in each mode of an agent, and what both audit logs say of it."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.client import Answer, Client, request
from tests.integration.test_upgrades import EXEC, SPDY_101, WEBSOCKET_101, WEBSOCKET_FIELDS, echo
from tests.integration.tunnel_fixture import TOKEN, Tunnel
from tests.integration.upstream import Incoming, answering, raw
from tests.integration.waiting import soon, until
from tunnel.kit.document import RulesFile

OWN = "the-users-own-token"
BEARER = f"Authorization: Bearer {OWN}"
HIDDEN = "base64url.bearer.authorization.k8s.io.dG9rZW4"
FORWARD = "default: allow\nclusters: {blue: {default: allow, bearer: forward}}"
UPGRADE = ("Connection: Upgrade", "Upgrade: SPDY/3.1")
PLAIN = ("GET /api", ())
SPDY = (f"POST {EXEC}", UPGRADE)
both = pytest.mark.parametrize("kind", [PLAIN, SPDY], ids=["plain", "upgrade"])


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of rules, which is looked at for each request."""
    monkeypatch.setattr(RulesFile.__init__, "__defaults__", (0.0,))
    return tmp_path / "rules.yaml"


async def with_access(parts: Tunnel, file: Path, text: str, **agent: Any) -> None:
    file.write_text(text)
    await parts.start_stub(access=file)
    await parts.start_agent(audit=str(parts.audit) + "-agent", **agent)


async def ask(client: Client, kind: tuple[str, tuple[str, ...]], *fields: str) -> int:
    """Send a request and return the status of its answer."""
    line, own = kind
    client.send(request(line, *fields, *own))
    return (await client.head()).status


def without_agent(incoming: Incoming) -> None:
    """Nothing of the agent's own is in a request."""
    assert TOKEN not in repr(incoming.fields)
    assert not [name for name, _ in incoming.fields if name.lower().startswith(b"impersonate")]


# passthrough -------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("user", ["jane", None])
async def test_the_users_own_token_passes_through_with_or_without_a_certificate(
    parts: Tunnel, file: Path, kind: tuple[str, tuple[str, ...]], user: str | None
) -> None:
    await with_access(parts, file, FORWARD, mode="passthrough", token_file=None)
    parts.upstream.script = raw(SPDY_101) if kind is SPDY else answering(200, b"ok")
    client = await parts.connect(user)
    assert await ask(client, kind, BEARER, "X-Remote-User: root") in (101, 200)
    incoming = await parts.upstream.next_request()
    assert incoming.values("authorization") == [f"Bearer {OWN}"]
    assert incoming.values("x-remote-user") == []
    assert incoming.values("x-forwarded-for") == ["127.0.0.1"]
    without_agent(incoming)


async def test_a_websockets_token_passes_through_too(parts: Tunnel, file: Path) -> None:
    await with_access(parts, file, FORWARD, mode="passthrough")
    parts.upstream.script = raw(WEBSOCKET_101)
    protocols = f"Sec-WebSocket-Protocol: {HIDDEN}, v5.channel.k8s.io"
    client = await parts.connect(None)
    client.send(request(f"GET {EXEC}", *WEBSOCKET_FIELDS, protocols))
    assert (await client.head()).status == 101
    incoming = await parts.upstream.next_request()
    assert incoming.values("sec-websocket-protocol") == [f"{HIDDEN}, v5.channel.k8s.io"]
    without_agent(incoming)


@both
@pytest.mark.parametrize("fields", [(), ("Authorization: Basic YTpi",)], ids=["nothing", "a password"])
async def test_without_a_certificate_and_a_token_nobody_is_answered(
    parts: Tunnel, file: Path, kind: tuple[str, tuple[str, ...]], fields: tuple[str, ...]
) -> None:
    await with_access(parts, file, FORWARD, mode="passthrough")
    client = await parts.connect(None)
    assert await ask(client, kind, *fields) == 401
    assert not parts.upstream.requests


@both
@pytest.mark.parametrize("rules", ["default: allow", FORWARD.replace("blue", "green")])
async def test_an_agents_word_never_makes_a_token_travel(
    parts: Tunnel, file: Path, kind: tuple[str, tuple[str, ...]], rules: str
) -> None:
    await with_access(parts, file, rules, mode="passthrough")
    for user, says in (("jane", "bearer: forward"), (None, "client certificate is needed")):
        client = await parts.connect(user)
        line, own = kind
        client.send(request(line, BEARER, *own))
        answer = await client.answer()
        assert answer.status == 401
        assert says in answer.message
    assert not parts.upstream.requests


@pytest.mark.parametrize("mode", ["impersonate", "token"])
async def test_where_the_agent_would_ask_for_itself_nobody_comes_without_a_name(
    parts: Tunnel, file: Path, mode: str
) -> None:
    await with_access(parts, file, FORWARD, mode=mode)
    answer = await (await parts.connect(None)).ask("GET /api", BEARER)
    assert answer.status == 401
    assert answer.message.startswith("agent: a client certificate is needed")
    await (await parts.connect()).ask("GET /api", BEARER)
    incoming = await parts.upstream.next_request()
    assert incoming.values("authorization") == [f"Bearer {TOKEN}"]


async def test_a_token_that_the_upstream_refuses_is_not_replaced_by_the_agents(
    parts: Tunnel, file: Path
) -> None:
    await with_access(parts, file, FORWARD, mode="passthrough")
    parts.upstream.script = answering(401, b"{}")
    assert (await (await parts.connect()).ask("GET /api", BEARER)).status == 401
    (incoming,) = parts.upstream.requests
    without_agent(incoming)


async def test_a_token_that_passes_through_is_in_no_log(
    parts: Tunnel, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    await with_access(parts, file, FORWARD, mode="passthrough")
    client = await parts.connect(None)
    for _ in range(2):
        assert (await client.ask(f"GET /api?token={OWN}", BEARER)).status == 200
    assert OWN not in caplog.text
    assert OWN not in parts.audit.read_text() + agent_log(parts).read_text()


# impersonate -------------------------------------------------------------------------------------


async def test_the_upstream_is_told_the_certificate_the_address_and_the_id_where_the_owner_says_so(
    parts: Tunnel,
) -> None:
    await parts.start_stub()
    await parts.start_agent(impersonate_extra=("certificate", "address", "request"))
    await (await parts.connect()).ask("GET /api")
    incoming = await parts.upstream.next_request()
    jane = hashlib.sha256(parts.certificates.users["jane"].der).hexdigest()
    own = "impersonate-extra-cluster-tunnel%2f"
    assert incoming.values(own + "certificate-sha256") == [jane]
    assert incoming.values(own + "client-address") == ["127.0.0.1"]
    assert incoming.values(own + "request-id") == incoming.values("audit-id")


async def test_without_that_it_is_told_no_extra(parts: Tunnel) -> None:
    """The documented rights are enough."""
    await parts.start_stub()
    await parts.start_agent()
    await (await parts.connect()).ask("GET /api")
    incoming = await parts.upstream.next_request()
    assert not [name for name, _ in incoming.fields if name.lower().startswith(b"impersonate-extra")]


# tokenrequest ------------------------------------------------------------------------------------

ACCOUNTS = "accounts: [{groups: [devs], serviceAccount: shop/developers}]"


async def issuing(incoming: Incoming) -> None:
    """A cluster that makes tokens."""
    await incoming.read_body()
    if incoming.target.endswith(b"/token"):
        answer = {"spec": {"expirationSeconds": 3600}, "status": {"token": "developers-token"}}
        incoming.whole_answer(201, json.dumps(answer).encode())
    else:
        incoming.whole_answer(200, b"ok")


async def test_a_user_acts_as_a_service_account(parts: Tunnel, file: Path) -> None:
    file.write_text(ACCOUNTS)
    await parts.start_stub()
    await parts.start_agent(mode="tokenrequest", accounts=file, audit=str(parts.audit) + "-agent")
    parts.upstream.script = issuing
    client = await parts.connect()
    for _ in range(3):
        assert (await client.ask("GET /api/v1/pods", BEARER)).body == b"ok"
    token, *asked = parts.upstream.requests
    assert token.line == b"POST /api/v1/namespaces/shop/serviceaccounts/developers/token HTTP/1.1"
    assert token.values("authorization") == [f"Bearer {TOKEN}"]
    assert [each.values("authorization") for each in asked] == [["Bearer developers-token"]] * 3
    assert all(not each.values("impersonate-user") for each in asked)
    entry = entries(agent_log(parts))[0]
    assert entry["user"]["username"] == "jane"
    assert entry["annotations"]["cluster-tunnel/service-account"] == "shop/developers"
    assert "developers-token" not in agent_log(parts).read_text()


async def test_a_user_whom_no_account_is_for_gets_a_status_that_says_so(parts: Tunnel, file: Path) -> None:
    file.write_text(ACCOUNTS)
    await parts.start_stub()
    await parts.start_agent(mode="tokenrequest", accounts=file)
    answer = await (await parts.connect("joe")).ask("GET /api")
    assert (answer.status, answer.kubernetes_status["reason"]) == (403, "Forbidden")
    assert "maps neither the user 'joe'" in answer.message
    assert not parts.upstream.requests


@pytest.mark.parametrize(
    ("status", "says"), [(403, "create on serviceaccounts/token"), (404, "does not exist")]
)
async def test_a_cluster_that_makes_no_token_refuses_the_request(
    parts: Tunnel, file: Path, status: int, says: str
) -> None:
    file.write_text(ACCOUNTS)
    await parts.start_stub()
    await parts.start_agent(mode="tokenrequest", accounts=file)
    parts.upstream.script = answering(status, b"{}")
    answer = await (await parts.connect()).ask("GET /api")
    assert answer.status == 403
    assert says in answer.message
    assert len(parts.upstream.requests) == 1


# kubectl --as --------------------------------------------------------------------------------------

LETS_DEVS = "rules: [{groups: [devs], clusters: [blue], impersonate: true}]"


def reviewing(allowed: bool) -> Any:
    """A cluster that says who may act as whom."""

    async def script(incoming: Incoming) -> None:
        await incoming.read_body()
        if incoming.target.endswith(b"/subjectaccessreviews"):
            incoming.whole_answer(201, json.dumps({"status": {"allowed": allowed}}).encode())
        elif incoming.values("upgrade"):
            incoming.send(SPDY_101)
        else:
            incoming.whole_answer(200, b"ok")

    return script


AS = ("Impersonate-User: bob", "Impersonate-Group: ops")


@both
async def test_a_user_acts_as_another_where_stub_agent_and_cluster_let_it(
    parts: Tunnel, file: Path, kind: tuple[str, tuple[str, ...]]
) -> None:
    await with_access(parts, file, LETS_DEVS, allow_impersonation=True)
    parts.upstream.script = reviewing(True)
    client = await parts.connect()
    assert await ask(client, kind, "Connection: Impersonate-User", *AS) in (101, 200)
    first, second, asked = parts.upstream.requests
    for review, name in ((first, "bob"), (second, "ops")):
        spec = json.loads(review.body)["spec"]
        assert (spec["user"], spec["groups"]) == ("jane", ["devs", "ops", "system:authenticated"])
        assert (spec["resourceAttributes"]["verb"], spec["resourceAttributes"]["name"]) == (
            "impersonate",
            name,
        )
    assert asked.values("impersonate-user") == ["bob"]
    assert asked.values("impersonate-group") == ["ops"]
    assert asked.values("impersonate-extra-cluster-tunnel%2foriginal-user") == ["jane"]


@both
async def test_what_the_cluster_does_not_allow_is_never_asked(
    parts: Tunnel, file: Path, kind: tuple[str, tuple[str, ...]]
) -> None:
    await with_access(parts, file, LETS_DEVS, allow_impersonation=True)
    parts.upstream.script = reviewing(False)
    line, own = kind
    client = await parts.connect()
    client.send(request(line, *AS, *own))
    answer = await client.answer()
    assert answer.status == 403
    assert "act as users 'bob'" in answer.message
    assert [each.target for each in parts.upstream.requests] == [
        b"/apis/authorization.k8s.io/v1/subjectaccessreviews"
    ]


@both
@pytest.mark.parametrize(
    ("rules", "allow"), [(LETS_DEVS, False), ("default: allow", True)], ids=["the agent", "the stub"]
)
async def test_one_end_alone_can_refuse_it(
    parts: Tunnel, file: Path, kind: tuple[str, tuple[str, ...]], rules: str, allow: bool
) -> None:
    await with_access(parts, file, rules, allow_impersonation=allow)
    line, own = kind
    client = await parts.connect()
    client.send(request(line, *AS, *own))
    answer = await client.answer()
    assert answer.status == 403
    assert "--as" in answer.message
    assert not parts.upstream.requests


# Audit -------------------------------------------------------------------------------------------


def agent_log(parts: Tunnel) -> Path:
    return Path(str(parts.audit) + "-agent")


def entries(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_both_logs_and_the_upstream_know_a_request_by_one_id(parts: Tunnel) -> None:
    await parts.start_stub()
    await parts.start_agent(audit=str(agent_log(parts)))
    answer: Answer = await (await parts.connect()).ask("GET /api/v1/namespaces/shop/pods/web?token=x")
    assert answer.status == 200
    (incoming,) = parts.upstream.requests
    (at_stub,), (at_agent,) = entries(parts.audit), entries(agent_log(parts))
    assert [at_stub["auditID"]] == [at_agent["auditID"]] == incoming.values("audit-id")
    for same in ("requestURI", "verb", "user", "sourceIPs", "objectRef", "responseStatus", "stage"):
        assert at_stub[same] == at_agent[same]
    assert at_stub["user"]["username"] == "jane"
    assert at_stub["requestURI"] == "/api/v1/namespaces/shop/pods/web?token=<hidden>"
    hops = [entry["annotations"]["cluster-tunnel/hop"] for entry in (at_stub, at_agent)]
    assert hops == ["stub", "agent"]


async def test_beginning_and_end_of_a_long_stream_are_in_both_logs(parts: Tunnel) -> None:
    await parts.start_stub()
    await parts.start_agent(audit=str(agent_log(parts)))
    parts.upstream.script = echo
    client = await parts.connect()
    client.send(request(*SPDY[:1], *UPGRADE))
    assert (await client.head()).status == 101
    for path in (parts.audit, agent_log(parts)):
        assert [entry["stage"] for entry in entries(path)] == ["RequestReceived", "ResponseStarted"]
    await client.end.send(b"hello")
    assert await soon(client.end.read_exactly(5)) == b"hello"
    client.end.write_end()
    await until(lambda: parts.is_quiet() and len(entries(parts.audit)) == 3)
    for path in (parts.audit, agent_log(parts)):
        received, started, complete = entries(path)
        assert received["auditID"] == started["auditID"] == complete["auditID"]
        facts = complete["annotations"]
        assert complete["responseStatus"]["code"] == 101
        assert (facts["cluster-tunnel/request-bytes"], facts["cluster-tunnel/response-bytes"]) == ("5", "5")
        assert facts["cluster-tunnel/reason"]


async def test_a_request_that_the_agent_refuses_is_in_both_logs(parts: Tunnel, file: Path) -> None:
    file.write_text("readOnly: true")
    await parts.start_stub()
    await parts.start_agent(ceiling=file, audit=str(agent_log(parts)))
    assert (await (await parts.connect()).ask("DELETE /api/v1/namespaces/x/pods/p")).status == 403
    for path in (parts.audit, agent_log(parts)):
        (entry,) = entries(path)
        assert entry["responseStatus"]["code"] == 403
        assert "above the cluster's ceiling" in entry["annotations"]["cluster-tunnel/reason"]
