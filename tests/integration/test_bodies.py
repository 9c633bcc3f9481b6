"""Request and response bodies: streamed as they come, whole or visibly cut, and one slow one is nobody else's trouble."""

import asyncio
import hashlib
import os

import pytest

from tests.integration.client import Client, Cut, chunked, request
from tests.integration.tls_end import End
from tests.integration.tunnel_fixture import Tunnel, cut
from tests.integration.upstream import Incoming, Upstream, answering, raw, silent
from tests.integration.waiting import soon

MIB = 1024 * 1024
CHUNKED = "Transfer-Encoding: chunked"


@pytest.mark.parametrize("size", [1, 65_535, 65_536, 65_537, 200_000])
async def test_a_body_with_a_length_arrives_whole(client: Client, upstream: Upstream, size: int) -> None:
    """Around the limit of what travels inline, and beyond."""
    body = os.urandom(size)
    assert (await client.ask("POST /api", "Content-Type: application/json", body=body)).body == b"ok"
    incoming = await upstream.next_request()
    assert bytes(incoming.body) == body
    assert incoming.values("content-length") == [str(size)]
    assert incoming.values("content-type") == ["application/json"]


@pytest.mark.parametrize("pieces", [[], [b"a"], [b"x" * 100_000, b"y" * 100_000]])
async def test_a_chunked_body_arrives_whole(client: Client, upstream: Upstream, pieces: list[bytes]) -> None:
    client.send(request("POST /api", CHUNKED) + chunked(*pieces))
    assert (await client.answer()).body == b"ok"
    assert bytes((await upstream.next_request()).body) == b"".join(pieces)
    assert (await client.ask("GET /next")).body == b"ok"


async def test_a_chunked_upload_passes_as_it_comes(client: Client, upstream: Upstream) -> None:
    """Each chunk reaches the upstream before the next one is sent."""
    arrived: asyncio.Queue[bytes] = asyncio.Queue()

    async def note(incoming: Incoming) -> None:
        while piece := await incoming.body_piece():
            arrived.put_nowait(piece)
        incoming.whole_answer(200, b"all")

    upstream.script = note
    client.send(request("POST /api", CHUNKED))
    for number in range(20):
        client.send(b"5\r\nev%03d\r\n" % number)
        assert await soon(arrived.get()) == b"ev%03d" % number
    client.send(b"0\r\n\r\n")
    assert (await client.answer()).body == b"all"


async def test_a_body_that_stops_is_answered_408_and_cut_at_the_upstream(parts: Tunnel) -> None:
    broken: asyncio.Queue[str] = asyncio.Queue()

    async def read(incoming: Incoming) -> None:
        try:
            await incoming.read_body()
        except (EOFError, OSError):
            broken.put_nowait("cut")
        else:
            broken.put_nowait("whole")

    parts.upstream.script = read
    await parts.start_stub(body_idle_timeout=0.2)
    await parts.start_agent()
    client = await parts.connect()
    client.send(request("POST /api", "Content-Length: 200000") + bytes(100_000))
    answer = await client.answer()
    assert (answer.status, answer.values("connection")) == (408, ["close"])
    assert "nothing of the request's body came for 0.2 s" in answer.message
    assert await soon(broken.get()) == "cut"


async def test_a_100_is_said_once_the_body_is_wanted(client: Client, upstream: Upstream) -> None:
    """Case 27: a client that expects 100-continue sees exactly one, and one final answer, also with a chunked body."""
    client.send(request("POST /api", CHUNKED, "Expect: 100-continue"))
    assert await soon(client.end.read_until(b"\r\n\r\n")) == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(chunked(b"body"))
    answer = await client.answer()
    assert (answer.status, answer.interim, answer.body) == (200, [], b"ok")
    incoming = await upstream.next_request()
    assert (bytes(incoming.body), incoming.values("expect")) == (b"body", [])


async def test_another_expectation_is_refused(client: Client, upstream: Upstream) -> None:
    """Case 27: what cannot be met is 417, and nothing is asked."""
    client.send(request("POST /api", CHUNKED, "Expect: 200-ok"))
    assert (await client.answer()).status == 417
    assert not upstream.requests


