"""A TLS stream over a transport without a socket, against OpenSSL in memory."""

import asyncio
import contextlib
import random
import ssl
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from tests import pki
from tests.unit.aio.transport import FakeTransport, Owner, turns
from tunnel.aio import handshake, tls
from tunnel.aio.basestream import BaseStream
from tunnel.aio.errors import HandshakeFailed, TlsBroken, TruncatedError
from tunnel.aio.readbuffer import RECORD_BYTES
from tunnel.aio.sockets import PLAIN_LEG
from tunnel.aio.tls import CONTROL_BYTES, RECORDS_PER_EMIT, RECORDS_PER_TURN, TlsStream, capture_server_name

HEADER = 5
APPLICATION_DATA = 23


class Peer:
    """The client's end, in memory."""

    def __init__(self, context: ssl.SSLContext, name: str = "localhost") -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=name)

    def handshake(self) -> bytes:
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        return self.outgoing.read()

    def encrypt(self, *pieces: bytes) -> bytes:
        """Return `pieces`, a record (or more) for each."""
        for piece in pieces:
            view = memoryview(piece)
            while view:
                view = view[self.tls.write(view) :]
        return self.outgoing.read()

    def end(self) -> bytes:
        with pytest.raises(ssl.SSLWantReadError):
            self.tls.unwrap()
        return self.outgoing.read()

    def decrypt(self, data: bytes) -> bytes:
        self.incoming.write(data)
        plain = b""
        while True:
            try:
                piece = self.tls.read(65536)
            except ssl.SSLWantReadError:
                return plain
            if not piece:
                return plain
            plain += piece


class Inline:
    """Does on the loop what threads do."""

    steps = 0

    def submit(self, step: Callable[[], None]) -> None:
        Inline.steps += 1
        step()


