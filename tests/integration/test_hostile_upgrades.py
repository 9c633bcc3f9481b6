"""What holds for a plain request holds for an upgrade: both kinds of each case that the other files try with one alone."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from certs.denied import DENIED, deny, new_denial
from certs.lifetime import utc_now
from tests.integration.client import Answer, Client, request
from tests.integration.test_upgrades import SPDY_101, echo, opened
from tests.integration.tls_end import End
from tests.integration.tunnel_fixture import DOMAIN, TOKEN, Tunnel
from tests.integration.upstream import Incoming, Upstream, silent
from tests.integration.waiting import soon, until

OPEN = ("Connection: Upgrade", "Upgrade: SPDY/3.1")


@dataclass(frozen=True)
class Kind:
    """A way to ask.

    Attributes:
        line: method and path.
        fields: that make it an upgrade.
    """

    line: str
    fields: tuple[str, ...] = ()

    def to(self, prefix: str, host: str = "localhost") -> bytes:
        """The same with another path in front."""
        method, _, path = self.line.partition(" ")
        return request(f"{method} {prefix}{path}", *self.fields, host=host)

    @property
    def head(self) -> bytes:
        return self.to("")


GET = Kind("GET /api")
EXEC = Kind("POST /api/v1/namespaces/n/pods/p/exec", OPEN)
both = pytest.mark.parametrize("kind", [GET, EXEC], ids=["plain", "upgrade"])


async def refused(client: Client, head: bytes, *statuses: int) -> Answer:
    """Ask, and get a Status with one of these codes."""
    client.send(head)
    answer = await client.answer()
    assert answer.status in statuses
    assert answer.kubernetes_status["status"] == "Failure"
    return answer


@both
async def test_case_32_an_answer_that_never_comes_is_502_and_was_asked_once(
    tunnel: Tunnel, kind: Kind
) -> None:
    tunnel.upstream.script = silent
    client = await tunnel.connect()
    client.send(kind.head)
    await tunnel.upstream.next_request()
    await tunnel.agent.cut()
    answer = await client.answer()
    assert (answer.status, answer.values("retry-after")) == (502, [])
    assert len(tunnel.upstream.requests) == 1


@both
async def test_case_33_a_cluster_that_does_not_exist_is_named(
    tunnel: Tunnel, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    monkeypatch.setattr("stub.front.office.STARTING_SECONDS", 0.0)
    answer = await refused(await tunnel.connect(), kind.to("/clusters/red"), 404)
    assert "'red'" in answer.message


@both
@pytest.mark.parametrize("user", ["", "system:admin", "jane\nImpersonate-Group: admins", "jane "])
async def test_case_41_names_that_are_not_a_users_are_refused(tunnel: Tunnel, kind: Kind, user: str) -> None:
    client = await tunnel.connect(tunnel.certificates.user_ca.client(user, ["devs"]))
    await refused(client, kind.head, 403)
    assert not tunnel.upstream.requests


@both
@pytest.mark.parametrize(
    "fields",
    [("Content-Length: 1", "Transfer-Encoding: chunked"), ("Transfer-Encoding: gzip, chunked",), ("X : y",)],
)
async def test_case_42_an_ambiguous_request_is_refused(
    client: Client, upstream: Upstream, kind: Kind, fields: tuple[str, ...]
) -> None:
    await refused(client, request(f"POST {kind.line.split()[1]}", *kind.fields, *fields), 400)
    assert await client.ended() is End.CLOSE_NOTIFY
    assert not upstream.requests


@both
@pytest.mark.parametrize(
    "prefix", ["/clusters/blue/../green", "/%63lusters/green", "//clusters/green", "/CLUSTERS/green"]
)
async def test_case_45_no_detour_leads_to_another_cluster(
    client: Client, upstream: Upstream, kind: Kind, prefix: str
) -> None:
    await refused(client, kind.to(prefix), 400)
    assert not upstream.requests


@both
async def test_case_46_a_user_of_one_cluster_reaches_another_by_no_name(
    parts: Tunnel, tmp_path: Path, kind: Kind
) -> None:
    rules = tmp_path / "access"
    rules.write_text("rules: [{users: [jane], clusters: [blue]}]")
    await parts.start_stub(access=rules, domain=DOMAIN)
    await parts.start_agent("blue")
    await parts.start_agent("green")
    by_name = {name: f"{name}.{DOMAIN}" for name in ("blue", "green")}
    for server_name, host, prefix in (
        ("localhost", "localhost", "/clusters/green"),
        ("localhost", by_name["green"], ""),
        (by_name["green"], "localhost", ""),
        (by_name["blue"], by_name["green"], ""),
        (by_name["blue"], "localhost", "/clusters/green"),
        (by_name["green"], by_name["blue"], ""),
    ):
        client = await parts.connect(server_name=server_name)
        await refused(client, kind.to(prefix, host), 403, 421)
    assert not parts.upstream.requests


# While it is open --------------------------------------------------------------------------------


def later(monkeypatch: pytest.MonkeyPatch, *, now: float = 0.0) -> None:
    """Let the time pass after which files are looked at again; or make it `now`."""
    moved = SimpleNamespace(time=lambda: now or time.time(), monotonic=lambda: time.monotonic() + 60)
    monkeypatch.setattr("certs.standing.time", moved)


async def test_case_48_a_certificate_that_expires_ends_an_open_exec(
    tunnel: Tunnel, client: Client, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.script = echo
    await opened(client)
    sweep = tunnel.stub.sweep()
    sweep.sweep(0)
    client.send(b"ping")
    assert await soon(client.end.read_exactly(4)) == b"ping"
    expiry = tunnel.certificates.users["jane"].certificate.not_valid_after_utc.timestamp()
    later(monkeypatch, now=expiry + 1)
    sweep.sweep(0)
    assert await client.ended() is End.CUT
    await refused(await tunnel.connect(), EXEC.head, 401)


@pytest.fixture
def revoked(parts: Tunnel) -> Iterator[Path]:
    """The folder of the deny list, which is empty again afterwards: all tests share it."""
    yield parts.certificates.ca_dir
    (parts.certificates.ca_dir / DENIED).unlink(missing_ok=True)


async def test_case_49_a_revoked_user_gets_401_at_once_and_loses_an_open_exec_and_a_watch(
    tunnel: Tunnel, revoked: Path, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.script = echo
    running, idle, watching = [await tunnel.connect() for _ in range(3)]
    await opened(running)
    upstream.script = silent
    watching.send(request("GET /api/v1/pods?watch=true"))
    await upstream.next_request()
    await upstream.next_request()
    deny(revoked, [new_denial("user", "jane", utc_now())])
    later(monkeypatch)
    for head in (GET.head, EXEC.head):
        answer = await refused(await tunnel.connect(), head, 401)
        assert "revoked" in answer.message
    await refused(idle, GET.head, 401)
    tunnel.stub.sweep().sweep(0)
    assert await running.ended() is End.CUT
    assert await watching.ended() is End.CUT


async def test_a_revoked_agent_hears_why_at_once_and_at_each_dial(
    tunnel: Tunnel, revoked: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its owner reads the agent's log, not the stub's."""
    caplog.set_level("INFO")
    deny(revoked, [new_denial("agent", "blue", utc_now())])
    later(monkeypatch)
    tunnel.stub.sweep().sweep(0)
    rejected = "the stub rejects the session: the client certificate was revoked on "
    await until(
        lambda: (
            logged(caplog, "disconnected", rejected) and logged(caplog, "a stub cannot be reached", rejected)
        )
    )