async def test_20_megabytes_both_ways_at_once(client: Client, upstream: Upstream) -> None:
    """Case 17: what comes back has the checksum of what was sent, while it is still being sent."""
    block = os.urandom(MIB)

    async def echo(incoming: Incoming) -> None:
        incoming.head(200, CHUNKED)
        while piece := await incoming.body_piece():
            await incoming.connection.end.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        incoming.chunk(b"")

    upstream.script = echo
    client.send(request("POST /api", f"Content-Length: {20 * MIB}"))
    sent, got = hashlib.sha256(), hashlib.sha256()

    async def upload() -> None:
        for _ in range(20):
            sent.update(block)
            await client.end.send(block)

    async with asyncio.timeout(40), asyncio.TaskGroup() as tasks:
        tasks.create_task(upload())
        await client.head()
        while piece := await client.chunk():
            got.update(piece)
    assert sent.digest() == got.digest()


async def test_an_early_answer_reaches_a_client_that_is_still_sending(
    tunnel: Tunnel, client: Client, upstream: Upstream
) -> None:
    """Case 26: a 3.2 MB upload that the upstream answers with 413 at its head: the client reads the 413."""

    async def too_large(incoming: Incoming) -> None:
        incoming.whole_answer(413, b"too large", "Connection: close")
        incoming.connection.end.write_end()  # as Go's server does, which reads on for half a second
        await incoming.gone()

    upstream.script = too_large
    client.send(request("POST /api", f"Content-Length: {3_200_000}"))
    sending = asyncio.get_running_loop().create_task(client.end.send(b"x" * 3_200_000))
    answer = await client.answer()
    assert (answer.status, answer.body) == (413, b"too large")
    assert answer.values("connection") == ["close"]
    await soon(sending)
    await client.close()
    await tunnel.quiet()


async def test_an_answer_in_the_middle_of_a_body_does_not_free_its_connection(
    tunnel: Tunnel, client: Client, upstream: Upstream
) -> None:
    """The apiserver would read the next request as the rest of the body."""
    client.send(request("POST /api", f"Content-Length: {MIB}") + b"x" * 1000)
    upstream.script = too_early
    assert (await client.answer()).status == 403
    upstream.script = answering(200, b"next")
    other = await tunnel.connect()
    assert (await other.ask("GET /next")).body == b"next"
    first, second = upstream.requests
    assert first.connection is not second.connection
    await soon(first.connection.over.wait())


async def too_early(incoming: Incoming) -> None:
    """Answers before the body, keeps its connection, and waits for what comes on it."""
    incoming.whole_answer(403, b"no")
    await incoming.gone()


async def test_a_client_that_leaves_in_the_middle_of_its_body_is_seen_upstream(
    tunnel: Tunnel, client: Client, upstream: Upstream
) -> None:
    upstream.script = silent
    client.send(request("POST /api", f"Content-Length: {MIB}") + b"x" * 100_000)
    incoming = await upstream.next_request()
    client.end.cut()
    await soon(incoming.connection.over.wait())
    await tunnel.quiet()


async def test_a_broken_chunk_ends_the_request_upstream(
    tunnel: Tunnel, client: Client, upstream: Upstream
) -> None:
    """A body that cannot be read on is 400 for the client, a cut for the upstream, and nothing of it is left."""
    upstream.script = silent
    client.send(request("POST /api", CHUNKED) + b"3\r\nabc\r\n")
    incoming = await upstream.next_request()
    client.send(b"xyz\r\n")
    assert (await client.answer()).status == 400
    assert await client.ended() is End.CLOSE_NOTIFY
    await soon(incoming.connection.over.wait())
    await tunnel.quiet()


