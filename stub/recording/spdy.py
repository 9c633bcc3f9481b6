"""What travels in one direction of an exec over SPDY/3.1, as kubectl and kubelets speak it.

The client opens a SPDY stream for each stream of the command, with a header field `streamtype` that says which. So the decoder of the
client's direction learns names that the one of the server's direction needs; of the server's control frames none matters.
"""

import struct
import zlib
from collections.abc import Collection, Iterator
from typing import Final

from stub.recording.dictionary import DICTIONARY
from stub.recording.stdio import Piece, Stdio, Undecodable

BLOCK_BYTES: Final = 16 * 1024
"""The longest control frame that is read, and the longest header block in it once it is decompressed; kubectl's have about 100."""

STREAMS: Final = 64
"""Streams of one connection; kubectl opens five at most."""

_PREFIX: Final = struct.Struct("!II")
_WORD: Final = struct.Struct("!I")
_VERSION: Final = 3
_SYN_STREAM: Final = 1
_BLOCK_AT: Final = {_SYN_STREAM: 10, 2: 4, 8: 4}
"""Frames with header fields (SYN_STREAM, SYN_REPLY, HEADERS) and where in them these begin; they share one compressor."""
_TYPES: Final = {each.name.lower().encode(): each for each in Stdio}

Streams = dict[int, Stdio | None]
"""Which stream of the command a SPDY stream is; None where it is none of them."""


class SpdyDecoder:
    """A `Decoder`.

    Args:
        wanted: the streams whose bytes are yielded.
        streams: shared by the decoders of both directions.
        from_client: whether it is the client's direction.
    """

    def __init__(self, wanted: Collection[Stdio], streams: Streams, *, from_client: bool) -> None:
        self._wanted = wanted
        self._streams = streams
        # What nobody has named is recorded rather than lost.
        self._unnamed = Stdio.STDIN if from_client else Stdio.STDOUT
        self._decompressor = zlib.decompressobj(zdict=DICTIONARY) if from_client else None
        self._head = bytearray()
        self._left = 0  # of the frame under way
        self._stdio: Stdio | None = None
        self._kind = 0
        self._frame: bytearray | None = None

    def receive(self, data: memoryview) -> Iterator[Piece]:
        while data:
            if not self._left:
                data = self._take_head(data)
                continue
            taken, data = data[: self._left], data[self._left :]
            self._left -= len(taken)
            if self._frame is not None:
                self._frame += taken
                if not self._left:
                    self._read_frame(self._kind, bytes(self._frame))
            elif self._stdio is not None and self._stdio in self._wanted:
                yield self._stdio, bytes(taken)

    def _take_head(self, data: memoryview) -> memoryview:
        missing = _PREFIX.size - len(self._head)
        self._head += data[:missing]
        if len(self._head) == _PREFIX.size:
            first, second = _PREFIX.unpack(self._head)
            self._head.clear()
            self._begin_frame(first, second & 0xFFFFFF)
        return data[missing:]

    def _begin_frame(self, first: int, length: int) -> None:
        self._left, self._stdio, self._frame = length, None, None
        if not first >> 31:
            self._stdio = self._streams.get(first, self._unnamed)
            return
        if self._decompressor is None:
            return
        if first >> 16 != 0x8000 | _VERSION:
            raise Undecodable("a frame is not of SPDY/3")
        self._kind = first & 0xFFFF
        if self._kind in _BLOCK_AT:
            if not _BLOCK_AT[self._kind] <= length <= BLOCK_BYTES:
                raise Undecodable("a SPDY frame with header fields has an impossible length")
            self._frame = bytearray()

    # Header fields, of the client's direction alone --------------------------------------------------

    def _read_frame(self, kind: int, frame: bytes) -> None:
        self._frame = None
        fields = read_fields(self._decompressed(frame[_BLOCK_AT[kind] :]))
        if kind != _SYN_STREAM:
            return
        if len(self._streams) >= STREAMS:
            raise Undecodable(f"there are more than {STREAMS} SPDY streams")
        number = _WORD.unpack_from(frame)[0] & 0x7FFFFFFF
        # Servers look at the first value alone, and refuse a stream that is opened twice.
        self._streams.setdefault(number, _TYPES.get(fields.get(b"streamtype", b"").split(b"\0")[0]))

    def _decompressed(self, block: bytes) -> bytes:
        assert self._decompressor is not None
        try:
            plain = self._decompressor.decompress(block, BLOCK_BYTES)
        except zlib.error:
            raise Undecodable("SPDY header fields do not decompress") from None
        if self._decompressor.unconsumed_tail or self._decompressor.eof:
            raise Undecodable("SPDY header fields are too long, or the last ones")
        return plain


def read_fields(block: bytes) -> dict[bytes, bytes]:
    """Return the header fields of a decompressed block; of one that is there twice the first. Raises Undecodable: it is cut."""
    count, at = _number(block, 0)
    fields: dict[bytes, bytes] = {}
    for _ in range(count):
        name, at = _text(block, at)
        value, at = _text(block, at)
        fields.setdefault(name, value)
    return fields


def _text(block: bytes, at: int) -> tuple[bytes, int]:
    length, at = _number(block, at)
    if at + length > len(block):
        raise Undecodable("a SPDY header field is longer than its frame")
    return block[at : at + length], at + length


def _number(block: bytes, at: int) -> tuple[int, int]:
    if at + _WORD.size > len(block):
        raise Undecodable("a SPDY frame ends within its header fields")
    return _WORD.unpack_from(block, at)[0], at + _WORD.size
