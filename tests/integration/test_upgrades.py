"""Upgrades: what opens a pipe, what does not, and that the pipe gives every byte to the other side, then the same end."""

import asyncio
import os

import pytest

from tests.integration.client import Client, request
from tests.integration.tls_end import End
from tests.integration.tunnel_fixture import TOKEN, Tunnel, cut
from tests.integration.upstream import Incoming, Script, Upstream, answering, raw, silent
from tests.integration.waiting import soon, until

MIB = 1024 * 1024
PROTOCOLS = [
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v3.channel.k8s.io",
    "v2.channel.k8s.io",
    "channel.k8s.io",
]
EXEC = "/api/v1/namespaces/n/pods/p/exec?command=sh&stdin=true"
SPDY = request(
    f"POST {EXEC}",
    "Connection: Upgrade",
    "Upgrade: SPDY/3.1",
    *(f"X-Stream-Protocol-Version: {name}" for name in PROTOCOLS),
    "Content-Length: 0",
)
WEBSOCKET_FIELDS = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
)
WEBSOCKET = request(f"GET {EXEC}", *WEBSOCKET_FIELDS, "Sec-WebSocket-Protocol: v5.channel.k8s.io")
SPDY_101 = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
    b"X-Stream-Protocol-Version: v5.channel.k8s.io\r\n\r\n"
)
WEBSOCKET_101 = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\n"
    b"Sec-WebSocket-Accept: x\r\nSec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n"
)


async def echo(incoming: Incoming) -> None:
    """Switches, and sends back what comes."""
    incoming.send(SPDY_101)
    end = incoming.connection.end
    while data := await end.read():
        await end.send(data)
    end.write_end()
    incoming.connection.over.set()


async def opened(client: Client, upgrade: bytes = SPDY) -> None:
    """Ask for an upgrade and get it."""
    client.send(upgrade)
    assert (await client.head()).status == 101


async def test_the_protocols_asked_for_arrive_in_order(client: Client, upstream: Upstream) -> None:
    """Case 5: kubectl offers v5 to v1, each on a line of its own, in order of preference."""
    upstream.script = echo
    client.send(SPDY)
    head = await client.head()
    assert head.line == "HTTP/1.1 101 Switching Protocols"
    assert head.values("connection") == ["Upgrade"]
    assert head.values("upgrade") == ["SPDY/3.1"]
    assert head.values("x-stream-protocol-version") == ["v5.channel.k8s.io"]
    incoming = await upstream.next_request()
    assert incoming.line == f"POST {EXEC} HTTP/1.1".encode()
    assert incoming.values("x-stream-protocol-version") == PROTOCOLS
    assert incoming.values("connection") == ["Upgrade"]
    assert incoming.values("upgrade") == ["SPDY/3.1"]
    assert incoming.values("impersonate-user") == ["jane"]
    assert incoming.values("authorization") == [f"Bearer {TOKEN}"]


async def test_a_websocket_is_opened(client: Client, upstream: Upstream) -> None:
    """Case 6: one request upstream, and what makes it a WebSocket comes through both ways."""
    upstream.script = raw(WEBSOCKET_101)
    client.send(WEBSOCKET)
    head = await client.head()
    assert head.values("sec-websocket-accept") == ["x"]
    assert head.values("sec-websocket-protocol") == ["v5.channel.k8s.io"]
    incoming = await upstream.next_request()
    assert incoming.values("upgrade") == ["websocket"]
    assert incoming.values("sec-websocket-key") == ["AAAAAAAAAAAAAAAAAAAAAA=="]
    assert len(upstream.requests) == 1


async def test_a_refused_websocket_falls_back_to_spdy(tunnel: Tunnel, upstream: Upstream) -> None:
    """Case 7: a complete 403 to the one, a session on the other."""

    async def spdy_only(incoming: Incoming) -> None:
        await (echo if incoming.method == b"POST" else answering(403, b'{"kind":"Status"}'))(incoming)

    upstream.script = spdy_only
    first, second = await tunnel.connect(), await tunnel.connect()
    first.send(WEBSOCKET)
    answer = await first.answer()
    assert (answer.status, answer.body) == (403, b'{"kind":"Status"}')
    assert await first.ended() is End.CLOSE_NOTIFY
    await opened(second)
    second.send(b"frame")
    assert await soon(second.end.read_exactly(5)) == b"frame"