@pytest.mark.parametrize("how", ["before the answer", "during the answer"])
async def test_a_client_that_leaves_ends_the_request_upstream(
    tunnel: Tunnel, client: Client, upstream: Upstream, how: str
) -> None:
    async def begin(incoming: Incoming) -> None:
        if how == "during the answer":
            incoming.head(200, CHUNKED)
            incoming.chunk(b"event")
        await incoming.gone()

    upstream.script = begin
    client.send(request("GET /api?watch=true"))
    incoming = await upstream.next_request()
    if how == "during the answer":
        await client.head()
        assert await client.chunk() == b"event"
    client.end.cut()
    await soon(incoming.connection.over.wait())
    await tunnel.quiet()
    assert "client gone" in tunnel.audit.read_text()


@pytest.mark.parametrize("framing", ["length", "chunks", "until close"])
async def test_an_answer_that_is_cut_upstream_looks_cut(
    tunnel: Tunnel, client: Client, upstream: Upstream, framing: str
) -> None:
    """Case 20: the client gets all that came, and neither a last chunk nor a polite end."""
    head = {
        "length": b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n",
        "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n",
        "until close": b"HTTP/1.1 200 OK\r\n\r\n",
    }[framing]

    async def break_off(incoming: Incoming) -> None:
        incoming.send(head + b"x" * 50_000)
        await incoming.body_piece()
        await asyncio.sleep(0)
        incoming.connection.end.cut()

    upstream.script = break_off
    client.send(request("GET /api"))
    with pytest.raises(Cut) as fault:
        await client.answer()
    assert fault.value.end is End.CUT
    await tunnel.quiet()


async def test_a_cut_tunnel_looks_cut(tunnel: Tunnel, client: Client, upstream: Upstream) -> None:
    """Case 21: `logs -f` through a tunnel that breaks ends neither with a last chunk nor with close_notify."""
    upstream.script = follow
    client.send(request("GET /logs?follow=true"))
    await client.head()
    assert await client.chunk() == b"line"
    for channel in tunnel.link.channels:
        cut(channel.stream)
    assert await client.ended() is End.CUT
    await soon(upstream.connections[0].over.wait())
    await tunnel.quiet()


async def follow(incoming: Incoming) -> None:
    """Sends one line and goes on for ever."""
    incoming.head(200, CHUNKED)
    incoming.chunk(b"line")
    await incoming.gone()


async def test_an_event_passes_at_once(client: Client, upstream: Upstream) -> None:
    """Case 18: nothing waits for more to come: each event is at the client before the next one is written."""
    upstream.script = silent
    client.send(request("GET /api?watch=true"))
    incoming = await upstream.next_request()
    incoming.head(200, CHUNKED)
    await client.head()
    for size in (1, 2, 100, 5000, 70_000, 1):
        incoming.chunk(b"e" * size)
        got = b""
        while len(got) < size:
            got += await client.chunk()
        assert got == b"e" * size


async def test_a_silent_watch_outlives_every_limit_on_time(parts: Tunnel) -> None:
    """Case 19: no timer runs while a response does, although others on the same stub time out again and again."""
    await parts.start_stub(idle_timeout=0.1, head_timeout=0.1)
    await parts.start_agent()
    parts.upstream.script = silent
    watcher = await parts.connect()
    watcher.send(request("GET /api?watch=true"))
    incoming = await parts.upstream.next_request()
    incoming.head(200, CHUNKED)
    await watcher.head()
    for _ in range(3):
        assert await (await parts.connect()).ended() is End.CLOSE_NOTIFY
    incoming.chunk(b"event")
    assert await watcher.chunk() == b"event"


async def test_a_reader_that_comes_back_gets_everything(client: Client, upstream: Upstream) -> None:
    body = os.urandom(8 * MIB)
    upstream.script = answering(200, body)
    client.send(request("GET /api"))
    await client.head()
    assert await soon(client.end.read_exactly(len(body))) == body


async def test_an_upstream_that_answers_nonsense_in_the_middle_of_chunks(
    tunnel: Tunnel, client: Client, upstream: Upstream
) -> None:
    upstream.script = raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nnonsense\r\n")
    client.send(request("GET /api"))
    with pytest.raises(Cut):
        await client.answer()
    await tunnel.quiet()
