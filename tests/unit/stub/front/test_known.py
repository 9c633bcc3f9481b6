"""Which heads are remembered, and what is made of a read that looks like one of them."""

import pytest

from stub.front import known
from stub.front.known import KnownHead, KnownHeads
from tunnel.core.http.message import Field, RequestHead

LINES = b"Host: stub.example.com\r\nAccept: */*\r\n\r\n"
FIELDS: list[Field] = [(b"Host", b"stub.example.com"), (b"Accept", b"*/*")]
KEPT: list[Field] = [(b"Accept", b"*/*")]
BLOCK = b"Accept\0*/*"


def learnt(data: bytes, fields: list[Field] = FIELDS, target: bytes = b"/api") -> KnownHeads:
    heads = KnownHeads()
    heads.learn(data, RequestHead(b"GET", target, fields), KEPT)
    return heads


def get(target: bytes, lines: bytes = LINES) -> bytes:
    return b"GET %b HTTP/1.1\r\n%b" % (target, lines)


def test_the_same_lines_behind_another_request_line_are_recognised() -> None:
    heads = learnt(get(b"/api"))
    assert heads.recognise(get(b"/apis?x=1")) == KnownHead(b"GET", b"/apis?x=1", b"stub.example.com", BLOCK)
    assert heads.recognise(b"DELETE /x HTTP/1.1\r\n" + LINES) is not None


@pytest.mark.parametrize(
    "data",
    [
        get(b"/api")[:-1],
        get(b"/api") + b"G",
        get(b"/api") + get(b"/api"),
        get(b"/api", b"Host: stub.example.com\r\nAccept:  */*\r\n\r\n"),
        b"GET /api HTTP/1.0\r\n" + LINES,
        b"GET  /api HTTP/1.1\r\n" + LINES,
        b"GET /a b HTTP/1.1\r\n" + LINES,
        b"CONNECT /api HTTP/1.1\r\n" + LINES,
        b"get /api HTTP/1.1\r\n" + LINES,
        b"GET http://a/api HTTP/1.1\r\n" + LINES,
        b"GET /a\nb HTTP/1.1\r\n" + LINES,
        b"\r\n" + get(b"/api"),
        b"",
    ],
)
def test_anything_else_is_parsed(data: bytes) -> None:
    assert learnt(get(b"/api")).recognise(data) is None


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        (get(b"/api")[:-2], FIELDS),
        (get(b"/api") + get(b"/api"), FIELDS),
        (b"\r\n" + get(b"/api"), FIELDS),
        (get(b"/other"), FIELDS),
        (get(b"/api", LINES.replace(b"\r\nA", b"\nA")), FIELDS),
        (get(b"/api", LINES.replace(b"*/*", b"*/*,\r\n b")), FIELDS),
        (get(b"/api", LINES), [*FIELDS, (b"Another", b"x")]),
        (get(b"/api", b"Host: a\r\nAuthorization: b\r\n\r\n"), [(b"Host", b"a"), (b"Authorization", b"b")]),
        (get(b"/api", b"Host: a\r\nCookie: b\r\n\r\n"), [(b"Host", b"a"), (b"Cookie", b"b")]),
        (get(b"/api", b"Host: a\r\nX: %b\r\n\r\n" % bytes(5000)), [(b"Host", b"a"), (b"X", bytes(5000))]),
    ],
)
def test_what_did_not_come_alone_whole_and_plain_is_not_remembered(data: bytes, fields: list[Field]) -> None:
    heads = learnt(data, fields)
    assert heads.recognise(data) is None
    assert not heads._known


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "CAPACITY", 3)
    heads = KnownHeads()
    for number in range(10):
        fields: list[Field] = [(b"Host", b"%d" % number)]
        heads.learn(get(b"/", b"Host: %d\r\n\r\n" % number), RequestHead(b"GET", b"/", fields), [])
    assert len(heads._known) <= 3
    assert heads.recognise(get(b"/", b"Host: 9\r\n\r\n")) is not None
