"""One request and its whole answer, over a connection that the test holds."""

import asyncio

import pytest

from certs.call import Answer, Call, CallFailed, Request
from tests.unit.fakes import FakeStream, settle

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


async def answered(*pieces: bytes, end: bool = True, limit: int = 1000) -> Answer:
    """What a call makes of these bytes."""
    call, stream = Call(Request("stub", "/x", b"{}"), limit), FakeStream()
    stream.open(call)
    for piece in pieces:
        stream.receive(piece)
    if end:
        stream.receive_end()
    else:
        stream.lose(ConnectionResetError("reset by peer"))
    try:
        return await call.answer()
    finally:
        assert stream.aborted


async def test_a_request_is_one_json_post_that_ends_its_connection() -> None:
    stream = FakeStream()
    stream.open(Call(Request("stub:8443", "/x", b'{"a": 1}', [(b"Accept-Language", b"de")])))
    head, _, body = stream.take().partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /x HTTP/1.1"
    assert {"Host: stub:8443", "Connection: close", "Content-Length: 8", "Accept-Language: de"} <= set(lines)
    assert body == b'{"a": 1}'


async def test_without_a_body_it_is_a_get() -> None:
    stream = FakeStream()
    stream.open(Call(Request("stub", "/x")))
    assert stream.take().startswith(b"GET /x HTTP/1.1\r\n")
    assert b"Content-" not in stream.take()


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_an_answer_is_the_same_in_whatever_pieces_it_comes(size: int) -> None:
    assert await answered(*(OK[at : at + size] for at in range(0, len(OK), size))) == Answer(200, b"{}")


async def test_a_chunked_answer_is_put_together() -> None:
    head = b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert await answered(head, b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n") == Answer(403, b"{}")


async def test_a_whole_answer_counts_however_the_connection_ends() -> None:
    """Many servers close without TLS's own end."""
    assert await answered(OK, end=False) == Answer(200, b"{}")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        OK[:-1],
        b"HTTP/1.1 200 OK\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200 + b"\r\n",
    ],
)
async def test_what_is_not_one_whole_answer_fails(data: bytes) -> None:
    with pytest.raises(CallFailed, match="not one whole HTTP answer"):
        await answered(data, limit=10_000)


async def test_a_broken_connection_says_why() -> None:
    with pytest.raises(CallFailed, match="reset by peer"):
        await answered(OK[:-1], end=False)


async def test_an_answer_without_end_is_given_up() -> None:
    with pytest.raises(CallFailed, match="larger than 100 bytes"):
        await answered(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"x" * 100, limit=100)


async def test_a_call_that_is_cancelled_closes_its_connection() -> None:
    call, stream = Call(Request("stub", "/x")), FakeStream()
    stream.open(call)
    waiting = asyncio.get_running_loop().create_task(call.answer())
    await settle()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert stream.aborted
