"""Target: TLS records as a peer sends them, before and behind the handshake."""

import ssl
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from tests import pki
from tests.fuzz.material import Material
from tests.fuzz.standins import StillLoop, still_loop
from tests.unit.aio.transport import FakeTransport, Owner
from tunnel.aio import handshake
from tunnel.aio.basestream import BaseStream
from tunnel.aio.sockets import PLAIN_LEG
from tunnel.aio.tls import TlsStream, capture_server_name
from tunnel.core import limits

SEEDS = (
    b"\1\5\3hello\4world\0\0",
    b"\1\1\xff" + b"a" * 255 + b"\7\7\7",
    b"\2\4\x17\3\3\0\x13abc",
    b"\0\3\x16\3\1\0\4\1\0\0\0",
    b"\0\2GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\2\1\x14\3\3\0\1\1\x15\3\3\0\2\1\0",
    b"\3\6\5hello\x17\3\3\xff\xff",
    b"\3\0\0\0\0\0\x48\4\0\0",
)


@cache
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's and a client's context."""
    with TemporaryDirectory() as folder:
        authority = pki.Authority(Path(folder))
        server = pki.server_context(authority.server())
        capture_server_name(server)
        return server, pki.client_context(authority)


class Inline:
    """Does on the loop what threads do."""

    def submit(self, step: Callable[[], None]) -> None:
        step()


class Link:
    """A server's stream and a client's OpenSSL, in one memory."""

    def __init__(self, loop: StillLoop) -> None:
        server, client = contexts()
        self.loop = loop
        self.owner = Owner()
        self.failures: list[Exception] = []
        self.stream = TlsStream(
            loop,
            self._choose,
            lambda _, error: self.failures.append(error),
            context=server,
            server_hostname=None,
            options=PLAIN_LEG,
        )
        self.transport = FakeTransport(self.stream)
        self.stream.connection_made(self.transport)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = client.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")

    def _choose(self, stream: BaseStream) -> Owner:
        return self.owner

    def shake(self) -> "Link":
        """Do the handshake."""
        while flight := self._flight():
            self.arrive(flight)
            self.incoming.write(self.transport.take())
        return self

    def _flight(self) -> bytes:
        with suppress(ssl.SSLWantReadError):  # what it has to say is in the BIO all the same
            self.tls.do_handshake()
        return self.outgoing.read()

    def encrypt(self, pieces: Iterable[bytes]) -> bytes:
        """Return `pieces`, a record for each."""
        for piece in pieces:
            if piece:
                self.tls.write(piece)
        return self.outgoing.read()

    def arrive(self, data: bytes) -> None:
        """Bytes come from the network."""
        if not self.transport.closed:
            self.transport.arrive(data)
            self.loop.turn()

    def end(self) -> None:
        """The connection breaks, and all timers run out."""
        if not self.transport.closed:
            self.transport.reset()
        self.loop.turn()
        self.loop.advance(limits.CLOSE_SECONDS)


def told(plain: list[bytes], garbage: bytes, width: int) -> tuple[bytes, Exception | None, int]:
    """What the owner gets of records that hold `plain`, then of `garbage`, all cut to `width`: bytes, error, and how often it was
    told of the end of the connection."""
    with still_loop() as loop, patch.object(handshake, "handshake_threads", Inline):
        link = Link(loop).shake()
        data = link.encrypt(plain) + garbage
        for start in range(0, len(data), width):
            link.arrive(data[start : start + width])
        error = link.stream._ending.error
        link.end()
        assert not link.failures
        return link.owner.data, error, link.owner.calls.count("closed")


def check_handshake(data: bytes, width: int) -> None:
    """A stranger's bytes in place of a handshake end the connection, once, and reach nobody."""
    with still_loop() as loop, patch.object(handshake, "handshake_threads", Inline):
        link = Link(loop)
        for start in range(0, len(data), width):
            link.arrive(data[start : start + width])
        link.end()
        loop.advance(limits.HANDSHAKE_SECONDS)
        assert link.owner.calls == []
        assert len(link.failures) == 1


def one_input(data: bytes) -> None:
    """Invariants: what was sent arrives, to the byte, however its records are cut; garbage reaches nobody, ends the connection
    with an error of TLS, and is told once; nothing else is raised."""
    material = Material(data)
    kind, width = material.byte() % 4, material.byte() + 1
    if kind == 0:
        check_handshake(material.rest(), width)
        return
    if kind == 2:
        plain, garbage = [b"before"], material.rest()
    else:
        plain = [material.take(material.byte()) for _ in range(material.byte() % 8)]
        garbage = material.rest() if kind == 3 else b""
    whole = told(plain, garbage, 1 << 20)
    pieces = told(plain, garbage, width)
    assert whole[0] == pieces[0] == b"".join(plain)
    # Of a record that claims a little more than the largest, one reader sees at its header that it is wrong, the other at its end.
    assert None in (whole[1], pieces[1]) or type(whole[1]) is type(pieces[1])
    assert whole[2] == pieces[2] == 1
