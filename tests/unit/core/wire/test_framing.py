"""Frames are cut out of any sequence of chunks, and bounded by their headers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.core.properties import cuts, fed
from tunnel.core import limits
from tunnel.core.errors import LocalMisuse, PeerViolation
from tunnel.core.wire.framing import FRAME_HEADER, FrameBuffer, FrameType, encode_frame

frames = st.lists(st.tuples(st.sampled_from(FrameType), st.binary(max_size=60)), max_size=8)


def encoded(sequence: list[tuple[FrameType, bytes]]) -> bytes:
    return b"".join(encode_frame(kind, payload) for kind, payload in sequence)


def test_a_frame_is_a_type_a_big_endian_length_and_a_payload() -> None:
    assert encode_frame(FrameType.DATA, b"abc") == b"\x12\x00\x00\x00\x03abc"


@given(frames, cuts)
def test_frames_are_the_same_whole_byte_by_byte_and_in_any_pieces(
    sequence: list[tuple[FrameType, bytes]], sizes: list[int]
) -> None:
    data = encoded(sequence)
    expected = [(int(kind), payload) for kind, payload in sequence]
    assert list(FrameBuffer().receive(data)) == expected
    assert fed(FrameBuffer().receive, data, [1]) == expected
    assert fed(FrameBuffer().receive, data, sizes) == expected


@given(st.binary(max_size=200), cuts)
def test_garbage_yields_frames_or_a_violation(data: bytes, sizes: list[int]) -> None:
    try:
        fed(FrameBuffer(64).receive, data, sizes)
    except PeerViolation:
        return


def test_a_frame_that_is_not_whole_is_not_yielded() -> None:
    buffer = FrameBuffer()
    assert list(buffer.receive(encode_frame(FrameType.END) + b"\x12\x00\x00\x00\x02a")) == [(0x13, b"")]
    assert list(buffer.receive(b"b")) == [(0x12, b"ab")]


@pytest.mark.parametrize("cut", range(1, FRAME_HEADER.size))
def test_a_frame_that_announces_too_much_is_refused_on_its_header_alone(cut: int) -> None:
    header = FRAME_HEADER.pack(FrameType.HELLO, limits.FRAME_BYTES + 1)
    buffer = FrameBuffer()
    assert list(buffer.receive(header[:cut])) == []
    with pytest.raises(PeerViolation, match="announces 1048577 bytes"):
        list(buffer.receive(header[cut:]))


def test_the_largest_frame_is_taken() -> None:
    data = encode_frame(FrameType.HELLO, bytes(limits.FRAME_BYTES))
    [(kind, payload)] = FrameBuffer().receive(data)
    assert (kind, len(payload)) == (FrameType.HELLO, limits.FRAME_BYTES)


def test_a_frame_above_the_limit_is_not_written() -> None:
    with pytest.raises(LocalMisuse, match="REQUEST would have 1048577 bytes"):
        encode_frame(FrameType.REQUEST, bytes(limits.FRAME_BYTES + 1))


def test_frames_are_yielded_before_the_violation_behind_them() -> None:
    received = FrameBuffer(4).receive(encode_frame(FrameType.END) + FRAME_HEADER.pack(1, 5))
    assert next(received) == (FrameType.END, b"")
    with pytest.raises(PeerViolation):
        next(received)