@pytest.mark.parametrize("upgrade", [WEBSOCKET, SPDY], ids=["websocket", "spdy"])
async def test_a_refusal_is_relayed_whole(client: Client, upstream: Upstream, upgrade: bytes) -> None:
    """Case 8: the upstream's own Status reaches kubectl."""
    status = b'{"kind":"Status","message":"pods is forbidden","code":403}'
    upstream.script = answering(403, status, "Content-Type: application/json")
    client.send(upgrade)
    answer = await client.answer()
    assert (answer.status, answer.body) == (403, status)
    assert answer.values("connection") == ["close"]
    assert await client.ended() is End.CLOSE_NOTIFY


async def test_input_and_its_end_arrive(client: Client, upstream: Upstream) -> None:
    """Case 9: `echo abc | kubectl exec -i`: the bytes, then the end, and the answer to them comes back."""

    async def cat(incoming: Incoming) -> None:
        incoming.send(SPDY_101)
        got = await incoming.connection.end.read_to_end()
        assert incoming.connection.end.end is End.CLOSE_NOTIFY
        await incoming.connection.end.send(b"cat: " + got)
        incoming.connection.end.write_end()

    upstream.script = cat
    await opened(client)
    client.send(b"abc")
    client.end.write_end()
    assert await soon(client.end.read_to_end()) == b"cat: abc"
    assert client.end.end is End.CLOSE_NOTIFY


async def test_bytes_behind_the_101_are_not_lost(client: Client, upstream: Upstream) -> None:
    """Case 10: the first frame came in the 101's own segment; a SPDY client loses what shares the 101's record."""
    upstream.script = raw(SPDY_101 + b"first frame")
    client.send(SPDY)
    record = await soon(client.end.read_record())
    assert record.startswith(b"HTTP/1.1 101 ")
    assert record.endswith(b"\r\n\r\n")
    assert await soon(client.end.read_exactly(11)) == b"first frame"


async def test_a_last_word_and_an_end_at_once_arrive(tunnel: Tunnel, upstream: Upstream) -> None:
    """Case 11: an exit status that is followed by a close at once is not eaten, time and again."""

    async def exits(incoming: Incoming) -> None:
        incoming.send(SPDY_101 + b"exit status 7")
        await incoming.connection.end.close()

    upstream.script = exits
    for _ in range(50):
        client = await tunnel.connect()
        await opened(client)
        assert await soon(client.end.read_to_end()) == b"exit status 7"
        assert client.end.end is End.CLOSE_NOTIFY
        await client.close()
    await tunnel.quiet()


@pytest.mark.parametrize(
    "interim", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"]
)
async def test_an_interim_answer_before_the_101_is_swallowed(
    client: Client, upstream: Upstream, interim: bytes
) -> None:
    """Case 12: kubectl's transports break on it; the session works."""

    async def hints(incoming: Incoming) -> None:
        incoming.send(interim)
        await echo(incoming)

    upstream.script = hints
    client.send(SPDY)
    head = await client.head()
    assert (head.status, head.interim, head.values("link")) == (101, [], [])
    client.send(b"frame")
    assert await soon(client.end.read_exactly(5)) == b"frame"


async def test_a_side_that_has_sent_everything_may_end_first(client: Client, upstream: Upstream) -> None:
    """Case 14: all of it arrives, then the end, while the other direction goes on."""
    body = os.urandom(3 * MIB)
    heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def pours(incoming: Incoming) -> None:
        incoming.send(SPDY_101)
        await incoming.connection.end.send(body)
        incoming.connection.end.write_end()
        heard.set_result(await incoming.connection.end.read_to_end())

    upstream.script = pours
    await opened(client)
    assert await soon(client.end.read_to_end()) == body
    assert client.end.end is End.CLOSE_NOTIFY
    client.send(b"goodbye")
    await client.close()
    assert await soon(heard) == b"goodbye"


