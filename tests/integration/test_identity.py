"""Who the upstream takes the user for: the certificate decides, and nothing in a request can change it."""

import ssl
import time
from types import SimpleNamespace

import pytest

from tests import pki
from tests.integration.client import Client, request
from tests.integration.test_upgrades import SPDY_101
from tests.integration.tls_end import End, TlsEnd
from tests.integration.tunnel_fixture import TOKEN, Tunnel
from tests.integration.upstream import Incoming, Upstream, raw
from tests.integration.waiting import soon
from tunnel.core.session.agent_side import AgentSession
from tunnel.core.wire.control import CHANNEL_ALPN, SESSION_ALPN, Reject

PLAIN = ("GET /api", ())
UPGRADE = ("POST /api/exec", ("Connection: Upgrade", "Upgrade: SPDY/3.1"))
both = pytest.mark.parametrize("kind", [PLAIN, UPGRADE], ids=["plain", "upgrade"])
Kind = tuple[str, tuple[str, ...]]


async def ask(client: Client, upstream: Upstream, kind: Kind, *fields: str) -> Incoming:
    """Send a request with these fields and return it as it arrived."""
    line, own = kind
    if own:
        upstream.script = raw(SPDY_101)
    client.send(request(line, *fields, *own))
    assert (await client.head()).status in (101, 200)
    return await upstream.next_request()


@both
async def test_connection_cannot_name_the_identity_away(
    client: Client, upstream: Upstream, kind: Kind
) -> None:
    """Case 37: spaces, mixed case, two lines: upstream still sees the certificate's user."""
    fields = [
        "Connection: close, Impersonate-User ,  X-Remote-User",
        "connection:\timpersonate-group, AUTHORIZATION",
    ]
    incoming = await ask(client, upstream, kind, *fields, "X-Kept: 1")
    assert incoming.values("impersonate-user") == ["jane"]
    assert incoming.values("impersonate-group") == ["devs", "ops"]
    assert incoming.values("authorization") == [f"Bearer {TOKEN}"]
    assert incoming.values("x-kept") == ["1"]
    assert incoming.values("connection") == (["Upgrade"] if kind is UPGRADE else [])


@both
async def test_connection_may_name_the_clients_own_fields(
    client: Client, upstream: Upstream, kind: Kind
) -> None:
    incoming = await ask(client, upstream, kind, "Connection: X-Hop", "X-Hop: 1", "X-Kept: 1")
    assert (incoming.values("x-hop"), incoming.values("x-kept")) == ([], ["1"])


@both
@pytest.mark.parametrize(
    "field",
    [
        "Impersonate-User: admin",
        "impersonate-group: system:masters",
        "Impersonate_User: admin",
        "IMPERSONATE-EXTRA-scopes: x",
        "Impersonate-Uid: 0",
        "Impersonate-User:",
    ],
)
async def test_a_clients_own_impersonation_is_refused(
    client: Client, upstream: Upstream, kind: Kind, field: str
) -> None:
    """Case 38: 403 Status, and nothing upstream: `kubectl --as=viewer delete` must not run with full rights."""
    line, own = kind
    client.send(request(line, field, *own))
    answer = await client.answer()
    assert answer.status == 403
    assert "--as" in answer.message
    assert not upstream.requests


@both
async def test_what_a_client_says_of_itself_is_dropped(
    client: Client, upstream: Upstream, kind: Kind
) -> None:
    """Case 39: upstream sees none of it but an X-Forwarded-For with the real address."""
    lies = [
        "X-Remote-User: admin",
        "X_Remote_Group: system:masters",
        "x-remote-extra-a: b",
        "X-Forwarded-For: 1.2.3.4",
        "X-Forwarded-Proto: http",
        "Forwarded: for=1.2.3.4",
        "X-Real-Ip: 1.2.3.4",
        "Cookie: a=b",
        "Proxy-Authorization: Basic x",
        "TE: trailers",
        "X-Cluster-Tunnel-Request-Id: 1",
    ]
    incoming = await ask(client, upstream, kind, *lies)
    names = {name.lower().replace(b"_", b"-") for name, _ in incoming.fields}
    own = {
        b"host",
        b"impersonate-user",
        b"impersonate-group",
        b"x-forwarded-for",
        b"authorization",
        b"audit-id",
    }
    assert names - own == ({b"connection", b"upgrade"} if kind is UPGRADE else set())
    assert incoming.values("x-forwarded-for") == ["127.0.0.1"]


@pytest.mark.parametrize(
    ("user", "groups"),
    [
        ("", ["devs"]),
        ("jane", ["system:masters"]),
        ("jane", ["System:Masters"]),
        ("system:admin", []),
        ("system:node:n1", ["system:nodes"]),
        ("jane\nImpersonate-Group: admins", []),
        ("jane ", []),
        (" jane", []),
        ("jane", ["devs\r\nX: y"]),
    ],
)
async def test_names_that_are_not_a_users_are_refused(tunnel: Tunnel, user: str, groups: list[str]) -> None:
    """Case 41: 403 Status, and upstream sees nothing."""
    client = await tunnel.connect(tunnel.certificates.user_ca.client(user, groups))
    answer = await client.ask("GET /api")
    assert answer.status == 403
    assert answer.kubernetes_status["reason"] == "Forbidden"
    assert not tunnel.upstream.requests


