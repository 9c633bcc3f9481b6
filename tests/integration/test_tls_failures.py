"""Every way a dial or a handshake can fail says which step failed and why, on the side that can know."""

import asyncio
import datetime
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests import pki
from tests.integration.loops import Recorder, serving
from tunnel.aio import handshake, tls
from tunnel.aio.admittance import HandshakeLimits, TurnedAway
from tunnel.aio.dial import dial_plain, dial_tls
from tunnel.aio.errors import ConnectFailed, DialFailed, HandshakeFailed, ResolveFailed, TlsBroken
from tunnel.aio.listen import ListenerSettings
from tunnel.kit import unraisable

HOUR = datetime.timedelta(hours=1)

HASTY = ListenerSettings(handshake_seconds=0.2)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> pki.Authority:
    return pki.Authority(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> pki.Authority:
    return pki.Authority(tmp_path_factory.mktemp("other"), "another-ca")


def v12(context: ssl.SSLContext) -> ssl.SSLContext:
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


async def dial_failure(port: int, context: ssl.SSLContext, **options: Any) -> DialFailed:
    with pytest.raises(DialFailed) as caught:
        await dial_tls(options.pop("host", "localhost"), port, context, handler_factory=Recorder, **options)
    return caught.value


SERVER_FAULTS: dict[str, tuple[Callable[[pki.Authority, pki.Authority], pki.KeyPair], str]] = {
    "untrusted": (lambda ours, other: other.server(), "unable to get local issuer certificate"),
    "expired": (lambda ours, other: ours.server(not_after=-HOUR), "certificate has expired"),
    "not yet valid": (lambda ours, other: ours.server(not_before=HOUR), "certificate is not yet valid"),
    "wrong name": (lambda ours, other: ours.server(["elsewhere.test"]), "Hostname mismatch"),
    "wrong usage": (
        lambda ours, other: ours.server(usage=ExtendedKeyUsageOID.CLIENT_AUTH),
        "unsuitable certificate purpose",
    ),
}


@pytest.mark.parametrize("fault", SERVER_FAULTS)
async def test_a_server_certificate_is_refused_with_its_fault(
    fault: str, authority: pki.Authority, stranger: pki.Authority
) -> None:
    make, words = SERVER_FAULTS[fault]
    async with serving(pki.server_context(make(authority, stranger))) as server:
        error = await dial_failure(server.port, pki.client_context(authority))
        assert isinstance(error, HandshakeFailed)
        assert words in error.reason
        assert str(error).startswith(f"TLS handshake with localhost:{server.port}: ")
        assert await server.failure()
        assert not server.owners


CLIENT_FAULTS: dict[str, tuple[Callable[[pki.Authority, pki.Authority], pki.KeyPair | None], str]] = {
    "none": (lambda ours, other: None, "the peer showed no certificate"),
    "untrusted": (lambda ours, other: other.client("eve"), "unable to get local issuer certificate"),
    "expired": (lambda ours, other: ours.client("jane", not_after=-HOUR), "certificate has expired"),
    "not yet valid": (
        lambda ours, other: ours.client("jane", not_before=HOUR),
        "certificate is not yet valid",
    ),
    "wrong usage": (
        lambda ours, other: ours.client("jane", usage=ExtendedKeyUsageOID.SERVER_AUTH),
        "unsuitable certificate purpose",
    ),
}


@pytest.mark.parametrize("fault", CLIENT_FAULTS)
async def test_a_client_certificate_is_refused_with_its_fault(
    fault: str, authority: pki.Authority, stranger: pki.Authority
) -> None:
    make, words = CLIENT_FAULTS[fault]
    client = pki.client_context(authority, pair=make(authority, stranger))
    async with serving(pki.server_context(authority.server(), client_ca=authority)) as server:
        error = await dial_failure(server.port, v12(client))
        assert isinstance(error, HandshakeFailed)
        assert error.reason.startswith("the peer ")
        assert words in await server.failure()


async def test_a_tls13_client_learns_of_its_refusal_behind_the_handshake(authority: pki.Authority) -> None:
    async with serving(pki.server_context(authority.server(), client_ca=authority)) as server:
        owner = Recorder()
        await dial_tls("localhost", server.port, pki.client_context(authority), handler_factory=lambda: owner)
        await owner.closed.wait()
        assert isinstance(owner.error, TlsBroken)
        assert str(owner.error) == "the peer demands a certificate"


async def test_no_version_in_common_is_said_on_both_sides(authority: pki.Authority) -> None:
    only13 = pki.server_context(authority.server())
    only13.minimum_version = ssl.TLSVersion.TLSv1_3
    async with serving(only13) as server:
        error = await dial_failure(server.port, v12(pki.client_context(authority)))
        assert "the peer accepts none of our TLS versions" in str(error)
        assert "no TLS version in common" in await server.failure()


async def test_a_protocol_the_server_does_not_speak_fails_the_dial_that_requires_it(
    authority: pki.Authority,
) -> None:
    async with serving(pki.server_context(authority.server(), alpn=["http/1.1"])) as server:
        client = pki.client_context(authority, alpn=["cluster-tunnel/1"])
        error = await dial_failure(server.port, client, require_alpn="cluster-tunnel/1")
        assert "agreed to the protocol None, not to cluster-tunnel/1" in str(error)


async def test_a_client_without_alpn_is_served(authority: pki.Authority) -> None:
    async with serving(pki.server_context(authority.server(), alpn=["http/1.1"])) as server:
        owner = Recorder()
        stream = await dial_tls(
            "localhost", server.port, pki.client_context(authority), handler_factory=lambda: owner
        )
        assert stream.tls is not None
        assert stream.tls.alpn is None
        stream.abort()
        await owner.closed.wait()


async def test_a_name_without_an_address_fails_at_that_step(authority: pki.Authority) -> None:
    error = await dial_failure(443, pki.client_context(authority), host="no-such-host.invalid")
    assert isinstance(error, ResolveFailed)
    assert str(error).startswith("resolve no-such-host.invalid:443: ")


async def test_a_port_nobody_listens_on_fails_at_that_step() -> None:
    async with serving(None) as server:
        port = server.port
    with pytest.raises(ConnectFailed, match=rf"connect to 127\.0\.0\.1:{port}: .*refused"):
        await dial_plain("127.0.0.1", port, handler_factory=Recorder)


async def test_a_server_that_says_nothing_fails_the_dial_at_its_deadline(authority: pki.Authority) -> None:
    async with serving(None) as server:
        deadline = asyncio.get_running_loop().time() + 0.2
        error = await dial_failure(server.port, pki.client_context(authority), deadline=deadline)
        assert error.reason == "the handshake took too long"


async def test_a_server_that_closes_at_once_fails_the_handshake(authority: pki.Authority) -> None:
    class Closes(Recorder):
        def stream_received(self, data: memoryview) -> None:
            self.stream.close()

    async with serving(None, Closes) as server:
        error = await dial_failure(server.port, pki.client_context(authority))
        assert error.reason == "the peer closed the connection during the handshake"


async def test_a_plain_server_is_named_as_such(authority: pki.Authority) -> None:
    class Http(Recorder):
        def stream_opened(self, stream: Any) -> None:
            super().stream_opened(stream)
            stream.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with serving(None, Http) as server:
        error = await dial_failure(server.port, pki.client_context(authority))
        assert error.reason == "the peer does not speak TLS"


async def test_cancelling_a_dial_closes_its_socket(authority: pki.Authority) -> None:
    async with serving(None) as server:
        dialling = asyncio.ensure_future(
            dial_tls("localhost", server.port, pki.client_context(authority), handler_factory=Recorder)
        )
        other = await server.owner()
        await other.received(1)
        dialling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dialling
        await other.ended.wait()


async def raw_exchange(port: int, *pieces: bytes) -> bytes:
    """Send `pieces` over plain TCP and return all that comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        return await reader.read()
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def test_plain_http_on_the_tls_port_gets_an_answer_it_can_read(authority: pki.Authority) -> None:
    async with serving(pki.server_context(authority.server())) as server:
        answer = await raw_exchange(server.port, b"GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert answer.startswith(b"HTTP/1.0 400 ")
        assert await server.failure() == "plain HTTP was sent where TLS is spoken"


@pytest.mark.parametrize(
    "garbage", [b"\0" * 64, b"\xff" * 5000, b"SSH-2.0-OpenSSH_9.6\r\n", b"\x16\x03\x01\xff\xff"]
)
async def test_garbage_in_place_of_a_hello_ends_the_connection_with_a_reason(
    garbage: bytes, authority: pki.Authority
) -> None:
    async with serving(pki.server_context(authority.server()), settings=HASTY) as server:
        await asyncio.gather(raw_exchange(server.port, garbage), return_exceptions=True)
        assert await server.failure()
        assert server.listener.pending_handshakes == 0


async def test_a_server_name_that_is_not_ascii_is_a_log_line_and_no_traceback(
    authority: pki.Authority, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    hello = client_hello(pki.client_context(authority)).replace(b"localhost", b"l\xffcal\nost")
    unraisable.install()
    try:
        async with serving(pki.server_context(authority.server())) as server:
            await raw_exchange(server.port, hello)
            assert await server.failure()
    finally:
        unraisable.uninstall()
    (line,) = (record for record in caplog.records if record.name == unraisable.__name__)
    assert line.__dict__["reason"].startswith("UnicodeDecodeError: ")
    assert capfd.readouterr().err == ""


async def test_a_peer_that_sends_nothing_is_closed_at_the_deadline(authority: pki.Authority) -> None:
    async with serving(pki.server_context(authority.server()), settings=HASTY) as server:
        started = time.monotonic()
        await asyncio.gather(raw_exchange(server.port), return_exceptions=True)
        assert await server.failure() == "the handshake took too long"
        assert 0.15 < time.monotonic() - started < 5


def client_hello(context: ssl.SSLContext) -> bytes:
    outgoing = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()


async def test_a_hello_sent_byte_by_byte_does_not_outlive_the_deadline(authority: pki.Authority) -> None:
    async with serving(pki.server_context(authority.server()), settings=HASTY) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for byte in client_hello(pki.client_context(authority))[:-1]:
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        assert await server.failure() == "the handshake took too long"
        writer.close()
        await asyncio.gather(reader.read(), writer.wait_closed(), return_exceptions=True)


async def test_a_handshake_that_waits_for_its_peer_gives_way_to_a_newer_one(authority: pki.Authority) -> None:
    settings = ListenerSettings(handshakes=HandshakeLimits(pending=1))
    async with serving(pki.server_context(authority.server()), settings=settings) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        while not server.listener.pending_handshakes:
            await asyncio.sleep(0)
        reply = await raw_exchange(server.port, b"GET / HTTP/1.1\r\n\r\n")
        assert reply.startswith(b"HTTP/1.0 400 ")
        assert await server.failure() == TurnedAway.GAVE_WAY.value
        await asyncio.gather(reader.read(), return_exceptions=True)
        assert server.listener.turned_away == {TurnedAway.GAVE_WAY: 1}
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


@pytest.mark.parametrize(
    ("junk", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "plain HTTP was sent where TLS is spoken"),
        (b"\x16\x03\x01\x00\x04\xff\x00\x00\x00", "unexpected message"),
    ],
    ids=["without an alert", "with an alert"],
)
async def test_a_handshake_that_has_failed_gives_way_while_its_peer_reads_why(
    authority: pki.Authority, monkeypatch: pytest.MonkeyPatch, junk: bytes, reason: str
) -> None:
    """Some junk for each connection, none of which is ever closed, must not fill the places."""
    monkeypatch.setattr(tls, "ALERT_SECONDS", 60.0)
    settings = ListenerSettings(handshakes=HandshakeLimits(pending=1))
    async with serving(pki.server_context(authority.server()), settings=settings) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(junk)
        assert await reader.read()
        assert server.listener.pending_handshakes == 1
        owner = Recorder()
        context = pki.client_context(authority)
        stream = await dial_tls("localhost", server.port, context, handler_factory=lambda: owner)
        assert await server.failure() == reason
        stream.abort()
        writer.close()
        await asyncio.gather(owner.closed.wait(), writer.wait_closed(), return_exceptions=True)


async def test_connections_above_the_rate_of_an_address_are_closed_at_once(authority: pki.Authority) -> None:
    settings = ListenerSettings(handshakes=HandshakeLimits(per_address=1))
    async with serving(pki.server_context(authority.server()), settings=settings) as server:
        while not server.listener.turned_away:  # five at once, and one in a second
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)
        while TurnedAway.ADDRESS_RATE.value not in [reason for _, reason in server.failures]:
            await asyncio.sleep(0)
        assert await raw_exchange(server.port, b"GET / HTTP/1.1\r\n\r\n") == b""


async def test_a_connection_that_is_reset_while_a_thread_works_on_it_is_given_up(
    authority: pki.Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step finds nothing wrong and wants more, which never comes."""
    go_on = threading.Event()
    with ThreadPoolExecutor(1) as busy:
        busy.submit(go_on.wait)
        monkeypatch.setattr(handshake, "handshake_threads", lambda: busy)
        async with serving(pki.server_context(authority.server())) as server:
            with socket.create_connection(("127.0.0.1", server.port)) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.sendall(client_hello(pki.client_context(authority)))
                while not busy._work_queue.qsize():
                    await asyncio.sleep(0)
                (stream,) = server.listener._admittance.pending()
            while stream._transport.open:
                await asyncio.sleep(0)
            go_on.set()
            assert "the connection was lost" in await server.failure()
            assert server.listener.pending_handshakes == 0


async def test_a_closed_listener_accepts_nothing_and_leaves_its_connections_alone(
    authority: pki.Authority,
) -> None:
    async with serving(pki.server_context(authority.server())) as server:
        owner = Recorder()
        context = pki.client_context(authority)
        stream = await dial_tls("localhost", server.port, context, handler_factory=lambda: owner)
        other = await server.owner()
        server.listener.close()
        error = await dial_failure(server.port, context)
        assert isinstance(error, ConnectFailed)
        stream.write(b"still here")
        assert await other.received(10) == b"still here"
        stream.abort()
        await owner.closed.wait()
