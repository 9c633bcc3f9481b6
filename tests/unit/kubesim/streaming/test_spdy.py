"""The SPDY/3.1 codec."""

import zlib
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kubesim.streaming.dictionary import DICTIONARY
from tests.kubesim.streaming.spdy import (
    CONTROL_FRAME_BYTES,
    DATA_FRAME_BYTES,
    FrameDecoder,
    FrameEncoder,
    SpdyViolation,
)
from tests.kubesim.streaming.spdy_frames import (
    Data,
    Frame,
    GoAway,
    Headers,
    Ping,
    RstStream,
    Settings,
    SynReply,
    SynStream,
    WindowUpdate,
)

FRAMES: list[Frame] = [
    SynStream(1, (("streamtype", "error"), ("port", "80"))),
    SynStream(3, (), fin=True, priority=5, associated_id=1),
    SynReply(1),
    SynReply(3, (("a", "1"), ("a", "2"), ("b", "")), fin=True),
    Headers(1, (("x", "y" * 1000),)),
    Data(1, b"payload"),
    Data(3, b"", fin=True),
    RstStream(1, 5),
    Settings(((4, 100), (7, 65536))),
    Ping(1),
    GoAway(7, 1),
    WindowUpdate(1, 4096),
]

KUBECTL_1_27_EXEC = bytes.fromhex(
    "80030001000000290000000100000000000078f9e3c6a7c26260606004a7b392a2d4c45c6851c29a0a0a6800000000ffff"
    "800300010000001900000003000000000000c22ac5565c92925f5a02000000ffff"
    "800300010000001500000005000000000000c229975a5404000000ffff"
)


def encode(frames: list[Frame]) -> bytes:
    encoder = FrameEncoder()
    return b"".join(map(encoder.encode, frames))


def decode(*pieces: bytes) -> list[Frame]:
    """Decode, and join the pieces in which DATA may come."""
    decoder = FrameDecoder()
    frames: list[Frame] = []
    for piece in pieces:
        decoder.feed(piece)
        for frame in decoder.frames():
            match frame, frames[-1:]:
                case Data(number, payload, fin), [Data(same, earlier, False)] if number == same:
                    frames[-1] = Data(number, earlier + payload, fin)
                case _:
                    frames.append(frame)
    return frames


def raw(kind: int, body: bytes, version: int = 3) -> bytes:
    return (0x80000000 | version << 16 | kind).to_bytes(4, "big") + len(body).to_bytes(4, "big") + body


def block(plain: bytes) -> bytes:
    compressor = zlib.compressobj(zdict=DICTIONARY)
    return compressor.compress(plain) + compressor.flush(zlib.Z_SYNC_FLUSH)


def syn_reply(plain: bytes) -> bytes:
    return raw(2, (1).to_bytes(4, "big") + block(plain))


def word(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(4, "big") for number in numbers)


def test_the_dictionary_has_the_identifier_every_spdy3_peer_announces() -> None:
    assert zlib.adler32(DICTIONARY) == 0xE3C6A7C2


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: type(frame).__name__)
def test_a_frame_survives_encoding_and_decoding(frame: Frame) -> None:
    assert decode(encode([frame])) == [frame]


def test_the_compressor_lives_as_long_as_the_connection() -> None:
    assert decode(encode(FRAMES)) == FRAMES


def test_the_streams_that_kubectl_opens_for_an_exec_are_understood() -> None:
    opened = decode(KUBECTL_1_27_EXEC)
    assert opened == [
        SynStream(number, (("streamtype", name),))
        for number, name in ((1, "error"), (3, "stdout"), (5, "stderr"))
    ]


@given(st.lists(st.integers(0, len(encode(FRAMES))), max_size=8).map(sorted))
def test_where_the_bytes_are_split_makes_no_difference(cuts: list[int]) -> None:
    whole = encode(FRAMES)
    pieces = [whole[start:end] for start, end in pairwise([0, *cuts, len(whole)])]
    assert decode(*pieces) == FRAMES


def test_a_data_frame_is_handed_on_as_it_arrives_and_ends_once() -> None:
    whole = FrameEncoder().encode(Data(9, b"abcdef", fin=True))
    decoder = FrameDecoder()
    decoder.feed(whole[:10])
    assert list(decoder.frames()) == [Data(9, b"ab")]
    decoder.feed(whole[10:])
    assert list(decoder.frames()) == [Data(9, b"cdef", fin=True)]


def test_an_unknown_control_frame_is_skipped() -> None:
    assert decode(raw(10, b"credential") + encode([Ping(1)])) == [Ping(1)]


def test_a_payload_above_24_bits_of_length_is_not_encoded() -> None:
    with pytest.raises(ValueError, match="DATA of"):
        FrameEncoder().encode(Data(1, bytes(DATA_FRAME_BYTES + 1)))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (raw(6, word(1), version=2), "SPDY version 2"),
        (word(0x80030006, CONTROL_FRAME_BYTES + 1), "control frame of"),
        (raw(6, b"\0\0"), "PING has the wrong length"),
        (raw(3, word(1)), "RST_STREAM has the wrong length"),
        (raw(1, word(1)), "SYN_STREAM has the wrong length"),
        (raw(3, word(0, 5)), "stream 0"),
        (word(0, 1) + b"x", "DATA for stream 0"),
        (raw(4, word(2, 1, 1)), "SETTINGS with 2 entries"),
        (raw(2, word(1) + b"not zlib"), "does not decompress"),
        (syn_reply(word(1, 100) + b"short"), "longer than its block"),
        (syn_reply(word(2, 1) + b"a" + word(1) + b"b"), "wrong length"),
        (syn_reply(word(0) + b"rest"), "bytes behind"),
        (syn_reply(word(1, 1) + b"a" + word(1 << 20) + bytes(1 << 20)), "header block above"),
    ],
)
def test_malformed_bytes_are_refused_with_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(SpdyViolation, match=reason):
        decode(data)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_decode_or_are_a_violation_and_nothing_else(data: bytes) -> None:
    with suppress(SpdyViolation):
        decode(b"\x80\x03\x00" + data)