async def test_names_beyond_ascii_arrive_as_utf_8(tunnel: Tunnel) -> None:
    client = await tunnel.connect(tunnel.certificates.user_ca.client("jürgen", ["gruppe-ß"]))
    await client.ask("GET /api")
    incoming = await tunnel.upstream.next_request()
    assert incoming.values("impersonate-user") == ["jürgen"]
    assert incoming.values("impersonate-group") == ["gruppe-ß"]


async def test_token_mode_shows_the_agent_alone(parts: Tunnel) -> None:
    await parts.start_stub()
    await parts.start_agent(mode="token")
    await (await parts.connect()).ask("GET /api")
    incoming = await parts.upstream.next_request()
    assert not [name for name, _ in incoming.fields if name.lower().startswith(b"impersonate")]
    assert incoming.values("authorization") == [f"Bearer {TOKEN}"]


async def test_a_client_without_a_certificate_gets_401(tunnel: Tunnel) -> None:
    client = await tunnel.connect(None)
    answer = await client.ask("GET /api", "Authorization: Bearer anything")
    assert answer.status == 401
    assert "certificate" in answer.message
    assert not tunnel.upstream.requests


async def test_an_agents_certificate_is_no_users(tunnel: Tunnel) -> None:
    client = await tunnel.connect(tunnel.certificates.agents["blue"])
    assert (await client.ask("GET /api")).status == 403
    assert not tunnel.upstream.requests


@pytest.mark.parametrize("alpn", [SESSION_ALPN, CHANNEL_ALPN])
@pytest.mark.parametrize("who", ["jane", None])
async def test_only_agents_may_speak_as_agents(tunnel: Tunnel, alpn: str, who: str | None) -> None:
    """Case 52, its other half: what is not an agent's certificate gets not even a HELLO; a session's hears why."""
    end = await tunnel.dial(who, alpn=[alpn])
    said = AgentSession(0.0).receive(await soon(end.read_to_end()), 0.0)
    if who and alpn == SESSION_ALPN:
        (rejected,) = said
        assert isinstance(rejected, Reject)
        assert "not an agent's" in rejected.reason
    else:
        assert said == []
    assert len(tunnel.stub.registry.links) == 1


async def test_a_certificate_that_expires_gets_401_on_the_same_connection(
    tunnel: Tunnel, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Case 48: dates are looked at for each request, because connections live long."""
    assert (await client.ask("GET /api")).status == 200
    expiry = tunnel.certificates.users["jane"].certificate.not_valid_after_utc.timestamp()
    later = SimpleNamespace(time=lambda: expiry + 1, monotonic=time.monotonic)
    monkeypatch.setattr("certs.standing.time", later)
    answer = await client.ask("GET /api")
    assert answer.status == 401
    assert "expired" in answer.message
    assert len(tunnel.upstream.requests) == 1


async def test_an_expired_certificate_is_told_so(tunnel: Tunnel) -> None:
    """Case 50: a 401 Status and not a failed handshake, which kubectl would repeat for ten seconds."""
    pair = tunnel.certificates.user_ca.client("late", not_before=-2 * pki.DAY, not_after=-pki.DAY)
    answer = await (await tunnel.connect(pair)).ask("GET /api")
    assert answer.status == 401
    assert "expired" in answer.message


async def test_a_certificate_of_an_unknown_authority_fails_at_once(tunnel: Tunnel) -> None:
    """Case 50: with TLS's own words, and no answer."""
    stranger = tunnel.certificates.server_ca.client("jane", ["devs"])
    client = await tunnel.connect(
        stranger
    )  # a TLS 1.3 client's handshake is over before its certificate is judged
    client.send(request("GET /api"))
    assert await client.ended() is End.CUT
    assert not tunnel.upstream.requests


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda v: v.name)
async def test_a_saved_login_cannot_be_resumed(tunnel: Tunnel, version: ssl.TLSVersion) -> None:
    """Case 47: with tickets on, a login for one cluster was accepted for another."""
    context = pki.client_context(tunnel.certificates.server_ca, pair=tunnel.certificates.users["jane"])
    context.minimum_version = context.maximum_version = version
    first = await TlsEnd.connect(tunnel.port, context, "localhost")
    assert (await Client(first).ask("GET /api")).body == b"ok"
    session = first.session
    await first.close()
    try:
        again = Client(await soon(TlsEnd.connect(tunnel.port, context, "localhost", session=session)))
    except (ssl.SSLError, EOFError):
        return  # turned away
    if again.end.resumed:
        again.send(request("GET /api"))
        await again.ended()
    await again.close()
    assert len(tunnel.upstream.requests) == 1
