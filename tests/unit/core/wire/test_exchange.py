"""The packed frames of a request and a response: what is written is read back, what contradicts itself is refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.core import limits
from tunnel.core.errors import LocalMisuse, PeerViolation
from tunnel.core.http.message import RequestHead, ResponseHead
from tunnel.core.identifiers import RequestId
from tunnel.core.wire.exchange import BODY_UNKNOWN, Cancel, Head, Refused, Request, caller_pairs
from tunnel.core.wire.framing import FRAME_HEADER, FrameType
from tunnel.core.wire.pairs import encode_pairs

words = st.binary(max_size=10).filter(lambda word: b"\0" not in word)
fields = st.lists(st.tuples(words, words), max_size=4)
ids = st.integers(1, 2**64 - 1).map(RequestId)
FIXED = 49
"""Bytes of a REQUEST in front of its caller block."""


def payload(frame: bytes) -> bytes:
    return frame[FRAME_HEADER.size :]


def request(**changes: Any) -> Request:
    head = RequestHead(b"GET", b"/api/v1/pods", [(b"Accept", b"*/*")])
    return Request(
        **{"id": RequestId(1), "epoch": 2, "audit": b"a" * 16, "head": head, "caller": b"", **changes}
    )


requests = st.builds(
    Request,
    id=ids,
    epoch=st.integers(0, 2**64 - 1),
    audit=st.binary(min_size=16, max_size=16),
    head=st.builds(RequestHead, words.filter(bool), words, fields),
    caller=st.binary(max_size=30),
    upgrade=st.booleans(),
)


@given(requests, st.binary(max_size=20))
def test_a_request_with_an_inline_body_is_read_back(one: Request, body: bytes) -> None:
    one.body, one.body_length = body, len(body)
    assert Request.decode(payload(one.encode())) == one


@given(requests, st.integers(BODY_UNKNOWN, 2**63 - 1))
def test_a_request_whose_body_follows_is_read_back(one: Request, length: int) -> None:
    one.body_stream, one.body_length = True, length
    assert Request.decode(payload(one.encode())) == one


@given(st.binary(max_size=200), st.sampled_from([Request, Cancel, Refused, Head]))
def test_garbage_yields_a_message_or_a_violation(data: bytes, kind: Any) -> None:
    try:
        kind.decode(data)
    except PeerViolation:
        return


@given(requests, st.integers(0, 60), st.integers(0, 255))
def test_a_request_with_one_byte_changed_is_a_request_or_a_violation(
    one: Request, place: int, byte: int
) -> None:
    data = bytearray(payload(one.encode()))
    data[place % len(data)] = byte
    try:
        Request.decode(bytes(data))
    except PeerViolation:
        return


def test_the_fixed_part_of_a_request_is_49_bytes() -> None:
    assert len(payload(request(head=RequestHead(b"", b"", [])).encode())) == FIXED + len(b"\0")


@pytest.mark.parametrize("cut", [0, 1, FIXED - 1])
def test_a_request_shorter_than_its_fixed_part_is_refused(cut: int) -> None:
    with pytest.raises(PeerViolation, match="too short"):
        Request.decode(payload(request().encode())[:cut])


def test_a_request_whose_blocks_do_not_fit_is_refused() -> None:
    with pytest.raises(PeerViolation, match="contradicts its own lengths"):
        Request.decode(payload(request().encode())[:-1])


def test_a_request_number_zero_is_refused() -> None:
    with pytest.raises(PeerViolation, match="contradicts"):
        Request.decode(payload(request(id=0).encode()))


@pytest.mark.parametrize(
    "changes",
    [
        {"body": b"abc", "body_length": 2},
        {"body": b"abc", "body_length": BODY_UNKNOWN},
        {"body": b"abc", "body_length": 3, "body_stream": True},
        {"body": b"", "body_length": 1},
    ],
)
def test_an_inline_body_of_another_length_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(PeerViolation, match="not as long as it says"):
        Request.decode(payload(request(**changes).encode()))


def test_an_inline_body_above_its_limit_is_refused() -> None:
    largest = bytes(limits.INLINE_BODY_BYTES)
    assert Request.decode(payload(request(body=largest, body_length=len(largest)).encode())).body == largest
    larger = largest + b"x"
    with pytest.raises(PeerViolation, match="too long to be inline"):
        Request.decode(payload(request(body=larger, body_length=len(larger)).encode()))


def test_a_request_above_a_frame_is_not_written() -> None:
    with pytest.raises(LocalMisuse, match="REQUEST would have"):
        request(caller=bytes(limits.FRAME_BYTES)).encode()


def test_a_caller_block_is_pairs() -> None:
    block = encode_pairs(pairs=[(b"user", b"ann"), (b"group", b"dev"), (b"group", b"ops")])
    assert caller_pairs(block) == [(b"user", b"ann"), (b"group", b"dev"), (b"group", b"ops")]
    with pytest.raises(PeerViolation):
        caller_pairs(b"user")


@given(ids)
def test_a_cancel_is_read_back(number: RequestId) -> None:
    assert Cancel.decode(payload(Cancel(number).encode())) == Cancel(number)


@pytest.mark.parametrize("data", [b"", bytes(7), bytes(9)])
def test_a_cancel_that_is_not_one_id_is_refused(data: bytes) -> None:
    with pytest.raises(PeerViolation, match="CANCEL"):
        Cancel.decode(data)


@given(
    ids, st.booleans(), st.integers(400, 599), st.text(max_size=40).filter(lambda text: text.isprintable())
)
def test_a_refusal_is_read_back(number: RequestId, retryable: bool, code: int, message: str) -> None:
    refused = Refused(number, retryable, code, message)
    assert Refused.decode(payload(refused.encode())) == refused


@pytest.mark.parametrize("code", [0, 200, 399, 600, 65535])
def test_a_refusal_with_a_status_that_is_no_error_is_refused(code: int) -> None:
    with pytest.raises(PeerViolation, match=f"REFUSED with status {code}"):
        Refused.decode(payload(Refused(RequestId(1), True, code, "").encode()))


def test_a_long_refusal_is_cut_between_two_characters() -> None:
    message = "x" + "ä" * limits.REFUSAL_BYTES
    read = Refused.decode(payload(Refused(RequestId(1), False, 502, message).encode()))
    assert read.message == "x" + "ä" * (limits.REFUSAL_BYTES // 2 - 1)


def test_a_refusal_that_is_no_utf_8_is_as_long_as_another_at_most() -> None:
    head = payload(Refused(RequestId(1), False, 502, "").encode())
    read = Refused.decode(head + b"\xff" * limits.REFUSAL_BYTES)
    assert read.message == "\ufffd" * (limits.REFUSAL_BYTES // 3)
    assert Refused.decode(payload(read.encode())) == read


def test_a_refusal_with_a_lone_surrogate_is_written_all_the_same() -> None:
    assert Refused.decode(payload(Refused(RequestId(1), False, 502, "a\udc80").encode())).message == "a?"


@pytest.mark.parametrize("size", [0, 10, 11 + limits.REFUSAL_BYTES + 1])
def test_a_refusal_too_short_or_too_long_is_refused(size: int) -> None:
    with pytest.raises(PeerViolation, match="wrong length"):
        Refused.decode(bytes(size))


heads = st.builds(
    Head,
    ids,
    st.builds(ResponseHead, st.just(101) | st.integers(200, 599), fields),
    st.integers(BODY_UNKNOWN, 2**63 - 1),
    st.booleans(),
)


@given(heads)
def test_a_response_head_is_read_back(head: Head) -> None:
    assert Head.decode(payload(head.encode())) == head


@pytest.mark.parametrize("status", [0, 99, 100, 102, 103, 199, 600, 999])
def test_a_response_head_with_an_interim_or_impossible_status_is_refused(status: int) -> None:
    with pytest.raises(PeerViolation, match=f"HEAD with status {status}"):
        Head.decode(payload(Head(RequestId(1), ResponseHead(status, [])).encode()))


def test_a_response_head_with_a_negative_length_is_refused() -> None:
    with pytest.raises(PeerViolation, match="length -2"):
        Head.decode(payload(Head(RequestId(1), ResponseHead(200, []), -2).encode()))


def test_a_response_head_that_is_cut_is_refused() -> None:
    with pytest.raises(PeerViolation, match="too short"):
        Head.decode(payload(Head(RequestId(1), ResponseHead(200, [])).encode())[:-1])


def test_a_response_head_above_its_limit_is_not_written() -> None:
    large = [(b"a", b"b" * limits.RESPONSE_HEAD_BYTES)]
    with pytest.raises(LocalMisuse, match="HEAD would have"):
        Head(RequestId(1), ResponseHead(200, large)).encode()


@pytest.mark.parametrize(
    ("length", "bodiless", "small"),
    [
        (0, False, True),
        (limits.SMALL_RESPONSE_BYTES, False, True),
        (limits.SMALL_RESPONSE_BYTES + 1, False, False),
        (BODY_UNKNOWN, False, False),
        (BODY_UNKNOWN, True, True),
        (2**40, True, True),
    ],
)
def test_a_response_is_small_by_what_it_announces(length: int, bodiless: bool, small: bool) -> None:
    assert Head(RequestId(1), ResponseHead(200, []), length, bodiless).small is small


def test_the_frame_types_are_those_of_the_messages() -> None:
    kinds = [
        request().encode()[0],
        Cancel(RequestId(1)).encode()[0],
        Head(RequestId(1), ResponseHead(200, [])).encode()[0],
    ]
    assert kinds == [FrameType.REQUEST, FrameType.CANCEL, FrameType.HEAD]