async def test_the_stub_answers_nothing_in_a_pipe(client: Client, upstream: Upstream) -> None:
    """Case 15: a ping of either protocol is answered by the upstream or by nobody."""
    upstream.script = silent_pipe
    await opened(client)
    incoming = upstream.requests[0]
    ping = b"\x89\x80\0\0\0\0"
    client.send(ping)
    assert await soon(incoming.connection.end.read_exactly(len(ping))) == ping
    incoming.send(b"\x8a\x00")
    assert await soon(client.end.read_exactly(2)) == b"\x8a\x00"


async def silent_pipe(incoming: Incoming) -> None:
    """Switches and leaves the connection to the test."""
    incoming.send(SPDY_101)
    await asyncio.Event().wait()


@pytest.mark.parametrize("leg", ["client", "channel", "upstream"])
async def test_a_cut_leg_cuts_the_whole_pipe(
    tunnel: Tunnel, client: Client, upstream: Upstream, leg: str
) -> None:
    """Case 16: whichever connection breaks, neither end takes it for a polite one, and nothing of the pipe is left."""
    upstream.script = silent_pipe
    before = set(tunnel.link.channels)
    await opened(client)
    (pipe,) = before - tunnel.link.channels
    end = upstream.requests[0].connection.end
    match leg:
        case "client":
            client.end.reset()
        case "channel":
            cut(pipe.stream)
        case "upstream":
            end.reset()
    if leg != "client":
        assert await client.ended() is End.CUT
    if leg != "upstream":
        assert await soon(end.read_to_end()) == b""
        assert end.end is End.CUT
    await tunnel.quiet()
    assert not tunnel.agent.link._pipes


async def test_a_pipe_outlives_its_session(tunnel: Tunnel, client: Client, upstream: Upstream) -> None:
    """A session that breaks takes no pipe with it."""
    upstream.script = echo
    await opened(client)
    link = tunnel.link
    cut(link.runner._stream)
    await soon(tunnel.agent.link.closed.wait())
    for _ in range(3):
        client.send(b"still")
        assert await soon(client.end.read_exactly(5)) == b"still"


async def test_a_pipe_that_does_not_end_is_broken_off(parts: Tunnel) -> None:
    """Once one side has ended the other has `splice_drain` seconds."""
    await parts.start_stub(splice_drain=0.1)
    await parts.start_agent()
    parts.upstream.script = silent_pipe
    client = await parts.connect()
    await opened(client)
    client.end.write_end()
    assert await client.ended() is End.CUT


async def test_a_pipe_holds_back_a_fast_side(tunnel: Tunnel, client: Client, upstream: Upstream) -> None:
    """What one end does not take waits at the other, not in the tunnel."""
    upstream.script = echo
    await opened(client)
    body = os.urandom(8 * MIB)
    sending = asyncio.get_running_loop().create_task(client.end.send(body))
    assert await soon(client.end.read_exactly(len(body)), 30) == body
    await soon(sending)


@pytest.mark.parametrize("upgrade", [WEBSOCKET, SPDY], ids=["websocket", "spdy"])
async def test_nothing_follows_a_refused_upgrade(client: Client, upstream: Upstream, upgrade: bytes) -> None:
    """Case 34: a second request pipelined behind it is never asked; the client sees the 403 and the end (CVE-2018-1002105)."""
    upstream.script = answering(403, b"no")
    client.send(upgrade + request("GET /smuggled"))
    assert (await client.answer()).status == 403
    client.send(request("GET /smuggled"))
    assert await client.ended() is End.CLOSE_NOTIFY
    assert len(upstream.requests) == 1
    assert upstream.requests[0].connection.requests == upstream.requests


