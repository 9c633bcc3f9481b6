import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.core.errors import BadGateway, BadRequest, ExpectationFailed
from tunnel.core.http.body import (
    CHUNK_END,
    CHUNKED,
    LAST_CHUNK,
    NONE,
    UNTIL_CLOSE,
    chunk_head,
    declared_length,
    expects_continue,
    request_body,
    request_framing,
    response_body,
    response_framing,
)
from tunnel.core.http.message import Field


def _length(value: bytes) -> Field:
    return b"Content-Length", value


def _coding(value: bytes) -> Field:
    return b"Transfer-Encoding", value


AMBIGUOUS: list[list[Field]] = [
    [_length(b"5"), _coding(b"chunked")],
    [_length(b"5"), (b"content-length", b"5")],
    [_length(b"5"), _length(b"6")],
    [_length(b"5, 5")],
    [_length(b"+5")],
    [_length(b"-1")],
    [_length(b"0x5")],
    [_length(b"1_0")],
    [_length(b"5 5")],
    [_length("\uff15".encode())],
    [_length(b"")],
    [_length(b"1" * 19)],
    [_coding(b"gzip, chunked")],
    [_coding(b"identity, chunked")],
    [_coding(b"chunked, identity")],
    [_coding(b"xchunked")],
    [_coding(b"chunked;a=b")],
    [_coding(b"identity")],
    [_coding(b"")],
    [_coding(b"chunked"), _coding(b"chunked")],
]


@pytest.mark.parametrize(
    ("fields", "length"),
    [
        ([], 0),
        ([_length(b"0")], 0),
        ([(b"CONTENT-length", b"1234 ")], 1234),
        ([_length(b"007")], 7),
        ([_coding(b"chunked")], CHUNKED),
        ([(b"transfer-ENCODING", b"Chunked\t")], CHUNKED),
    ],
)
def test_a_plain_request_body_has_a_length(fields: list[Field], length: int) -> None:
    assert request_body(True, fields) == length


@pytest.mark.parametrize("fields", AMBIGUOUS, ids=repr)
def test_an_ambiguous_request_body_is_refused_and_the_connection_ends(fields: list[Field]) -> None:
    with pytest.raises(BadRequest) as caught:
        request_body(True, fields)
    assert caught.value.close


def test_http_1_0_knows_lengths_but_no_chunks() -> None:
    assert request_body(False, [_length(b"3")]) == 3
    with pytest.raises(BadRequest, match=r"HTTP/1\.0"):
        request_body(False, [_coding(b"chunked")])


@pytest.mark.parametrize("body", [_length(b"1"), _coding(b"chunked")])
@pytest.mark.parametrize("sign", [(b"Upgrade", b"SPDY/3.1"), (b"Connection", b"keep-alive, UPGRADE")])
def test_an_upgrade_with_a_body_is_refused(sign: Field, body: Field) -> None:
    with pytest.raises(BadRequest, match="upgrade") as caught:
        request_body(True, [sign, body])
    assert caught.value.close


def test_an_upgrade_that_says_its_body_is_empty_passes() -> None:
    assert request_body(True, [(b"Connection", b"Upgrade"), (b"Upgrade", b"SPDY/3.1"), _length(b"0")]) == 0


@pytest.mark.parametrize(("method", "status"), [(b"HEAD", 200), (b"GET", 204), (b"GET", 304), (b"GET", 103)])
def test_some_responses_have_no_body_whatever_they_say(method: bytes, status: int) -> None:
    assert response_body(method, status, [_length(b"5")]) == NONE
    assert response_body(method, status, [_coding(b"chunked")]) == NONE


@pytest.mark.parametrize(
    ("fields", "length"), [([], UNTIL_CLOSE), ([_length(b"12")], 12), ([_coding(b"chunked")], CHUNKED)]
)
def test_any_other_response_has_a_length_chunks_or_the_connections_end(
    fields: list[Field], length: int
) -> None:
    assert response_body(b"GET", 200, fields) == length


@pytest.mark.parametrize("fields", AMBIGUOUS, ids=repr)
def test_an_ambiguous_response_is_a_bad_gateway(fields: list[Field]) -> None:
    with pytest.raises(BadGateway, match="ambiguous"):
        response_body(b"GET", 200, fields)


def test_the_length_that_a_head_response_tells_is_kept_if_it_is_one() -> None:
    assert declared_length([_length(b"12")]) == 12
    assert declared_length([]) is None
    assert declared_length([_length(b"1"), _length(b"2")]) is None


def test_framing_is_written_anew() -> None:
    assert request_framing(b"GET", 0) == []
    assert request_framing(b"POST", 0) == [_length(b"0")]
    assert request_framing(b"DELETE", 2) == [_length(b"2")]
    assert request_framing(b"GET", CHUNKED) == [_coding(b"chunked")]
    assert response_framing(0) == [_length(b"0")]
    assert response_framing(CHUNKED) == [_coding(b"chunked")]
    assert response_framing(NONE) == response_framing(UNTIL_CLOSE) == []


@given(st.integers(0, 10**18 - 1))
def test_what_is_written_is_read_as_the_same_length(length: int) -> None:
    assert request_body(True, request_framing(b"POST", length)) == length
    assert response_body(b"GET", 200, response_framing(length)) == length


def test_a_chunk_is_its_size_in_hex_and_never_empty() -> None:
    assert chunk_head(1) + b"x" + CHUNK_END + LAST_CHUNK == b"1\r\nx\r\n0\r\n\r\n"
    assert chunk_head(65536) == b"10000\r\n"
    for size in (0, -1):
        with pytest.raises(ValueError, match="chunk"):
            chunk_head(size)


def test_only_100_continue_is_an_expectation_that_is_met() -> None:
    assert expects_continue(True, [(b"expect", b"100-Continue ")])
    assert not expects_continue(False, [(b"Expect", b"100-continue")])
    assert not expects_continue(True, [(b"Accept", b"100-continue")])
    for value in (b"200-ok", b"", b"100-continue, x"):
        with pytest.raises(ExpectationFailed) as caught:
            expects_continue(True, [(b"Expect", value)])
        assert caught.value.close
