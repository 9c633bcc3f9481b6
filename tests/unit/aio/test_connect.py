"""The reply to CONNECT, byte for byte, and what is made of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.fakes import FakeStream
from tunnel.aio.connect import (
    REPLY_HEAD_BYTES,
    Asked,
    BadReply,
    ConnectHandler,
    Proxy,
    ProxyFailed,
    Reply,
    ReplyHead,
)

PROXY = Proxy("proxy.corp", 3128)
KNOWN = Proxy("proxy.corp", 3128, authorization=lambda: b"Basic dTpw")
GRANTED = b"HTTP/1.1 200 Connection established\r\nVia: squid\r\n\r\n"


def asked(proxy: Proxy = PROXY) -> Asked:
    return Asked(proxy, "stub.example.com:8443")


def refusal(reply: bytes, proxy: Proxy = PROXY) -> str:
    with pytest.raises(ProxyFailed) as caught:
        asked(proxy).receive(reply)
    return str(caught.value)


# The request -------------------------------------------------------------------------------------


def test_the_request_names_the_far_end_and_nothing_else() -> None:
    assert asked().request == (
        b"CONNECT stub.example.com:8443 HTTP/1.1\r\nHost: stub.example.com:8443\r\n"
        b"User-Agent: cluster-tunnel\r\n\r\n"
    )


def test_a_proxy_with_credentials_is_told_them() -> None:
    assert b"\r\nProxy-Authorization: Basic dTpw\r\n\r\n" in asked(KNOWN).request


def test_a_proxy_shows_no_credentials() -> None:
    assert str(KNOWN) == "http://proxy.corp:3128"
    assert "dTpw" not in repr(KNOWN)
    assert str(Proxy("fd00::1", 3128)) == "http://[fd00::1]:3128"


# The reply ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "reply"),
    [
        (GRANTED, Reply(200, "Connection established")),
        (b"HTTP/1.0 200\r\n\r\n", Reply(200, "")),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + GRANTED, Reply(200, "Connection established")),
        (b"HTTP/1.1 403 No\xe4\x07\r\nContent-Length: 2\r\n\r\nno", Reply(403, "No??")),
        (
            b"HTTP/1.1 407 X\r\nProxy-Authenticate: Negotiate\r\nPROXY-authenticate:\tBasic realm=x\r\n\r\n",
            Reply(407, "X", ("negotiate", "basic")),
        ),
    ],
    ids=["granted", "no-reason", "interim", "unprintable", "schemes"],
)
def test_a_reply_is_the_same_whole_and_byte_by_byte(data: bytes, reply: Reply) -> None:
    assert ReplyHead().receive(data) == reply
    head = ReplyHead()
    found = [each for number in range(len(data)) if (each := head.receive(data[number : number + 1]))]
    assert found[0] == reply


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"SSH-2.0-OpenSSH_9.9\r\n", "does not speak HTTP/1.1"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "does not speak HTTP/1.1"),
        (b"HTTP/2 200\r\n\r\n", "does not speak HTTP/1.1"),
        (b"HTTP/1.1 20\r\n\r\n", "malformed status line"),
        (b"HTTP/1.1 999 X\r\n\r\n", "malformed status line"),
        (b"HTTP/1.1 200OK\r\n\r\n", "malformed status line"),
        (GRANTED + b"\x16\x03", "bytes behind its reply"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * REPLY_HEAD_BYTES, "more than 16 KiB"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * REPLY_HEAD_BYTES + b"\r\n\r\n", "more than 16 KiB"),
        (b"HTTP/1.1 100 OK\r\n\r\n" * 1000 + b"HTTP/1.1 1", None),
    ],
)
def test_what_is_no_reply_is_refused_as_soon_as_that_is_certain(data: bytes, words: str | None) -> None:
    if words is None:
        assert ReplyHead().receive(data) is None
        return
    with pytest.raises(BadReply, match=words):
        ReplyHead().receive(data)


@given(st.lists(st.binary(max_size=40) | st.sampled_from([b"HTTP/1.1 200 ", b"\r\n\r\n", b"HTTP/1."])))
def test_any_bytes_are_a_reply_or_none_or_refused(pieces: list[bytes]) -> None:
    head = ReplyHead()
    for piece in pieces:
        try:
            reply = head.receive(piece)
        except BadReply:
            return
        if reply is not None:
            assert 200 <= reply.status < 600
            return
        assert len(head._data) <= REPLY_HEAD_BYTES


# Refusals ----------------------------------------------------------------------------------------


def test_a_refusal_names_the_proxy_its_status_and_the_far_end() -> None:
    assert refusal(b"HTTP/1.1 403 Forbidden\r\n\r\n") == (
        "reach by proxy stub.example.com:8443: the proxy http://proxy.corp:3128 answered 403 Forbidden"
    )


def test_a_407_says_what_to_do() -> None:
    wanted = b"HTTP/1.1 407 Authentication Required\r\nProxy-Authenticate: Basic realm=x\r\n\r\n"
    assert "wants a user name and a password (in its URL, or --proxy-credentials)" in refusal(wanted)
    assert "refuses this user name or password" in refusal(wanted, KNOWN)
    kerberos = b"HTTP/1.1 407 X\r\nProxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM\r\n\r\n"
    assert "takes only negotiate, ntlm, and Basic is all" in refusal(kerberos, KNOWN)


# Over TLS ----------------------------------------------------------------------------------------


@pytest.fixture
async def handler() -> ConnectHandler:
    handler = ConnectHandler(PROXY, "stub:1")
    FakeStream().open(handler)
    return handler


def near(handler: ConnectHandler) -> FakeStream:
    assert isinstance(handler.stream, FakeStream)
    return handler.stream


async def test_a_granted_connection_is_handed_over_open(handler: ConnectHandler) -> None:
    assert near(handler).take().startswith(b"CONNECT stub:1 HTTP/1.1\r\n")
    near(handler).receive(GRANTED)
    await handler.wait(float("inf"))
    assert not near(handler).closing


@pytest.mark.parametrize(
    ("happens", "words"),
    [
        (lambda near: near.receive(b"HTTP/1.1 502 Bad Gateway\r\n\r\n"), "answered 502 Bad Gateway"),
        (lambda near: near.receive_end(), "closed the connection instead of answering"),
        (lambda near: near.lose(ConnectionResetError("reset")), "broke the connection: reset"),
        (lambda near: [near.receive(GRANTED), near.receive(b"x")], "bytes behind its reply"),
        (lambda near: [near.receive(GRANTED), near.lose()], "broke the connection: closed"),
    ],
)
async def test_a_connection_that_is_not_granted_is_closed_with_the_reason(
    handler: ConnectHandler, happens: object, words: str
) -> None:
    happens(near(handler))  # type: ignore[operator]
    with pytest.raises(ProxyFailed, match=words):
        await handler.wait(float("inf"))
    assert near(handler).closing
