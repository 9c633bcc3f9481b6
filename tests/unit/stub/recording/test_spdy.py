"""What travels in an exec over SPDY."""

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stub.recording.dictionary import DICTIONARY
from stub.recording.spdy import BLOCK_BYTES, STREAMS, SpdyDecoder, Streams, read_fields
from stub.recording.stdio import OUTPUT, Stdio
from tests.fuzz.material import cut
from tests.kubesim.streaming.spdy import FrameEncoder
from tests.kubesim.streaming.spdy_frames import Data, Frame, Headers, Ping, RstStream, SynStream
from tests.unit.stub.recording.parts import Found, decoded, spdy_client, spdy_server

EVERYTHING = set(Stdio)


def both_ways(client: bytes, server: bytes) -> tuple[Found, str, Found, str]:
    """What both directions bring, the client's first."""
    streams: Streams = {}
    typed = decoded(SpdyDecoder({Stdio.STDIN, Stdio.RESIZE}, streams, from_client=True), [client])
    return *typed, *decoded(SpdyDecoder(OUTPUT, streams, from_client=False), [server])


def of_client(data: bytes) -> str:
    """What stops the decoder of the client's direction."""
    return decoded(SpdyDecoder(EVERYTHING, {}, from_client=True), [data])[1]


def encoded(*frames: Frame) -> bytes:
    encoder = FrameEncoder()
    return b"".join(encoder.encode(each) for each in frames)


def control(kind: int, body: bytes, *, version: int = 3) -> bytes:
    return struct.pack("!HHI", 0x8000 | version, kind, len(body)) + body


def syn_stream(block: bytes) -> bytes:
    return control(1, struct.pack("!IIH", 1, 0, 0) + block)


def compressed(plain: bytes, mode: int = zlib.Z_SYNC_FLUSH) -> bytes:
    compressor = zlib.compressobj(zdict=DICTIONARY)
    return compressor.compress(plain) + compressor.flush(mode)


def test_the_dictionary_is_the_drafts() -> None:
    assert zlib.adler32(DICTIONARY) == 0xE3C6A7C2  # what every SPDY/3 block names as its dictionary


def test_streams_are_told_apart_by_what_the_client_called_them() -> None:
    typed = spdy_client((Stdio.STDIN, b"in"), (Stdio.RESIZE, b"{}"), (Stdio.ERROR, b"?"))
    shown = spdy_server((Stdio.STDOUT, b"out"), (Stdio.ERROR, b"{}"), (Stdio.STDERR, b"err"))
    found, fault, output, other = both_ways(typed, shown)
    assert found == {Stdio.STDIN: b"in", Stdio.RESIZE: b"{}"}
    assert output == {Stdio.STDOUT: b"out", Stdio.STDERR: b"err"}
    assert (fault, other) == ("", "")


def test_the_context_of_compression_lasts_through_all_frames_with_fields() -> None:
    """kubectl's second stream is smaller than its first because of it; HEADERS and frames without fields come between."""
    frames = [
        SynStream(1, (("streamtype", "error"),)),
        Ping(1),
        Headers(1, (("later", "streamtype"),)),
        RstStream(1),
        SynStream(3, (("port", "80"), ("streamtype", "stdin"))),
        Data(3, b"typed"),
        Data(1, b"not"),
    ]
    assert both_ways(encoded(*frames), b"")[:2] == ({Stdio.STDIN: b"typed"}, "")


def test_what_the_client_never_named_is_output() -> None:
    """So that nobody keeps output from a recording by what only some servers understand."""
    frames = encoded(Data(5, b"shown"), Data(11, b" too"))
    assert both_ways(syn_stream(b"no zlib"), frames)[1:] == (
        "SPDY header fields do not decompress",
        {Stdio.STDOUT: b"shown too"},
        "",
    )


def test_a_stream_keeps_the_name_it_had_first() -> None:
    twice = encoded(SynStream(1, (("streamtype", "stdout"),)), SynStream(1, (("streamtype", "error"),)))
    assert both_ways(twice, encoded(Data(1, b"shown")))[2] == {Stdio.STDOUT: b"shown"}


def test_a_block_that_would_fill_memory_is_not_unpacked() -> None:
    bomb = compressed(b"\0" * (100 * BLOCK_BYTES))
    assert len(bomb) < BLOCK_BYTES
    assert "too long" in of_client(syn_stream(bomb))


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (control(1, b"", version=2), "SPDY/3"),
        (control(1, b"123456789"), "impossible length"),
        (control(8, b"\0" * (BLOCK_BYTES + 1)), "impossible length"),
        (syn_stream(compressed(b"\0\0\0\1")), "ends within"),
        (syn_stream(compressed(b"\0\0\0\1\0\0\0\x09short")), "longer than its frame"),
        (syn_stream(compressed(b"\0\0\0\0", zlib.Z_FINISH)), "the last ones"),
    ],
)
def test_what_breaks_the_protocol_is_said(data: bytes, fault: str) -> None:
    assert fault in of_client(data)


def test_a_client_cannot_open_streams_without_end() -> None:
    flood = [SynStream(number * 2 + 1, (("streamtype", "stdin"),)) for number in range(STREAMS + 1)]
    assert of_client(encoded(*flood)) == f"there are more than {STREAMS} SPDY streams"


def test_a_server_may_send_any_control_frame() -> None:
    sent = control(4, b"\0" * 70_000) + control(1, b"", version=2) + encoded(Data(5, b"shown"))
    assert both_ways(spdy_client(), sent)[2:] == ({Stdio.STDOUT: b"shown"}, "")


def test_of_two_values_and_two_fields_the_first_counts() -> None:
    texts = (b"a", b"1", b"a", b"2")
    block = b"\0\0\0\2" + b"".join(len(text).to_bytes(4) + text for text in texts)
    assert read_fields(block) == {b"a": b"1"}
    both = encoded(SynStream(1, (("streamtype", "stderr"), ("streamtype", "error"))))
    assert both_ways(both, encoded(Data(1, b"shown")))[2] == {Stdio.STDERR: b"shown"}


execs = st.lists(
    st.sampled_from(
        [
            SynStream(1, (("streamtype", "stdin"),)),
            SynStream(3, (("streamtype", "error"), ("other", "x" * 300))),
            Headers(1, (("more", "fields"),)),
            Ping(7),
            Data(1, b""),
            Data(1, b"typed"),
            Data(3, b"x" * 300),
            Data(9, b"unknown"),
        ]
    ),
    max_size=8,
).map(lambda frames: encoded(*frames))
damaged = st.tuples(execs, st.binary(max_size=4), st.integers(0, 400)).map(
    lambda parts: parts[0][: parts[2]] + parts[1] + parts[0][parts[2] :]
)


@given(execs | damaged | st.binary(max_size=60), st.integers(1, 9), st.booleans())
def test_how_bytes_are_cut_does_not_matter(data: bytes, size: int, from_client: bool) -> None:
    """Whole, byte by byte, or otherwise: the same is found and the same stops it, whatever the bytes are."""
    whole = decoded(SpdyDecoder(EVERYTHING, {}, from_client=from_client), [data])
    for pieces in (cut(data, 1), cut(data, size)):
        assert decoded(SpdyDecoder(EVERYTHING, {}, from_client=from_client), pieces) == whole