def logged(caplog: pytest.LogCaptureFixture, message: str, reason: str) -> bool:
    """Whether a line with that message gives a reason that begins so."""
    return any(
        record.message == message and vars(record)["reason"].startswith(reason) for record in caplog.records
    )


async def only_new_and_open(incoming: Incoming) -> None:
    """Knows the new token alone, and switches."""
    if incoming.values("authorization") == ["Bearer new"]:
        incoming.send(SPDY_101)
        await incoming.gone()
    else:
        incoming.whole_answer(401, b"who?")


async def test_case_60_a_rotated_token_costs_nobody_an_exec(
    tunnel: Tunnel, client: Client, upstream: Upstream
) -> None:
    await client.ask("GET /before")
    upstream.script = only_new_and_open
    tunnel.token_file.write_text("new\n")
    client.send(EXEC.head)
    assert (await client.head()).status == 101
    assert [each.values("authorization") for each in upstream.requests[1:]] == [
        [f"Bearer {TOKEN}"],
        ["Bearer new"],
    ]


# Crowds ------------------------------------------------------------------------------------------


async def test_case_55_handshakes_that_never_begin_keep_nobody_out(parts: Tunnel) -> None:
    await parts.start_stub(max_pending_handshakes=8)
    await parts.start_agent()
    idle = [await asyncio.open_connection("127.0.0.1", parts.port) for _ in range(40)]
    client = await parts.connect()
    assert (await client.ask("GET /api")).body == b"ok"
    cut = [each for each in idle if each[0].at_eof() or each[0].exception()]
    assert len(cut) >= 40 - 8
    for _, writer in idle:
        writer.close()
    await asyncio.gather(*(writer.wait_closed() for _, writer in idle), return_exceptions=True)
