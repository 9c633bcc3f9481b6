"""TLS and plain streams over real sockets, between two of our own."""

import asyncio
import hashlib
import random
import socket
import ssl
from typing import Any

import pytest

from tests import pki
from tests.integration.loops import Echo, Recorder, serving
from tunnel.aio.dial import dial_plain, dial_tls
from tunnel.aio.errors import TlsBroken, TruncatedError
from tunnel.aio.listen import ListenerSettings

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
URI = "cluster-tunnel://agent/blue"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> pki.Authority:
    return pki.Authority(tmp_path_factory.mktemp("pki"))


@pytest.fixture(params=VERSIONS, ids=lambda version: version.name)
def contexts(
    request: pytest.FixtureRequest, authority: pki.Authority
) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's and a client's context with mutual certificates, for each TLS version."""
    pair = authority.client("jane", ["dev"], uri=URI)
    server = pki.server_context(authority.server(), client_ca=authority, alpn=["http/1.1"])
    client = pki.client_context(authority, pair=pair, alpn=["http/1.1"])
    server.maximum_version = client.maximum_version = request.param
    server.minimum_version = client.minimum_version = request.param
    return server, client


Contexts = tuple[ssl.SSLContext, ssl.SSLContext]


async def dial(port: int, context: ssl.SSLContext, owner: Recorder, **options: Any) -> Any:
    return await dial_tls("localhost", port, context, handler_factory=lambda: owner, **options)


async def test_both_sides_learn_what_the_handshake_established(
    contexts: Contexts, authority: pki.Authority
) -> None:
    async with serving(contexts[0]) as server:
        owner = Recorder()
        stream = await dial(server.port, contexts[1], owner)
        theirs = (await server.owner()).stream
        assert stream.tls.version == theirs.tls.version == contexts[0].minimum_version.name.replace("_", ".")
        assert stream.tls.alpn == theirs.tls.alpn == "http/1.1"
        assert stream.tls.server_name == theirs.tls.server_name == "localhost"
        assert ssl.DER_cert_to_PEM_cert(theirs.tls.certificate)
        assert b"jane" in theirs.tls.certificate
        assert URI.encode() in theirs.tls.certificate
        assert theirs.peer == stream.peer == "127.0.0.1"
        assert owner.calls == ["opened"]
        stream.abort()
        await owner.closed.wait()


async def test_bytes_sent_right_behind_the_handshake_arrive(contexts: Contexts) -> None:
    class Hasty(Recorder):
        def stream_opened(self, stream: Any) -> None:
            super().stream_opened(stream)
            stream.write(b"early" * 20_000)
            stream.write_end()

    async with serving(contexts[0], Echo) as server:
        owner = Hasty()
        await dial(server.port, contexts[1], owner)
        await owner.closed.wait()
        assert owner.data == b"early" * 20_000
        assert owner.error is None


async def test_a_side_that_ended_still_receives(contexts: Contexts) -> None:
    async with serving(contexts[0]) as server:
        owner = Recorder()
        stream = await dial(server.port, contexts[1], owner)
        stream.write(b"question")
        stream.write_end()
        other = await server.owner()
        await other.ended.wait()
        assert other.data == b"question"
        other.stream.write(b"answer" * 100_000)
        other.stream.write_end()
        await owner.closed.wait()
        assert owner.data == b"answer" * 100_000
        assert owner.calls[-2:] == ["ended", "closed"]
        assert owner.error is None


async def test_both_sides_may_end_at_once_with_data_under_way(contexts: Contexts) -> None:
    async with serving(contexts[0]) as server:
        owner = Recorder()
        stream = await dial(server.port, contexts[1], owner)
        other = await server.owner()
        for side in (stream, other.stream):
            side.write(b"x" * 3_000_000)
            side.write_end()
        await owner.closed.wait()
        await other.closed.wait()
        assert (len(owner.data), len(other.data)) == (3_000_000, 3_000_000)
        assert (owner.error, other.error) == (None, None)


async def test_an_end_asked_for_while_paused_leaves_what_was_not_read_intact(contexts: Contexts) -> None:
    """SSL_shutdown fails on application data it meets; none may be in its reach."""
    async with serving(contexts[0]) as server:
        owner = Recorder()
        stream = await dial(server.port, contexts[1], owner)
        stream.pause_reading()
        other = await server.owner()
        other.stream.write(b"y" * 500_000)
        stream.write_end()
        await other.ended.wait()
        assert not owner.data
        stream.resume_reading()
        await owner.received(500_000)
        assert len(owner.data) == 500_000
        other.stream.write_end()
        await owner.closed.wait()
        assert owner.error is None


async def test_close_sends_everything_first(contexts: Contexts) -> None:
    async with serving(contexts[0]) as server:
        owner = Recorder()
        stream = await dial(server.port, contexts[1], owner)
        stream.write(b"z" * 5_000_000)
        stream.close()
        stream.close()
        stream.write(b"ignored")
        other = await server.owner()
        await other.received(5_000_000)
        await other.ended.wait()
        other.stream.write_end()
        await owner.closed.wait()
        assert len(other.data) == 5_000_000
        assert owner.calls.count("closed") == 1
        assert owner.error is None


async def test_close_does_not_lose_its_last_bytes_to_a_peer_that_still_sends(contexts: Contexts) -> None:
    class Refuses(Recorder):
        def stream_received(self, data: memoryview) -> None:
            if not self.data:
                super().stream_received(data)
                self.stream.write(b"refused")
                self.stream.close()

    async with serving(contexts[0], Refuses) as server:
        owner = Recorder()
        stream = await dial(server.port, contexts[1], owner)
        for _ in range(40):
            stream.write(b"upload" * 20_000)
        await owner.ended.wait()
        assert owner.data == b"refused"
        stream.close()
        await owner.closed.wait()


async def test_a_fin_without_close_notify_is_truncation(contexts: Contexts) -> None:
    async with serving(contexts[0]) as server:
        owner = Recorder()
        stream = await dial(server.port, contexts[1], owner)
        other = await server.owner()
        other.stream.write(b"half")
        await owner.received(4)
        other.stream._transport.write_eof()
        await owner.closed.wait()
        assert isinstance(owner.error, TruncatedError)
        assert "ended" not in owner.calls
        assert stream.closing


async def test_an_abort_of_the_peer_is_an_error_and_our_own_is_not(contexts: Contexts) -> None:
    async with serving(contexts[0]) as server:
        owner = Recorder()
        stream = await dial(server.port, contexts[1], owner)
        other = await server.owner()
        stream.abort()
        assert owner.calls == ["opened"]
        await owner.closed.wait()
        await other.closed.wait()
        assert owner.error is None
        assert isinstance(other.error, (TruncatedError, OSError))


async def test_a_record_of_ones_own_shares_nothing(contexts: Contexts) -> None:
    async with serving(contexts[0]) as server:
        owner = Recorder()
        stream = await dial(server.port, contexts[1], owner)
        sizes: list[int] = []
        write = stream._sslobj.write

        def count(data: bytes) -> int:
            sizes.append(len(data))
            return int(write(data))

        stream._sslobj.write = count
        stream.write(b"before")
        stream.write(b"more")
        stream.write_record(b"alone")
        stream.write(b"after")
        other = await server.owner()
        assert await other.received(20) == b"beforemorealoneafter"
        assert sizes == [10, 5, 5]
        stream.abort()
        await owner.closed.wait()


class Chaotic(Recorder):
    """Sends random pieces and pauses at random turns; keeps checksums of both directions."""

    TOTAL = 20 * 1024 * 1024

    def __init__(self) -> None:
        super().__init__()
        self.random = random.Random(7)
        self.sent, self.got = hashlib.sha256(), hashlib.sha256()
        self.left = self.TOTAL
        self.size = 0
        self.blocked = False

    def stream_opened(self, stream: Any) -> None:
        super().stream_opened(stream)
        self.loop = asyncio.get_running_loop()
        self._send()

    def _send(self) -> None:
        while self.left and not self.blocked:
            piece = self.random.randbytes(min(self.left, self.random.choice((1, 100, 5_000, 16_384, 70_000))))
            self.left -= len(piece)
            self.sent.update(piece)
            self.stream.write(piece)
            if self.random.random() < 0.3:
                self.loop.call_soon(self._send)
                return
        if not self.left:
            self.stream.write_end()

    def stream_received(self, data: memoryview) -> None:
        assert not self.stream._paused
        self.got.update(data)
        self.size += len(data)
        if self.random.random() < 0.1:
            self.stream.pause_reading()
            self.loop.call_later(self.random.random() / 1000, self.stream.resume_reading)

    def stream_write_paused(self) -> None:
        self.blocked = True

    def stream_write_resumed(self) -> None:
        self.blocked = False
        self._send()


async def test_twenty_megabytes_each_way_at_once_arrive_unchanged(contexts: Contexts) -> None:
    async with serving(contexts[0], Chaotic) as server:
        owner = Chaotic()
        await dial(server.port, contexts[1], owner)
        await owner.closed.wait()
        other = await server.owner()
        await other.closed.wait()
        assert (owner.size, other.size) == (Chaotic.TOTAL, Chaotic.TOTAL)
        assert owner.got.digest() == other.sent.digest()
        assert other.got.digest() == owner.sent.digest()
        assert (owner.error, other.error) == (None, None)


async def test_a_reader_that_stops_stops_its_writer(contexts: Contexts) -> None:
    async with serving(contexts[0]) as server:
        owner = Recorder()
        stream = await dial(server.port, contexts[1], owner)
        other = await server.owner()
        other.stream.pause_reading()
        while "write paused" not in owner.calls:
            stream.write(b"w" * 100_000)
            await asyncio.sleep(0)
        before = len(other.data)
        assert stream.waiting_bytes > 0
        await asyncio.sleep(0.05)
        assert len(other.data) == before
        other.stream.resume_reading()
        while "write resumed" not in owner.calls:
            await other.received(len(other.data) + 1)
        stream.abort()
        await owner.closed.wait()


async def test_a_new_owner_gets_what_comes_next(contexts: Contexts) -> None:
    async with serving(contexts[0]) as server:
        first, second = Recorder(), Recorder()
        stream = await dial(server.port, contexts[1], first)
        other = await server.owner()
        other.stream.write(b"one")
        await first.received(3)
        stream.set_handler(second)
        other.stream.write(b"two")
        assert await second.received(3) == b"two"
        stream.abort()
        await second.closed.wait()
        assert first.data == b"one"
        assert second.calls == ["closed"]


async def test_a_resumed_session_is_refused(authority: pki.Authority) -> None:
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pair = authority.server()
    server_context.load_cert_chain(pair.cert_path, pair.key_path)
    server_context.maximum_version = ssl.TLSVersion.TLSv1_2
    client = pki.client_context(authority)
    async with serving(server_context) as server:
        session = await asyncio.to_thread(_session_of, client, server.port)
        await asyncio.to_thread(_resume, client, server.port, session)
        assert await server.failure() == "a resumed session is not accepted"


def _session_of(context: ssl.SSLContext, port: int) -> ssl.SSLSession:
    with (
        socket.create_connection(("127.0.0.1", port)) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as tls,
    ):
        assert tls.session is not None
        return tls.session


def _resume(context: ssl.SSLContext, port: int, session: ssl.SSLSession) -> None:
    with (
        socket.create_connection(("127.0.0.1", port)) as raw,
        context.wrap_socket(raw, server_hostname="localhost", session=session) as tls,
    ):
        assert tls.session_reused
        assert tls.recv(1) == b""


async def test_an_altered_record_breaks_the_connection_with_a_reason(contexts: Contexts) -> None:
    async with serving(contexts[0]) as server:
        owner = Recorder()
        stream = await dial(server.port, contexts[1], owner)
        other = await server.owner()
        stream._transport.write(b"\x17\x03\x03\x00\x20" + b"\0" * 32)
        await other.closed.wait()
        assert isinstance(other.error, TlsBroken)
        assert "altered" in str(other.error)
        await owner.closed.wait()
        assert isinstance(owner.error, (TlsBroken, TruncatedError))


async def test_plain_streams_keep_half_close_and_order() -> None:
    async with serving(None, Echo) as server:
        owner = Recorder()
        stream = await dial_plain("127.0.0.1", server.port, handler_factory=lambda: owner)
        assert stream.tls is None
        for number in range(1000):
            stream.write(bytes([number % 256]) * number)
        stream.write_end()
        await owner.closed.wait()
        assert bytes(owner.data) == b"".join(bytes([n % 256]) * n for n in range(1000))
        assert owner.error is None


async def test_a_plain_stream_that_is_cut_does_not_look_like_one_that_has_ended() -> None:
    async with serving(None) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        other = await server.owner()
        other.stream.write(b"half of it")
        assert await reader.readexactly(10) == b"half of it"
        other.stream.cut()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def test_twenty_megabytes_each_way_over_plain_tcp_arrive_unchanged() -> None:
    async with serving(None, Chaotic) as server:
        owner = Chaotic()
        await dial_plain("127.0.0.1", server.port, handler_factory=lambda: owner)
        await owner.closed.wait()
        other = await server.owner()
        await other.closed.wait()
        assert owner.got.digest() == other.sent.digest()
        assert other.got.digest() == owner.sent.digest()


class PerTurn(Recorder):
    """Counts what comes in each turn of the loop."""

    def __init__(self) -> None:
        super().__init__()
        self.turns: list[int] = [0]
        self.counting = False

    def stream_received(self, data: memoryview) -> None:
        super().stream_received(data)
        self.turns[-1] += len(data)
        if not self.counting:
            self.counting = True
            asyncio.get_running_loop().call_soon(self.next_turn)

    def next_turn(self) -> None:
        self.counting = False
        self.turns.append(0)


@pytest.mark.parametrize("secure", [True, False])
async def test_no_turn_delivers_more_than_the_budget(secure: bool, authority: pki.Authority) -> None:
    budget = 20_000
    context = pki.server_context(authority.server()) if secure else None
    settings = ListenerSettings(read_budget=budget)
    async with serving(context, PerTurn, settings) as server:
        owner = Recorder()
        if secure:
            stream: Any = await dial(server.port, pki.client_context(authority), owner)
        else:
            stream = await dial_plain("127.0.0.1", server.port, handler_factory=lambda: owner)
        other = await server.owner()
        other.stream.pause_reading()
        stream.write(bytes(3_000_000))
        stream.write_end()
        await asyncio.sleep(0.05)  # let the kernel's buffers fill, so that a read could take far more
        other.stream.resume_reading()
        await other.ended.wait()
        # A read may complete a record whose beginning came in the turn before.
        assert max(other.turns) <= budget + 16_384
        assert len(other.data) == 3_000_000
        other.stream.write_end()
        await owner.closed.wait()
