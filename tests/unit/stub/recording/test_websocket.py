"""What travels in an exec over WebSocket."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stub.recording.stdio import OUTPUT, Stdio
from stub.recording.websocket import WebSocketDecoder, unmasked
from tests.fuzz.material import cut
from tests.unit.stub.recording.parts import Found, decoded, frame, message

MASK = b"\x01\xff\x00\x7f"
INPUT = {Stdio.STDIN, Stdio.RESIZE}


def of_server(*frames: bytes, coded: bool = False) -> tuple[Found, str]:
    return decoded(WebSocketDecoder(OUTPUT, from_client=False, base64=coded), [b"".join(frames)])


def of_client(*frames: bytes) -> tuple[Found, str]:
    return decoded(WebSocketDecoder(INPUT, from_client=True), [b"".join(frames)])


def test_output_is_found_and_nothing_else() -> None:
    sent = [message(stdio, stdio.name.encode()) for stdio in Stdio]
    assert of_server(*sent) == ({Stdio.STDOUT: b"STDOUT", Stdio.STDERR: b"STDERR"}, "")


@pytest.mark.parametrize("size", [0, 1, 124, 125, 65534, 65535, 100_000])
def test_every_form_of_length_is_read(size: int) -> None:
    found, fault = of_server(message(Stdio.STDOUT, b"x" * size), message(Stdio.STDOUT, b"end"))
    assert (found, fault) == ({Stdio.STDOUT: b"x" * size + b"end"}, "")


def test_a_clients_mask_is_taken_off() -> None:
    typed = [
        message(Stdio.STDIN, b"a long word", mask=MASK),
        message(Stdio.RESIZE, b"{}", mask=b"\xaa\xbb\xcc\xdd"),
        frame(b"\xff\x00", mask=MASK),  # v5: the end of stdin
    ]
    assert of_client(*typed) == ({Stdio.STDIN: b"a long word", Stdio.RESIZE: b"{}"}, "")


@given(st.binary(min_size=1, max_size=40), st.binary(min_size=4, max_size=4), st.integers(0, 40))
def test_a_mask_goes_on_where_the_last_piece_ended(data: bytes, mask: bytes, at: int) -> None:
    expected = bytes(byte ^ mask[(at + index) % 4] for index, byte in enumerate(data))
    assert unmasked(memoryview(data), mask, at) == expected


def test_a_message_in_pieces_is_one_whose_stream_is_named_once() -> None:
    """Also where a ping comes in the middle, and where the first piece is empty."""
    pieces = [
        frame(b"", fin=False),
        frame(b"\x01one", opcode=0, fin=False),
        frame(b"\x02\x02", opcode=9),
        frame(b"\x02two", opcode=0),
    ]
    assert of_server(*pieces, message(2, b"err")) == ({Stdio.STDOUT: b"one\x02two", Stdio.STDERR: b"err"}, "")


def test_a_client_cannot_hide_input_in_a_piece_that_servers_read_in_two_ways() -> None:
    """For a kubelet the second frame is a message of its own, to stdin; joined it would be a terminal's size."""
    hidden = [frame(b"\x04", fin=False, mask=MASK), frame(b"\x00rm -rf /\n", opcode=0, mask=MASK)]
    assert of_client(*hidden) == ({Stdio.STDIN: b"\x00rm -rf /\n"}, "")


def test_base64_is_read_message_by_message() -> None:
    words = [b"x", b"xy", b"xyz", b"", b"\x00\xff"]
    sent = [frame(b"1" + base64.b64encode(word), opcode=1) for word in words]
    sent.append(frame(b"2" + base64.b64encode(b"err"), opcode=1))
    assert of_server(*sent, coded=True) == ({Stdio.STDOUT: b"".join(words), Stdio.STDERR: b"err"}, "")


@pytest.mark.parametrize("text", [b"1TX", b"1T*==", b"1TXk=TXk=", b"1T==="])
def test_what_is_not_base64_is_said(text: bytes) -> None:
    assert "base64" in of_server(frame(text), coded=True)[1]


@pytest.mark.parametrize(
    ("sent", "fault"),
    [
        (b"\xc2\x01\x01", "extension"),
        (b"\x83\x01\x01", "extension"),
        (b"\x89\x7e\x01\x00", "control frame"),
        (b"\x09\x00", "control frame"),
        (b"\x80\x01\x01", "where it cannot"),
        (b"\x02\x01\x01\x82\x01\x01", "where it cannot"),
        (b"\x82\x7f" + b"\xff" * 8, "impossible length"),
    ],
)
def test_what_breaks_the_protocol_is_said(sent: bytes, fault: str) -> None:
    assert fault in of_server(sent)[1]


frames = st.builds(
    frame,
    st.binary(max_size=20) | st.binary(min_size=120, max_size=130),
    opcode=st.sampled_from([0, 1, 2, 2, 2, 8, 9, 10, 3]),
    fin=st.booleans(),
    mask=st.sampled_from([b"", MASK]),
)
streams = st.lists(frames, max_size=6).map(b"".join) | st.binary(max_size=60)


@given(streams, st.integers(1, 9), st.booleans(), st.booleans())
def test_how_bytes_are_cut_does_not_matter(data: bytes, size: int, from_client: bool, coded: bool) -> None:
    """Whole, byte by byte, or otherwise: the same is found and the same stops it, whatever the bytes are."""

    def decoder() -> WebSocketDecoder:
        return WebSocketDecoder(set(Stdio), from_client=from_client, base64=coded)

    whole, fault = decoded(decoder(), [data])
    for pieces in (cut(data, 1), cut(data, size)):
        found, same = decoded(decoder(), pieces)
        assert same == fault
        # Of base64 what stands in front of the fault is found or not, by where the cut is.
        assert found == whole or (coded and fault)
