"""Requests that readers could disagree on: each is refused and closed, and the upstream sees nothing of it."""

import pytest

from stub.agents.registry import Registry
from tests.integration.client import Client, request
from tests.integration.tls_end import End
from tests.integration.tunnel_fixture import Tunnel
from tests.integration.upstream import Upstream, silent
from tests.integration.waiting import soon, until
from tunnel.core import limits

_HOST = b"Host: localhost\r\n"
_SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"

AMBIGUOUS = {
    "length and chunks": b"POST / HTTP/1.1\r\n"
    + _HOST
    + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": b"POST / HTTP/1.1\r\n"
    + _HOST
    + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\n" + _HOST + b"Content-Length: 0\r\nContent-Length: 5\r\n\r\n",
    "the same length twice": b"POST / HTTP/1.1\r\n"
    + _HOST
    + b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
    "a list of lengths": b"POST / HTTP/1.1\r\n" + _HOST + b"Content-Length: 0, 0\r\n\r\n",
    "a signed length": b"POST / HTTP/1.1\r\n" + _HOST + b"Content-Length: +0\r\n\r\n",
    "a hexadecimal length": b"POST / HTTP/1.1\r\n" + _HOST + b"Content-Length: 0x0\r\n\r\n",
    "an endless length": b"POST / HTTP/1.1\r\n" + _HOST + b"Content-Length: 99999999999999999999\r\n\r\n",
    "xchunked": b"POST / HTTP/1.1\r\n" + _HOST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "gzip, chunked": b"POST / HTTP/1.1\r\n" + _HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked, identity": b"POST / HTTP/1.1\r\n"
    + _HOST
    + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "identity, chunked": b"POST / HTTP/1.1\r\n"
    + _HOST
    + b"Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": b"POST / HTTP/1.1\r\n"
    + _HOST
    + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "vertical tab": b"POST / HTTP/1.1\r\n" + _HOST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "a folded line": b"GET / HTTP/1.1\r\n" + _HOST + b"X-A: b\r\n c\r\n\r\n",
    "bare line feeds": b"GET / HTTP/1.1\n" + _HOST.replace(b"\r", b"") + b"\n",
    "a bare line feed": b"GET / HTTP/1.1\r\n" + _HOST + b"X-A: b\nX-B: c\r\n\r\n",
    "NUL": b"GET / HTTP/1.1\r\n" + _HOST + b"X-A: b\0c\r\n\r\n",
    "a bare carriage return": b"GET / HTTP/1.1\r\n" + _HOST + b"X-A: b\rX-B: c\r\n\r\n",
    "space before the colon": b"GET / HTTP/1.1\r\n" + _HOST + b"X-A : b\r\n\r\n",
    "a space in front of the first field": b"GET / HTTP/1.1\r\n X-A: b\r\n" + _HOST + b"\r\n",
    "chunks on HTTP/1.0": b"POST / HTTP/1.0\r\n" + _HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "two Hosts": b"GET / HTTP/1.1\r\n" + _HOST + b"Host: elsewhere\r\n\r\n",
    "two Authorizations": b"GET / HTTP/1.1\r\n" + _HOST + b"Authorization: a\r\nauthorization: b\r\n\r\n",
    "a field without a name": b"GET / HTTP/1.1\r\n" + _HOST + b": b\r\n\r\n",
}

UNCARRIED = {
    "absolute form": b"GET https://elsewhere/ HTTP/1.1\r\n" + _HOST + b"\r\n",
    "CONNECT": b"CONNECT elsewhere:443 HTTP/1.1\r\n" + _HOST + b"\r\n",
    "OPTIONS *": b"OPTIONS * HTTP/1.1\r\n" + _HOST + b"\r\n",
    "TRACE": b"TRACE / HTTP/1.1\r\n" + _HOST + b"\r\n",
    "a fragment": b"GET /a#b HTTP/1.1\r\n" + _HOST + b"\r\n",
    "HTTP/2.0": b"GET / HTTP/2.0\r\n" + _HOST + b"\r\n",
    "HTTP/1.9": b"GET / HTTP/1.9\r\n" + _HOST + b"\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "h2c": b"GET / HTTP/1.1\r\n"
    + _HOST
    + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n",
    "an upgrade to TLS": b"GET / HTTP/1.1\r\n" + _HOST + b"Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n\r\n",
    "two upgrades": b"GET / HTTP/1.1\r\n" + _HOST + b"Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n\r\n",
    "no version": b"GET /\r\n\r\n",
    "TLS in TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(300),
}