@pytest.fixture(autouse=True)
def _inline_handshakes(monkeypatch: pytest.MonkeyPatch) -> None:
    Inline.steps = 0
    monkeypatch.setattr(handshake, "handshake_threads", Inline)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> pki.Authority:
    return pki.Authority(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def server_context(authority: pki.Authority) -> ssl.SSLContext:
    context = pki.server_context(authority.server())
    capture_server_name(context)
    return context


class Link:
    """A server's stream whose handshake is done, and its peer."""

    def __init__(self, server: ssl.SSLContext, client: ssl.SSLContext, **options: Any) -> None:
        self.owner = Owner()
        self.failures: list[Exception] = []
        self.stream = TlsStream(
            asyncio.get_running_loop(),
            self.choose,
            lambda _, error: self.failures.append(error),
            context=server,
            server_hostname=None,
            options=PLAIN_LEG,
            **options,
        )
        self.transport = FakeTransport(self.stream)
        self.stream.connection_made(self.transport)
        self.peer = Peer(client)

    def choose(self, stream: BaseStream) -> Owner:
        return self.owner

    async def shake(self) -> "Link":
        flight = self.peer.handshake()
        while flight:
            self.transport.arrive(flight)
            await turns()
            self.peer.incoming.write(self.transport.take())
            flight = self.peer.handshake()
        return self


@pytest.fixture
def link(server_context: ssl.SSLContext, authority: pki.Authority) -> Iterator[Callable[..., Link]]:
    made: list[Link] = []

    def make(**options: Any) -> Link:
        made.append(Link(server_context, pki.client_context(authority), **options))
        return made[-1]

    yield make
    for each in made:
        each.stream.abort()


def records(ciphertext: bytes) -> list[tuple[int, int]]:
    """Return content type and length of each record."""
    found = []
    while ciphertext:
        size = int.from_bytes(ciphertext[3:5], "big")
        found.append((ciphertext[0], size))
        ciphertext = ciphertext[HEADER + size :]
    return found


def split(data: bytes, how: str) -> list[bytes]:
    """Return `data` whole, in single bytes, or in random pieces."""
    if how == "whole":
        return [data]
    if how == "bytes":
        return [data[index : index + 1] for index in range(len(data))]
    source, pieces = random.Random(how), []
    while data:
        size = source.choice((1, 4, 5, 6, 21, 300, 5_000, 20_000))
        pieces.append(data[:size])
        data = data[size:]
    return pieces


@pytest.mark.parametrize("how", ["whole", "bytes", "random 1", "random 2", "random 3"])
async def test_ciphertext_may_be_cut_anywhere(how: str, link: Callable[..., Link]) -> None:
    joined = await link().shake()
    plain = [b"", b"a", random.Random(1).randbytes(40_000), b"end"]
    for piece in split(joined.peer.encrypt(*plain) + joined.peer.end(), how):
        joined.transport.arrive(piece)
    await turns(20)
    assert joined.owner.data == b"".join(plain)
    assert joined.owner.calls[-1] == "ended"
    assert joined.owner.calls.count("ended") == 1


@pytest.mark.parametrize("how", ["bytes", "random 4"])
async def test_a_handshake_may_be_cut_anywhere(how: str, link: Callable[..., Link]) -> None:
    joined = link()
    for _ in range(2):
        for piece in split(joined.peer.handshake(), how):
            joined.transport.arrive(piece)
            await turns(1)
        await turns()
        joined.peer.incoming.write(joined.transport.take())
    assert joined.owner.calls == ["opened"]
    assert Inline.steps <= 3, "one step for each record, not for each byte"
    assert joined.stream.tls is not None
    assert joined.stream.tls.server_name == "localhost"


async def test_what_comes_right_behind_the_handshake_is_delivered(link: Callable[..., Link]) -> None:
    joined = link()
    joined.transport.arrive(joined.peer.handshake())
    await turns()
    joined.peer.incoming.write(joined.transport.take())
    joined.transport.arrive(
        joined.peer.handshake() + joined.peer.encrypt(b"early", b"bird") + joined.peer.end()
    )
    await turns(10)
    assert joined.owner.data == b"earlybird"
    assert joined.owner.calls[0] == "opened"
    assert joined.owner.calls[-1] == "ended"


async def test_more_than_the_plaintext_buffer_behind_the_handshake_is_not_taken_for_an_end(
    link: Callable[..., Link],
) -> None:
    joined = link(read_budget=256 * 1024)
    joined.transport.arrive(joined.peer.handshake())
    await turns()
    joined.peer.incoming.write(joined.transport.take())
    records = [b"x" * RECORD_BYTES] * 20  # 320 KiB; the buffer has 272
    joined.transport.arrive(joined.peer.handshake() + joined.peer.encrypt(*records))
    await turns(20)
    assert len(joined.owner.data) == 20 * RECORD_BYTES
    assert "ended" not in joined.owner.calls


async def test_writes_of_one_turn_share_a_record_and_a_write(link: Callable[..., Link]) -> None:
    joined = await link().shake()
    for word in (b"one ", b"two ", b"three"):
        joined.stream.write(word)
    assert joined.transport.writes == []
    await turns()
    assert len(joined.transport.writes) == 1
    ciphertext = joined.transport.take()
    assert len(records(ciphertext)) == 1
    assert joined.peer.decrypt(ciphertext) == b"one two three"


async def test_what_is_written_now_leaves_in_a_record_and_a_write_of_its_own(
    link: Callable[..., Link],
) -> None:
    joined = await link().shake()
    joined.stream.write_now(b"now")
    assert joined.peer.decrypt(joined.transport.take()) == b"now"
    joined.stream.write(b"later")
    await turns()
    assert joined.peer.decrypt(joined.transport.take()) == b"later"


async def test_a_record_of_its_own_shares_the_write_but_not_the_record(link: Callable[..., Link]) -> None:
    joined = await link().shake()
    joined.stream.write(b"before")
    joined.stream.write_record(b"HTTP/1.1 101")
    joined.stream.write(b"after")
    await turns()
    assert len(joined.transport.writes) == 1
    ciphertext = joined.transport.take()
    assert len(records(ciphertext)) == 3
    assert joined.peer.decrypt(ciphertext) == b"beforeHTTP/1.1 101after"


@pytest.mark.parametrize("size", [16_384, 16_385, 1_000_000])
async def test_a_large_view_is_encrypted_before_the_call_returns(
    size: int, link: Callable[..., Link]
) -> None:
    joined = await link().shake()
    plain = bytearray(random.Random(size).randbytes(size))
    expected = b"small" + bytes(plain)
    joined.stream.write(b"small")
    joined.stream.write(memoryview(plain))
    plain[:] = bytes(size)
    await turns()
    assert joined.peer.decrypt(joined.transport.take()) == expected


class Sizes:
    """Encrypts, and keeps the size of each write."""

    def __init__(self, stream: TlsStream) -> None:
        self.tls = stream._sslobj
        self.sizes: list[int] = []
        stream._sslobj = cast(ssl.SSLObject, self)

    def write(self, data: memoryview) -> int:
        self.sizes.append(len(data))
        return self.tls.write(data)


async def test_a_long_write_leaves_nothing_in_the_bio_which_never_shrinks(link: Callable[..., Link]) -> None:
    joined = await link().shake()
    encrypted = Sizes(joined.stream)
    joined.stream.write(bytes(RECORD_BYTES * RECORDS_PER_EMIT + 1))
    assert encrypted.sizes == [RECORD_BYTES] * RECORDS_PER_EMIT + [1]
    assert not joined.stream._outgoing.pending
    assert len(joined.transport.writes) == 2


async def test_a_connection_for_bulk_encrypts_a_long_write_in_one_go(
    link: Callable[..., Link], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "BULK_BYTES", 4 * RECORD_BYTES)
    joined = await link().shake()
    encrypted = Sizes(joined.stream)
    for _ in range(3):
        joined.stream.write(bytes(2 * RECORD_BYTES))
    assert encrypted.sizes == [RECORD_BYTES] * 4 + [2 * RECORD_BYTES]
    await turns()
    assert len(joined.peer.decrypt(joined.transport.take())) == 6 * RECORD_BYTES


async def test_what_a_connection_for_bulk_encrypts_in_one_go_is_bounded(
    link: Callable[..., Link], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "BULK_BYTES", 0)
    joined = await link().shake()
    encrypted = Sizes(joined.stream)
    joined.stream.write(bytes(2 * tls.BULK_WRITE_BYTES + 1))
    assert encrypted.sizes == [tls.BULK_WRITE_BYTES] * 2 + [1]
    assert not joined.stream._outgoing.pending
    await turns()
    assert len(joined.peer.decrypt(joined.transport.take())) == 2 * tls.BULK_WRITE_BYTES + 1


async def test_a_turn_delivers_a_read_in_one_piece(link: Callable[..., Link]) -> None:
    joined = await link().shake()
    joined.transport.arrive(joined.peer.encrypt(b"x" * 9_000, b"y" * 9_000))
    assert joined.owner.pieces == [b"x" * 9_000 + b"y" * 9_000]


async def test_a_close_notify_behind_data_waits_for_the_owners_pause(link: Callable[..., Link]) -> None:
    joined = await link().shake()
    joined.owner.pause_after = 1
    joined.transport.arrive(joined.peer.encrypt(b"data") + joined.peer.end())
    joined.stream.eof_received()
    await turns()
    assert joined.owner.calls == ["opened", "received"]
    joined.stream.resume_reading()
    assert joined.owner.calls == ["opened", "received"]
    await turns()
    assert joined.owner.calls == ["opened", "received", "ended"]


async def test_data_that_arrives_in_spite_of_a_pause_is_held_back(link: Callable[..., Link]) -> None:
    joined = await link().shake()
    joined.stream.pause_reading()
    joined.transport.paused = False
    joined.transport.arrive(joined.peer.encrypt(b"one"))
    joined.transport.paused = False
    joined.transport.arrive(joined.peer.encrypt(b"two") + joined.peer.end())
    await turns()
    assert joined.owner.data == b""
    joined.stream.resume_reading()
    await turns()
    assert joined.owner.data == b"onetwo"
    assert joined.owner.calls[-1] == "ended"


async def test_tiny_records_are_spread_over_turns(link: Callable[..., Link]) -> None:
    joined = await link(read_budget=256 * 1024).shake()
    count = 3 * RECORDS_PER_TURN
    joined.transport.arrive(joined.peer.encrypt(*[b"."] * count))
    assert len(joined.owner.data) == RECORDS_PER_TURN
    await turns(10)
    assert len(joined.owner.data) == count
    assert max(map(len, joined.owner.pieces)) == RECORDS_PER_TURN


async def test_a_fin_in_the_middle_is_truncation_told_behind_what_came(link: Callable[..., Link]) -> None:
    joined = await link().shake()
    joined.transport.arrive(joined.peer.encrypt(b"half", b"lost")[:-3])
    joined.stream.eof_received()
    await turns()
    assert joined.owner.data == b"half"
    assert joined.owner.calls[-1] == "closed"
    assert isinstance(joined.owner.error, TruncatedError)


async def test_our_end_is_a_close_notify_and_reading_goes_on(link: Callable[..., Link]) -> None:
    joined = await link().shake()
    joined.stream.write(b"last")
    joined.stream.write_end()
    await turns()
    assert joined.peer.decrypt(joined.transport.take()) == b"last"
    assert not joined.transport.ended
    joined.transport.arrive(joined.peer.encrypt(b"and yet"))
    assert joined.owner.data == b"and yet"


async def test_an_end_with_a_part_of_a_record_read_disturbs_nothing(link: Callable[..., Link]) -> None:
    joined = await link().shake()
    ciphertext = joined.peer.encrypt(b"whole", b"later")
    joined.transport.arrive(ciphertext[:-4])
    joined.stream.write_end()
    await turns()
    joined.transport.arrive(ciphertext[-4:])
    assert joined.owner.data == b"wholelater"


async def test_writing_works_behind_the_peers_end(link: Callable[..., Link]) -> None:
    joined = await link().shake()
    joined.transport.arrive(joined.peer.end())
    joined.stream.write(b"answer")
    joined.stream.write_end()
    await turns()
    assert records(joined.transport.take())[0] == (APPLICATION_DATA, len(b"answer") + 17)
    assert joined.owner.calls == ["opened", "ended", "closed"]
    assert joined.owner.error is None


async def test_a_cut_says_no_end(link: Callable[..., Link]) -> None:
    joined = await link().shake()
    joined.stream.write(b"part")
    joined.stream.cut()
    await turns()
    assert len(records(joined.transport.take())) == 1
    assert joined.transport.ended


@pytest.mark.parametrize("junk", [b"\x17\x03\x03\xff\xff" + b"j" * 40, b"GET / HTTP/1.1\r\n\r\n" * 500])
async def test_junk_breaks_the_connection_behind_what_was_good(
    junk: bytes, link: Callable[..., Link]
) -> None:
    joined = await link().shake()
    joined.transport.arrive(joined.peer.encrypt(b"good") + junk)
    await turns()
    assert joined.owner.data == b"good"
    assert isinstance(joined.owner.error, TlsBroken)
    assert joined.transport.take(), "an alert says why"


async def test_a_peer_that_provokes_answers_and_reads_none_is_cut_off(link: Callable[..., Link]) -> None:
    joined = await link().shake()
    joined.stream.pause_writing()
    joined.stream._outgoing.write(bytes(CONTROL_BYTES + 1))
    joined.transport.arrive(joined.peer.encrypt(b"x"))
    await turns()
    assert isinstance(joined.owner.error, TlsBroken)


async def test_answers_to_a_peer_that_reads_them_are_sent(link: Callable[..., Link]) -> None:
    joined = await link().shake()
    joined.stream._outgoing.write(bytes(CONTROL_BYTES + 1))
    joined.transport.arrive(joined.peer.encrypt(b"x"))
    await turns()
    assert len(joined.transport.take()) == CONTROL_BYTES + 1
    assert joined.owner.error is None


async def test_a_handshake_may_not_outrun_its_deadline(link: Callable[..., Link]) -> None:
    joined = link(handshake_seconds=0.0)
    while not joined.failures:
        await turns(1)
    assert isinstance(joined.failures[0], HandshakeFailed)
    assert joined.failures[0].reason == "the handshake took too long"
    assert joined.owner.calls == []


async def test_a_peer_that_leaves_during_the_handshake_is_named(link: Callable[..., Link]) -> None:
    joined = link()
    joined.transport.arrive(joined.peer.handshake()[:50])
    joined.stream.eof_received()
    await turns()
    assert [str(error) for error in joined.failures] == [
        "TLS handshake with 192.0.2.7: the peer closed the connection during the handshake"
    ]


async def test_a_reset_does_not_hide_the_reason_that_a_thread_is_reading(
    link: Callable[..., Link], monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting: list[Callable[[], None]] = []

    class Slow:
        def submit(self, step: Callable[[], None]) -> None:
            waiting.append(step)

    monkeypatch.setattr(handshake, "handshake_threads", Slow)
    joined = link()
    joined.transport.arrive(b"GET / HTTP/1.1\r\n\r\n")
    joined.transport.reset()
    await turns()
    assert joined.failures == []
    waiting[0]()
    await turns()
    assert isinstance(joined.failures[0], HandshakeFailed)
    assert joined.failures[0].reason == "plain HTTP was sent where TLS is spoken"


async def test_an_earlier_callback_for_names_goes_on_being_called(authority: pki.Authority) -> None:
    names: list[Any] = []
    context = pki.server_context(authority.server())

    def earlier(_: ssl.SSLObject, name: str, __: ssl.SSLContext) -> None:
        names.append(name)

    context.sni_callback = earlier
    capture_server_name(context)
    capture_server_name(context)
    joined = await Link(context, pki.client_context(authority)).shake()
    assert names == ["localhost"]
    assert joined.stream.tls is not None
    assert joined.stream.tls.server_name == "localhost"
    joined.stream.abort()
    await turns()
