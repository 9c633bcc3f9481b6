"""Target: what is recorded of an exec, from the bytes of either direction to the lines of the recording."""

import json
import struct
import zlib
from collections.abc import Iterable

from stub.recording.asciicast import Asciicast, Happening, Subject
from stub.recording.dictionary import DICTIONARY
from stub.recording.spdy import BLOCK_BYTES, SpdyDecoder
from stub.recording.stdio import Decoder, Stdio, Undecodable
from stub.recording.websocket import WebSocketDecoder
from tests.fuzz.material import Material, cut

SEEDS = (
    b"\0\1\x82\x06\1hello\x89\0\x02\x03\2ab\x80\x01c",
    b"\1\2\x82\x86mask\x6dHello",
    b"\2\1\x81\x05\x31aGk=",
    b"\4\3\0\0\0\5\0\0\0\3abc\x80\3\0\6\0\0\0\4\0\0\0\1",
    b"\7\1\x21\0\0\0\1\0\0\0\x0astreamtype\0\0\0\5stdin\0\0\0\1\0\0\0\3abc",
    b"\0\1\x82\x1c\4" + b'{"Width":100,"Height":50}\n',
)
SUBJECT = Subject("jane@blue prod/web-1", "sh", tty=True)


def make_decoder(mode: int) -> Decoder:
    """The decoder of one direction of one protocol, which wants everything."""
    from_client = bool(mode & 1)
    if mode & 4:
        return SpdyDecoder(set(Stdio), {}, from_client=from_client)
    return WebSocketDecoder(set(Stdio), from_client=from_client, base64=bool(mode & 2))


def spdy_stream(material: Material) -> bytes:
    """SYN_STREAMs whose header blocks are compressed as they should be, with anything between and in them."""
    compressor = zlib.compressobj(zdict=DICTIONARY)
    stream = b""
    while block := material.take(material.byte()):
        packed = compressor.compress(block) + compressor.flush(zlib.Z_SYNC_FLUSH)
        stream += struct.pack("!HHIIIH", 0x8003, 1, len(packed) + 10, 1, 0, 0) + packed
        stream += material.take(material.byte() % 16)
    return stream


def pieces(decoder: Decoder, chunks: Iterable[bytes]) -> tuple[list[tuple[Stdio, bytes]], str]:
    """What is found, joined where a cut may lie, and what stops it."""
    found: list[tuple[Stdio, bytes]] = []
    try:
        for chunk in chunks:
            for stdio, piece in decoder.receive(memoryview(chunk)):
                assert piece, "a piece without bytes"
                if found and found[-1][0] is stdio:
                    found[-1] = (stdio, found[-1][1] + piece)
                else:
                    found.append((stdio, piece))
            assert held(decoder) <= BLOCK_BYTES
    except Undecodable as fault:
        return found, str(fault)
    return found, ""


def held(decoder: Decoder) -> int:
    """How many bytes a decoder keeps."""
    if isinstance(decoder, SpdyDecoder):
        return len(decoder._head) + len(decoder._frame or b"")
    assert isinstance(decoder, WebSocketDecoder)
    return len(decoder._head)


def check_lines(happenings: Iterable[tuple[Stdio, bytes]]) -> None:
    """Whatever happens, each line is JSON, the first a header, and the text is all of the bytes'."""
    cast, streams = Asciicast(SUBJECT, 0), {stdio: b"" for stdio in Stdio}
    text = ""
    for stdio, data in happenings:
        if stdio is not Stdio.ERROR:
            text += cast.lines(Happening(0, stdio, data))
            streams[stdio] += data
    header, *events = [json.loads(line) for line in (text + cast.end()).split("\n")[:-1]]
    assert header["version"] == 2
    typed = "".join(text for _, kind, text in events if kind == "i")
    assert typed == streams[Stdio.STDIN].decode("utf-8", "replace")
    shown = [text for _, kind, text in events if kind == "o"]
    texts = [streams[stdio].decode("utf-8", "replace") for stdio in (Stdio.STDOUT, Stdio.STDERR)]
    assert sorted("".join(shown)) == sorted("".join(texts))


def one_input(data: bytes) -> None:
    """Invariants: whole, byte by byte and in pieces the same is found and the same stops it; little is kept; nothing but
    Undecodable is raised; whatever is found becomes lines of JSON with all of its text."""
    material = Material(data)
    mode, size = material.byte() % 8, material.byte() + 1
    stream = spdy_stream(material) if mode == 7 else material.rest()
    whole, fault = pieces(make_decoder(mode), [stream])
    for chunks in (cut(stream, 1), cut(stream, size)):
        found, same = pieces(make_decoder(mode), chunks)
        assert same == fault
        # Of base64 what stands in front of the fault is found or not, by where the cut is.
        assert found == whole or (mode & 6 == 2 and fault)
    check_lines(whole)