@pytest.mark.parametrize("name", AMBIGUOUS)
async def test_an_ambiguous_request_is_400(client: Client, upstream: Upstream, name: str) -> None:
    """Case 42: 400 and the end, and what follows in the same segment is not believed to be a request."""
    client.send(AMBIGUOUS[name] + _SMUGGLED)
    answer = await client.answer()
    assert answer.status == 400
    assert answer.kubernetes_status["reason"] == "BadRequest"
    assert await client.ended() is End.CLOSE_NOTIFY
    assert not upstream.requests


@pytest.mark.parametrize("name", UNCARRIED)
async def test_what_is_not_carried_is_refused(client: Client, upstream: Upstream, name: str) -> None:
    """Case 43: 400, 405 or 501 and the end; routing believes SNI, Host and path alone."""
    client.send(UNCARRIED[name] + _SMUGGLED)
    answer = await client.answer()
    assert answer.status in (400, 405, 501)
    assert answer.kubernetes_status["status"] == "Failure"
    assert await client.ended() is End.CLOSE_NOTIFY
    assert not upstream.requests


@pytest.mark.parametrize("name", ["length and chunks", "a folded line", "two Hosts"])
async def test_what_came_whole_before_it_is_answered_first(
    client: Client, upstream: Upstream, name: str
) -> None:
    client.send(request("GET /first") + AMBIGUOUS[name] + _SMUGGLED)
    assert (await client.answer()).body == b"ok"
    assert (await client.answer()).status == 400
    assert await client.ended() is End.CLOSE_NOTIFY
    assert [incoming.target for incoming in upstream.requests] == [b"/first"]


async def test_an_ambiguous_request_in_single_bytes(client: Client, upstream: Upstream) -> None:
    for byte in AMBIGUOUS["length and chunks"]:
        client.send(bytes([byte]))
    assert (await client.answer()).status == 400
    assert not upstream.requests


async def test_trailers_are_dropped(client: Client, upstream: Upstream) -> None:
    """They are a way to bring fields in behind the checks."""
    client.send(request("POST /api", "Transfer-Encoding: chunked", "Trailer: X-T"))
    client.send(b"1\r\na\r\n0\r\nImpersonate-User: admin\r\nX-T: 1\r\n\r\n")
    assert (await client.answer()).status == 200
    incoming = await upstream.next_request()
    assert incoming.values("impersonate-user") == ["jane"]
    assert not incoming.values("x-t")
    assert bytes(incoming.body) == b"a"


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\n" + _HOST + b"X: y\r\n" * (limits.FIELD_COUNT + 1) + b"\r\n",
        b"GET / HTTP/1.1\r\n" + _HOST + b"X: " + b"y" * (limits.FIELD_BYTES + 1) + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + _HOST + (b"X: " + b"y" * 60_000 + b"\r\n") * 5 + b"\r\n",
        b"GET / HTTP/1.1\r\n" + _HOST + b"X: " + b"y" * (2 * limits.HEAD_BYTES),
    ],
    ids=["fields", "field", "head", "endless"],
)
async def test_a_head_above_a_limit_is_431(client: Client, upstream: Upstream, head: bytes) -> None:
    client.send(head)
    assert (await client.answer()).status == 431
    assert not upstream.requests


async def test_endless_empty_lines_end(client: Client) -> None:
    """They are no head, and must not move its deadline or its limit."""
    client.send(b"\r\n" * limits.HEAD_BYTES)
    assert (await client.answer()).status in (400, 431)
    assert await client.ended() is End.CLOSE_NOTIFY


