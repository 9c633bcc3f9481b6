"""TLS to a server behind a real proxy, over plain TCP and inside the TLS to that proxy."""

import asyncio
import random
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests import pki
from tests.integration.connect_proxy import ConnectProxy, Script, connect_proxy
from tests.integration.loops import Echo, Recorder, Server, serving
from tests.integration.waiting import soon, until
from tunnel.aio.connect import Proxy, ProxyFailed
from tunnel.aio.dial import dial_tls
from tunnel.aio.errors import ConnectFailed, DialFailed, HandshakeFailed


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> pki.Authority:
    return pki.Authority(tmp_path_factory.mktemp("pki"))


class Way:
    """A proxy of one kind, and how to reach it."""

    def __init__(self, authority: pki.Authority, *, tls: bool) -> None:
        self.authority = authority
        self.context = pki.server_context(authority.server()) if tls else None
        self.trust = pki.client_context(authority) if tls else None

    @asynccontextmanager
    async def proxy(self, **options: Any) -> AsyncIterator[tuple[ConnectProxy, Proxy]]:
        async with connect_proxy(self.context, **options) as proxy:
            yield proxy, Proxy("localhost", proxy.port, self.trust)

    async def dial(self, port: int, via: Proxy, owner: Recorder, **options: Any) -> Any:
        context = pki.client_context(self.authority, alpn=["cluster-tunnel/1"])
        host = options.pop("host", "localhost")
        return await dial_tls(host, port, context, handler_factory=lambda: owner, via=via, **options)

    async def failure(self, port: int, via: Proxy, **options: Any) -> DialFailed:
        with pytest.raises(DialFailed) as caught:
            await self.dial(port, via, Recorder(), **options)
        return caught.value

    def serve(self, make: Any = Echo) -> Any:
        return serving(pki.server_context(self.authority.server(), alpn=["cluster-tunnel/1"]), make)


@pytest.fixture(params=[False, True], ids=["http", "https"])
def way(request: pytest.FixtureRequest, authority: pki.Authority) -> Way:
    return Way(authority, tls=request.param)


async def test_bytes_pass_both_ways_and_the_ends_are_ends(way: Way) -> None:
    data = random.Random(3).randbytes(3_000_000)
    async with way.serve() as server, way.proxy() as (proxy, via):
        owner = Recorder()
        stream = await way.dial(server.port, via, owner, require_alpn="cluster-tunnel/1")
        assert proxy.asked == [f"localhost:{server.port}"]
        assert stream.tls.version == "TLSv1.3"
        stream.write(data)
        stream.write_end()
        await soon(owner.closed.wait())
        assert owner.data == data
        assert owner.error is None


class Flood(Recorder):
    """Sends more than all buffers on the way hold."""

    size = 48 * 1024 * 1024

    def stream_opened(self, stream: Any) -> None:
        super().stream_opened(stream)
        stream.write(bytes(self.size))
        stream.write_end()


async def test_a_slow_reader_pauses_its_peer_through_the_proxy(way: Way) -> None:
    async with way.serve(Flood) as server, way.proxy() as (_, via):
        owner = Recorder()
        stream = await way.dial(server.port, via, owner)
        stream.pause_reading()
        theirs = await server.owner()
        await until(lambda: "write paused" in theirs.calls)
        assert len(owner.data) < Flood.size
        stream.resume_reading()
        await soon(owner.ended.wait())
        assert len(owner.data) == Flood.size
        stream.close()
        await soon(owner.closed.wait())


async def test_the_name_is_resolved_by_the_proxy_and_verified_by_us(
    way: Way, authority: pki.Authority
) -> None:
    async with way.serve() as server, way.proxy() as (proxy, via):
        proxy.names["stub.invalid"] = "127.0.0.1"
        error = await way.failure(server.port, via, host="stub.invalid")
        assert isinstance(error, HandshakeFailed)
        assert error.target == f"stub.invalid:{server.port}"
        assert "Hostname mismatch" in error.reason


async def test_a_proxy_that_wants_a_password_gets_it(way: Way) -> None:
    async with way.serve() as server, way.proxy(password="ann:geheim") as (_, via):
        error = await way.failure(server.port, via)
        assert "answered 407 Proxy Authentication Required: it wants a user name" in error.reason
        known = Proxy(via.host, via.port, via.context, lambda: b"Basic YW5uOmdlaGVpbQ==")
        owner = Recorder()
        stream = await way.dial(server.port, known, owner)
        stream.close()
        await soon(owner.closed.wait())


async def test_a_far_end_that_is_not_there_is_the_proxys_word(way: Way) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with way.proxy() as (_, via):
        error = await way.failure(port, via)
    assert isinstance(error, ProxyFailed)
    assert error.reason.startswith(f"the proxy {via} ")


async def test_a_proxy_that_breaks_cuts_the_stream(way: Way) -> None:
    async with way.serve() as server, way.proxy() as (proxy, via):
        owner = Recorder()
        await way.dial(server.port, via, owner)
        proxy.cut()
        await soon(owner.closed.wait())
        assert owner.error is not None


async def test_cancelling_leaves_nothing_open(way: Way) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with way.proxy(script=silent) as (proxy, via):
        dialling = asyncio.ensure_future(way.dial(1, via, Recorder()))
        await until(lambda: proxy.open)
        dialling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dialling


# Proxies that misbehave --------------------------------------------------------------------------


def answers(data: bytes, *, stays: bool = False) -> Script:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(data)
        await writer.drain()
        if stays:
            await reader.read()

    return script


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (answers(b""), "the connection"),
        (answers(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000, stays=True), "a reply of more than 16 KiB"),
        (answers(b"220 smtp.corp ESMTP\r\n", stays=True), "does not speak HTTP/1.1"),
        (answers(b"HTTP/1.1 200 OK\r\n\r\n<html>", stays=True), "bytes behind its reply"),
        (answers(b"HTTP/1.1 302 Found\r\nLocation: http://login/\r\n\r\n", stays=True), "answered 302 Found"),
    ],
    ids=["silent", "endless", "smtp", "early", "portal"],
)
async def test_a_hostile_reply_is_one_clear_error(way: Way, script: Script, words: str) -> None:
    async with way.proxy(script=script) as (_, via):
        error = await way.failure(8443, via)
    assert isinstance(error, ProxyFailed)
    assert words in error.reason
    assert str(via) in error.reason


async def test_a_proxy_that_does_not_answer_ends_at_the_deadline(way: Way) -> None:
    async with way.proxy(script=answers(b"HTTP/1.1 200 ", stays=True)) as (_, via):
        deadline = asyncio.get_running_loop().time() + 0.3
        error = await way.failure(8443, via, deadline=deadline)
    assert "did not answer in time" in error.reason


async def test_a_proxy_that_is_not_there_is_named(way: Way) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    error = await way.failure(8443, Proxy("127.0.0.1", port, way.trust))
    assert isinstance(error, ConnectFailed)
    assert error.target == f"127.0.0.1:{port}"


async def test_a_proxy_whose_certificate_is_not_trusted_is_named(
    authority: pki.Authority, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stranger = pki.Authority(tmp_path_factory.mktemp("other"), "another-ca")
    context: ssl.SSLContext = pki.server_context(stranger.server())
    server: Server
    async with serving(context) as server:
        via = Proxy("localhost", server.port, pki.client_context(authority))
        error = await Way(authority, tls=True).failure(8443, via)
    assert isinstance(error, HandshakeFailed)
    assert error.target == f"localhost:{server.port}"
