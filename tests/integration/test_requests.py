"""Plain requests: what reaches the upstream, byte for byte, and what comes back to the client."""

import gzip

import pytest

from tests.integration.client import Client, request
from tests.integration.tls_end import End
from tests.integration.tunnel_fixture import TOKEN, Tunnel
from tests.integration.upstream import Incoming, Upstream, answering, raw

TARGET = "/api/v1/x%2Fy//z;p/%e4?b=2&a=1&b=1&c=a+b%20c"


@pytest.mark.parametrize("alpn", [[], ["http/1.1"], ["h2", "http/1.1"]], ids=["none", "http/1.1", "kubectl"])
async def test_a_client_is_served_whatever_alpn_it_offers(tunnel: Tunnel, alpn: list[str]) -> None:
    """Case 1: no ALPN is HTTP/1.1, and the client sees the upstream's answer."""
    client = await tunnel.connect(alpn=alpn)
    answer = await client.ask("GET /api/v1/pods")
    assert (answer.status, answer.body) == (200, b"ok")
    assert client.end.alpn == (alpn[-1] if alpn else None)


async def test_the_users_own_token_stops_at_the_stub(
    tunnel: Tunnel, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """Case 3: upstream sees only the agent's Authorization, and the user's token is in no log."""
    caplog.set_level("DEBUG")
    await client.ask("GET /api", "Authorization: Bearer the-users-own-token")
    incoming = await tunnel.upstream.next_request()
    assert incoming.values("authorization") == [f"Bearer {TOKEN}"]
    assert b"the-users-own-token" not in b"".join(value for _, value in incoming.fields)
    for secret in ("the-users-own-token", TOKEN):
        assert secret not in caplog.text
        assert secret not in tunnel.audit.read_text()


async def test_the_server_name_may_differ_from_the_host(parts: Tunnel) -> None:
    """Case 4: `tls-server-name` makes SNI and Host differ, which is lawful unless they name two clusters."""
    await parts.start_stub(domain="clusters.test", default_cluster=None)
    await parts.start_agent()
    client = await parts.connect(server_name="blue.clusters.test")
    assert (await client.ask("GET /api", host="10.0.0.1:8443")).body == b"ok"
    answer = await client.ask("GET /api", host="green.clusters.test")
    assert answer.status == 421
    assert "blue, green" in answer.message
    assert (await client.ask("GET /clusters/blue/api", host="blue.clusters.test")).body == b"ok"
    assert (await client.ask("GET /clusters/green/api")).status == 421
    assert len(parts.upstream.requests) == 2


@pytest.mark.parametrize("prefix", ["", "/clusters/blue"])
async def test_a_target_travels_byte_for_byte(client: Client, upstream: Upstream, prefix: str) -> None:
    """Case 23: nothing behind the prefix is decoded, collapsed, sorted or quoted again."""
    for target in (TARGET, "/a?", "/a/../b/./c", "/%", '/a"b|c{d}^`<>?x="[]'):
        assert (await client.ask(f"GET {prefix}{target}")).status == 200
        assert (await upstream.next_request()).target == target.encode()


async def test_a_request_line_of_60_kilobytes_passes(
    tunnel: Tunnel, client: Client, upstream: Upstream
) -> None:
    """Case 24: an exec's script in its target is carried; what is above the limit is refused, for that request alone."""
    other = await tunnel.connect()
    target = "/api/v1/namespaces/x/pods/y/exec?" + "&".join(f"command={n:059d}" for n in range(900))
    assert len(target) > 60_000
    assert (await client.ask(f"GET {target}")).body == b"ok"
    assert (await upstream.next_request()).target == target.encode()
    refused = await client.ask("GET /?" + "x" * 200_000)
    assert (refused.status, refused.kubernetes_status["status"]) == (400, "Failure")
    assert (await other.ask("GET /api")).body == b"ok"
    assert len(upstream.requests) == 2


async def test_the_upstream_gets_the_request_as_it_was(client: Client, upstream: Upstream) -> None:
    """Fields keep their order, spelling and repeats; Host, identity and credential are the agent's own."""
    fields = ["X-Order: 1", "ACCEPT: b", "x-order: 2", "Accept: a", "Kubectl-Session:  s p a c e  "]
    await client.ask("GET /api", *fields)
    incoming = await upstream.next_request()
    assert incoming.line == b"GET /api HTTP/1.1"
    assert [field for field in incoming.fields if field[0].lower() in (b"x-order", b"accept")] == [
        (b"X-Order", b"1"),
        (b"ACCEPT", b"b"),
        (b"x-order", b"2"),
        (b"Accept", b"a"),
    ]
    assert incoming.values("kubectl-session") == ["s p a c e"]
    assert incoming.values("host") == [f"localhost:{upstream.port}"]
    assert incoming.values("impersonate-user") == ["jane"]
    assert incoming.values("impersonate-group") == ["devs", "ops"]
    assert not incoming.values("content-length")
    assert not incoming.values("connection")


async def test_audit_id_joins_the_logs(tunnel: Tunnel, client: Client, upstream: Upstream) -> None:
    """The id in the upstream's request is the one in the stub's audit log, and never the client's."""
    await client.ask("GET /api/v1/namespaces/n/pods/p", "Audit-ID: forged")
    (found,) = (await upstream.next_request()).values("audit-id")
    assert f'"auditID":"{found}"' in tunnel.audit.read_text()
    assert "forged" not in tunnel.audit.read_text()


@pytest.mark.parametrize(
    ("line", "answer", "length"),
    [
        ("HEAD /api", b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n", ["1234"]),
        ("HEAD /api", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", []),
        ("DELETE /api", b"HTTP/1.1 204 No Content\r\n\r\n", []),
        ("GET /api", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", ["99"]),
    ],
)
async def test_answers_without_a_body_keep_the_connection_usable(
    client: Client, upstream: Upstream, line: str, answer: bytes, length: list[str]
) -> None:
    """Case 28: HEAD, 204 and 304 have no body whatever their fields say."""
    upstream.script = raw(answer)
    got = await client.ask(line)
    assert got.values("content-length") == length
    assert not got.values("transfer-encoding")
    upstream.script = answering(200, b"next")
    assert (await client.ask("GET /next")).body == b"next"
    first, second = upstream.requests
    assert first.connection is second.connection


async def test_warnings_of_the_upstream_stay_apart(client: Client, upstream: Upstream) -> None:
    """Case 29: two Warning lines come through as two, in order."""
    lines = ['Warning: 299 - "one"', 'Warning: 299 - "two"']
    upstream.script = answering(200, b"", *lines)
    assert (await client.ask("GET /api")).values("warning") == ['299 - "one"', '299 - "two"']


@pytest.mark.parametrize("members", [1, 3])
async def test_gzip_passes_untouched(client: Client, upstream: Upstream, members: int) -> None:
    """Case 22: compressed bytes are nobody's business here, many members included."""
    body = b"".join(gzip.compress(bytes([n]) * 300_000) for n in range(members))
    upstream.script = answering(200, body, "Content-Encoding: gzip", "Vary: Accept-Encoding")
    answer = await client.ask("GET /api", "Accept-Encoding: gzip")
    assert answer.body == body
    assert answer.values("content-encoding") == ["gzip"]
    assert (await upstream.next_request()).values("accept-encoding") == ["gzip"]


async def test_a_redirect_stays_in_its_cluster(client: Client, upstream: Upstream) -> None:
    """Case 36: to another host it is 502 without Location; to the apiserver itself it leads into the cluster's prefix."""
    upstream.script = answering(307, b"", "Location: https://elsewhere.test/steal")
    answer = await client.ask("GET /clusters/blue/api")
    assert (answer.status, answer.values("location")) == (502, [])
    assert "another host" in answer.message
    for location in ("/there?x=1", f"https://localhost:{upstream.port}/there?x=1"):
        upstream.script = answering(301, b"", f"Location: {location}")
        answer = await client.ask("GET /clusters/blue/api")
        assert (answer.status, answer.values("location")) == (301, ["/clusters/blue/there?x=1"])


async def test_one_connection_serves_many_requests(tunnel: Tunnel, client: Client) -> None:
    """Keep-alive holds on both legs, and response channels are used again."""
    for number in range(20):
        answer = await client.ask(f"GET /api/{number}")
        assert not answer.values("connection")
    assert [incoming.target for incoming in tunnel.upstream.requests] == [b"/api/%d" % n for n in range(20)]
    assert len(tunnel.upstream.connections) == 1
    assert len(tunnel.link.channels) <= 3


async def test_connection_close_is_obeyed(client: Client) -> None:
    client.send(request("GET /api", close=True))
    answer = await client.answer()
    assert answer.values("connection") == ["close"]
    assert await client.ended() is End.CLOSE_NOTIFY


async def test_an_http_1_0_client_reads_until_the_connection_ends(client: Client, upstream: Upstream) -> None:
    """It knows no chunks, and gets none."""
    upstream.script = raw(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    )
    client.send(b"GET /api HTTP/1.0\r\n\r\n")
    answer = await client.answer()
    assert answer.body == b"abc"
    assert (await upstream.next_request()).line == b"GET /api HTTP/1.1"


async def test_an_http_1_0_client_may_keep_the_connection(client: Client) -> None:
    for _ in range(2):
        client.send(b"GET /api HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        answer = await client.answer()
        assert (answer.body, answer.values("connection")) == (b"ok", ["keep-alive"])


async def test_pipelined_requests_are_answered_in_order(client: Client, upstream: Upstream) -> None:
    async def echo_the_target(incoming: Incoming) -> None:
        incoming.whole_answer(200, incoming.target + await incoming.read_body())

    upstream.script = echo_the_target
    lines = [request(f"POST /{number}", body=b"x" * number) for number in range(30)]
    client.send(b"".join(lines))
    for number in range(30):
        assert (await client.answer()).body == b"/%d" % number + b"x" * number


async def test_a_request_is_the_same_in_single_bytes(client: Client, upstream: Upstream) -> None:
    for byte in request("POST /api?a=b", "X-A: b", body=b"body"):
        client.send(bytes([byte]))
    assert (await client.answer()).body == b"ok"
    incoming = await upstream.next_request()
    assert (incoming.target, incoming.values("x-a"), bytes(incoming.body)) == (b"/api?a=b", ["b"], b"body")


async def test_an_answer_is_the_same_in_single_bytes(client: Client, upstream: Upstream) -> None:
    whole = b"HTTP/1.1 200 OK\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\nX-T: 1\r\n\r\n"

    async def dribble(incoming: Incoming) -> None:
        for byte in whole:
            await incoming.connection.end.send(bytes([byte]))

    upstream.script = dribble
    for _ in range(2):
        answer = await client.ask("GET /api")
        assert (answer.body, answer.values("x-a"), answer.values("x-t")) == (b"abcd", ["b"], [])
    assert len(upstream.connections) == 1


async def test_informational_answers_stop_at_the_agent(client: Client, upstream: Upstream) -> None:
    """100 and 103 are for one hop; kubectl chokes on them."""
    upstream.script = raw(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    )
    answer = await client.ask("GET /api")
    assert (answer.body, answer.interim, answer.values("link")) == (b"ok", [], [])


async def test_an_answer_that_ends_with_its_connection(client: Client, upstream: Upstream) -> None:
    """Until-close upstream becomes chunks for the client, whose own connection goes on."""

    async def until_close(incoming: Incoming) -> None:
        incoming.send(b"HTTP/1.1 200 OK\r\n\r\nall of it")
        await incoming.connection.end.close()

    upstream.script = until_close
    for _ in range(2):
        assert (await client.ask("GET /api")).body == b"all of it"
    assert len(upstream.connections) == 2


async def test_more_than_the_announced_length_reaches_nobody(client: Client, upstream: Upstream) -> None:
    """What an upstream sends behind an answer is not the next one's beginning."""
    upstream.script = raw(
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    )
    for _ in range(3):
        assert (await client.ask("GET /api")).body == b"ok"
    assert len(upstream.connections) == 3


async def test_an_answer_that_is_not_http_is_502(client: Client, upstream: Upstream) -> None:
    for nonsense in (
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X-Long: %b\r\n" % (b"x" * 300_000),
    ):
        upstream.script = raw(nonsense)
        answer = await client.ask("GET /api")
        assert answer.status == 502, nonsense[:60]
        assert answer.message.startswith("agent: ")
    upstream.script = answering(200, b"still here")
    assert (await client.ask("GET /api")).body == b"still here"
