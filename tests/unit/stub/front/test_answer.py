"""How a response is framed for the client, whatever the agent says."""

import pytest

from stub.front.answer import AnswerWriter
from tests.unit.fakes import FakeStream
from tunnel.core.http.message import ResponseHead
from tunnel.core.identifiers import RequestId
from tunnel.core.wire.exchange import BODY_UNKNOWN, Head


def written(
    status: int = 200,
    length: int = BODY_UNKNOWN,
    *pieces: bytes,
    bodiless: bool = False,
    version_1_1: bool = True,
    keep_alive: bool = True,
) -> tuple[bytes, AnswerWriter]:
    """Write one response; return what reached the client."""
    stream = FakeStream()
    answer = AnswerWriter(stream, version_1_1=version_1_1, keep_alive=keep_alive)
    answer.start(Head(RequestId(1), ResponseHead(status, []), length, bodiless), b"X-A: 1\r\n")
    for piece in pieces:
        answer.data(memoryview(piece))
    answer.end()
    return stream.take(), answer


def test_a_known_length_is_told_and_the_bytes_are_untouched() -> None:
    data, answer = written(200, 5, b"ab", b"cde")
    assert data == b"HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: 5\r\n\r\nabcde"
    assert (answer.status, answer.bytes_sent, answer.keep_alive) == (200, 5, True)


def test_an_empty_body_has_a_length() -> None:
    assert written(200, 0)[0].endswith(b"Content-Length: 0\r\n\r\n")


def test_an_unknown_length_becomes_chunks_one_for_each_piece() -> None:
    data, answer = written(200, BODY_UNKNOWN, b"ab", b"x" * 17)
    assert data == (
        b"HTTP/1.1 200 OK\r\nX-A: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"2\r\nab\r\n11\r\nxxxxxxxxxxxxxxxxx\r\n0\r\n\r\n"
    )
    assert answer.bytes_sent == 19


def test_a_body_that_is_not_ended_has_no_last_chunk() -> None:
    stream = FakeStream()
    answer = AnswerWriter(stream, version_1_1=True, keep_alive=True)
    answer.start(Head(RequestId(1), ResponseHead(200, [])), b"")
    answer.data(memoryview(b"ab"))
    assert stream.take().endswith(b"\r\n\r\n2\r\nab\r\n")


def test_an_http_1_0_client_gets_an_unknown_length_until_the_connection_closes() -> None:
    data, answer = written(200, BODY_UNKNOWN, b"ab", version_1_1=False)
    assert data == b"HTTP/1.1 200 OK\r\nX-A: 1\r\nConnection: close\r\n\r\nab"
    assert not answer.keep_alive


def test_an_http_1_0_client_that_keeps_alive_is_told_so() -> None:
    assert b"\r\nConnection: keep-alive\r\n" in written(200, 2, b"ab", version_1_1=False)[0]


def test_a_connection_that_ends_says_so() -> None:
    assert b"\r\nConnection: close\r\n" in written(200, 0, keep_alive=False)[0]


@pytest.mark.parametrize(
    ("status", "length", "framing"),
    [
        (200, 1234, b"Content-Length: 1234\r\n"),  # to a HEAD
        (200, BODY_UNKNOWN, b""),
        (304, 77, b"Content-Length: 77\r\n"),
        (204, BODY_UNKNOWN, b""),
        (204, 77, b""),  # RFC 9110 8.6 forbids it, and a client that believed it would wait for a body
    ],
)
def test_a_response_without_a_body_announces_what_it_may(status: int, length: int, framing: bytes) -> None:
    data, _ = written(status, length, bodiless=True)
    assert data.partition(b"X-A: 1\r\n")[2] == framing + b"\r\n"


def test_an_answer_of_the_stubs_own_is_whole() -> None:
    stream = FakeStream()
    answer = AnswerWriter(stream, version_1_1=True, keep_alive=True)
    answer.whole(503, [], b"sorry\n", bodiless=False)
    assert stream.take() == b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 6\r\n\r\nsorry\n"
    assert (answer.status, answer.bytes_sent) == (503, 6)


def test_to_a_head_an_answer_of_the_stubs_own_is_its_head_alone() -> None:
    stream = FakeStream()
    answer = AnswerWriter(stream, version_1_1=True, keep_alive=True)
    answer.whole(404, [], b"sorry\n", bodiless=True)
    assert stream.take().endswith(b"Content-Length: 6\r\n\r\n")
    assert answer.bytes_sent == 0


def test_the_fields_given_are_not_changed() -> None:
    fields = [(b"A", b"1")]
    AnswerWriter(FakeStream(), version_1_1=True, keep_alive=False).whole(200, fields, b"", bodiless=False)
    assert fields == [(b"A", b"1")]
