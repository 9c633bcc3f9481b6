"""Target: what a proxy answers to CONNECT."""

from collections.abc import Iterable

from tests.fuzz.material import Material, cut
from tunnel.aio.connect import REPLY_HEAD_BYTES, Asked, BadReply, Proxy, ProxyFailed, Reply, ReplyHead

SEEDS = (
    b"\5HTTP/1.1 200 Connection established\r\n\r\n",
    b"\5HTTP/1.0 407 No\r\nProxy-Authenticate: Basic realm=x\r\nProxy-authenticate: NTLM\r\n\r\n",
    b"\5HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nVia: x\r\n\r\n",
    b"\5HTTP/1.1 200 OK\r\n\r\n\x16\3\1",
    b"\5HTTP/1.1 503 \xc3\x84\r\n\r\n",
    b"\1SSH-2.0-x\r\n",
)


def read(chunks: Iterable[bytes]) -> Reply | str | None:
    """The reply in `chunks`, None where it is not whole, or how it is none."""
    head = ReplyHead()
    try:
        for chunk in chunks:
            reply = head.receive(chunk)
            if reply is not None:
                return reply
    except BadReply as fault:
        return str(fault)
    return None


def check_asked(data: bytes) -> None:
    """Who asked is told in printable words."""
    asked = Asked(Proxy("proxy", 3128), "stub.example.com:443")
    try:
        asked.receive(data)
    except ProxyFailed as failure:
        text = str(failure)
    else:
        return
    assert text.isprintable()
    assert len(text) < 600 + REPLY_HEAD_BYTES


def one_input(data: bytes) -> None:
    """Invariants: a reply is read, awaited or refused by BadReply, the same byte by byte and in pieces; a connection is granted
    only by a 2xx behind which nothing came; what is told of it can be printed."""
    material = Material(data)
    size, stream = material.byte() + 1, material.rest()
    by_byte, in_pieces, whole = (read(cut(stream, width)) for width in (1, size, len(stream) or 1))
    # Bytes behind a 2xx are seen only where they come with it; then nothing is granted, which is the safe side.
    if isinstance(whole, Reply) or not isinstance(by_byte, Reply):
        assert by_byte == in_pieces == whole
    if isinstance(whole, Reply):
        assert 200 <= whole.status <= 599
        assert str(whole).isprintable()
    check_asked(stream)