@pytest.mark.parametrize(
    "script",
    [
        answering(302, b"", "Location: https://elsewhere.test/"),
        answering(301, b"", "Location: /here"),
        answering(200, b"welcome"),
        raw(WEBSOCKET_101.replace(b"WebSocket", b"h2c")),
        raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: SPDY/3.1\r\n\r\n"),
        raw(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"),
    ],
    ids=["302", "301", "200", "other protocol", "no Connection", "bare"],
)
async def test_an_answer_that_opens_no_pipe_is_502(
    client: Client, upstream: Upstream, script: Script
) -> None:
    """Case 35: a Status without Location, and the end (CVE-2020-8559)."""
    upstream.script = script
    client.send(SPDY)
    answer = await client.answer()
    assert (answer.status, answer.values("location")) == (502, [])
    assert answer.kubernetes_status["reason"] == "BadGateway"
    assert await client.ended() is End.CLOSE_NOTIFY
    assert len(upstream.requests) == 1


async def test_a_101_that_nobody_asked_for_is_502(tunnel: Tunnel, client: Client, upstream: Upstream) -> None:
    """Case 53, of an upstream: a plain GET never becomes a pipe."""
    upstream.script = raw(SPDY_101)
    assert (await client.ask("GET /api")).status == 502
    upstream.script = answering(200, b"fine")
    other = await tunnel.connect()
    assert (await other.ask("GET /api")).body == b"fine"


async def test_the_bearer_among_subprotocols_is_taken_out(client: Client, upstream: Upstream) -> None:
    """Case 40: the other subprotocols stay, in order."""
    upstream.script = raw(WEBSOCKET_101)
    offered = "v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.c2VjcmV0, v4.channel.k8s.io"
    client.send(request(f"GET {EXEC}", *WEBSOCKET_FIELDS, f"Sec-WebSocket-Protocol: {offered}"))
    assert (await client.head()).status == 101
    incoming = await upstream.next_request()
    assert incoming.values("sec-websocket-protocol") == ["v5.channel.k8s.io, v4.channel.k8s.io"]


async def test_no_byte_passes_before_the_101(tunnel: Tunnel, client: Client, upstream: Upstream) -> None:
    """The apiserver's port-forward refuses a client that speaks too early; what it said waits at the stub."""

    async def left_to_the_test(incoming: Incoming) -> None:
        await asyncio.Event().wait()

    upstream.script = left_to_the_test
    client.send(SPDY + b"early frame")
    incoming = await upstream.next_request()
    (connection,) = tunnel.stub.office.connections
    await until(lambda: connection._early == b"early frame")
    incoming.send(SPDY_101)
    assert (await client.head()).status == 101
    assert not connection._early
    assert await soon(incoming.connection.end.read_record()) == b"early frame"


async def test_early_bytes_follow_the_101(client: Client, upstream: Upstream) -> None:
    upstream.script = echo
    early = os.urandom(200_000)  # more than the stub keeps: the rest waits in the kernel
    client.send(SPDY)
    sending = asyncio.get_running_loop().create_task(client.end.send(early))
    assert (await client.head()).status == 101
    assert await soon(client.end.read_exactly(len(early))) == early
    await soon(sending)


async def test_an_upgrade_with_a_body_is_refused(client: Client, upstream: Upstream) -> None:
    """CVE-2026-69243: parsers disagree on where such a body ends."""
    client.send(request(f"POST {EXEC}", "Connection: Upgrade", "Upgrade: SPDY/3.1", body=b"GET /"))
    assert (await client.answer()).status == 400
    assert await client.ended() is End.CLOSE_NOTIFY
    assert not upstream.requests


async def test_a_client_that_leaves_before_the_101(
    tunnel: Tunnel, client: Client, upstream: Upstream
) -> None:
    upstream.script = silent
    client.send(SPDY)
    incoming = await upstream.next_request()
    client.end.cut()
    await soon(incoming.connection.over.wait())
    await tunnel.quiet()


async def test_20_pipes_beside_each_other(tunnel: Tunnel, upstream: Upstream) -> None:
    """Case 13, its socket half: each gets its own bytes, and the pool grows for them."""
    upstream.script = echo
    clients = [await tunnel.connect() for _ in range(20)]
    for client in clients:
        await opened(client)
    for number, client in enumerate(clients):
        client.send(b"pipe %02d" % number)
    for number, client in enumerate(clients):
        assert await soon(client.end.read_exactly(7)) == b"pipe %02d" % number