async def test_a_slow_head_is_cut_at_its_deadline(parts: Tunnel) -> None:
    """Case 55, small: a byte at a time does not move it."""
    await parts.start_stub(head_timeout=0.3)
    slow, quick = await parts.connect(), await parts.connect()
    ended = False
    for byte in request("GET /" + "a" * 10_000):
        slow.send(bytes([byte]))
        await quick.ask("GET /api")  # a turn of everything, so that the deadline can pass
        if slow.end._reader.at_eof() or slow.end._reader._buffer:  # type: ignore[attr-defined]
            ended = True
            break
    assert ended
    assert (await slow.answer()).status == 400


async def test_an_idle_connection_is_closed_politely(parts: Tunnel) -> None:
    await parts.start_stub(idle_timeout=0.05)
    fresh = await parts.connect()
    assert await fresh.ended() is End.CLOSE_NOTIFY
    used = await parts.connect()
    await used.ask("GET /api")
    assert await used.ended() is End.CLOSE_NOTIFY


async def test_a_connection_more_than_all_may_have_is_closed_behind_its_handshake_and_counted(
    parts: Tunnel,
) -> None:
    await parts.start_stub(max_connections=1)
    await parts.start_agent()
    first = await parts.connect()
    assert (await first.ask("GET /api")).status == 200
    assert await (await parts.connect()).ended() is End.CUT
    assert b"cluster_tunnel_stub_failed_handshakes_total 1.0" in parts.stub.measures.render()
    assert (await first.ask("GET /api")).status == 200
    await first.close()
    await until(lambda: not parts.stub.office.connections)
    assert (await (await parts.connect()).ask("GET /api")).status == 200


async def test_a_connection_more_than_an_address_may_have_and_without_a_certificate_does_not_stay(
    parts: Tunnel, monkeypatch: pytest.MonkeyPatch
) -> None:
    await parts.start_stub(max_connections_per_address=1)
    first = await parts.connect()
    await until(lambda: parts.stub.office.connections)  # a client of TLS 1.3 is ready before the stub is
    refused = await (await parts.connect(None)).ask("GET /api")
    assert (refused.status, refused.values("retry-after")) == (429, ["1"])
    monkeypatch.setattr(limits, "TURN_AWAY_SECONDS", 0.05)
    assert await (await parts.connect(None)).ended() is End.CLOSE_NOTIFY
    assert (await first.ask("GET /api")).status == 503


async def test_white_space_behind_a_request_does_not_end_it(parts: Tunnel) -> None:
    """Old clients send an empty line behind a POST; the time limit on heads is not for the request that runs."""
    await parts.start_stub(head_timeout=0.1, idle_timeout=0.1)
    await parts.start_agent()
    parts.upstream.script = silent
    client = await parts.connect()
    client.send(request("POST /api", body=b"x") + b"\r\n")
    incoming = await parts.upstream.next_request()
    for _ in range(3):
        assert await (await parts.connect()).ended() is End.CLOSE_NOTIFY
    incoming.whole_answer(200, b"late")
    assert (await client.answer()).body == b"late"


async def test_half_a_head_behind_a_request_does_not_end_it(parts: Tunnel) -> None:
    """Pipelined, and late: the request that runs has no time limit."""
    await parts.start_stub(head_timeout=0.1, idle_timeout=0.1)
    await parts.start_agent()
    parts.upstream.script = silent
    client = await parts.connect()
    client.send(request("GET /api") + b"GET /half")
    incoming = await parts.upstream.next_request()
    for _ in range(3):
        assert await (await parts.connect()).ended() is End.CLOSE_NOTIFY
    incoming.whole_answer(200, b"late")
    assert (await client.answer()).body == b"late"
    assert (await client.answer()).status == 400


async def test_bytes_behind_a_last_request_do_not_cost_its_answer(client: Client, upstream: Upstream) -> None:
    client.send(request("GET /api", close=True) + b"nonsense\r\n\r\n")
    assert (await client.answer()).body == b"ok"
    assert len(upstream.requests) == 1


async def test_a_refused_connection_is_forgotten(tunnel: Tunnel, client: Client) -> None:
    client.send(b"nonsense\r\n\r\n")
    await client.answer()
    await client.close()
    await until(lambda: not tunnel.stub.office.connections)
    assert isinstance(tunnel.stub.registry, Registry)
    await soon(tunnel.quiet())
