"""SPDY/3.1 frames as kubectl speaks them: bytes in, frames out, and back. No I/O.

What peers of the Kubernetes family do with the protocol, and this codec with them:

- Nobody sends or honours WINDOW_UPDATE: a stream's only brake is TCP. The frame is understood and carries no meaning.
- The two header compressors of a connection live as long as it does, so frames must be encoded in sending order.
- Unknown control frames are skipped, as the draft demands.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import Final

from tests.kubesim.streaming.dictionary import DICTIONARY
from tests.kubesim.streaming.spdy_frames import (
    Data,
    Frame,
    FrameType,
    GoAway,
    HeaderFields,
    Headers,
    Ping,
    RstStream,
    Settings,
    SynReply,
    SynStream,
    WindowUpdate,
)

VERSION: Final = 3
CONTROL_FRAME_BYTES: Final = 64 * 1024
"""The longest control frame taken; kubectl's header blocks have about 100 bytes."""
HEADER_BLOCK_BYTES: Final = 64 * 1024
"""The longest header block after decompression: what stops a compression bomb."""
DATA_FRAME_BYTES: Final = 2**24 - 1
"""The longest DATA frame: its length field has 24 bits."""

FIN: Final = 0x01
_PREFIX: Final = struct.Struct("!II")
_WORD: Final = struct.Struct("!I")
_TWO_WORDS: Final = struct.Struct("!II")
_SYN_STREAM_HEAD: Final = struct.Struct("!IIBB")
_ID_MASK: Final = 0x7FFFFFFF
_KNOWN_TYPES: Final = frozenset(FrameType)


class SpdyViolation(Exception):
    """The peer's bytes are not SPDY/3.1; the connection cannot go on."""


def _data(frame: Data) -> bytes:
    if len(frame.payload) > DATA_FRAME_BYTES:
        raise ValueError(f"DATA of {len(frame.payload)} bytes")
    flags = FIN if frame.fin else 0
    return _PREFIX.pack(frame.stream_id, flags << 24 | len(frame.payload)) + frame.payload


class FrameEncoder:
    """One direction of a connection: frames to bytes."""

    def __init__(self) -> None:
        self._compressor = zlib.compressobj(level=zlib.Z_BEST_COMPRESSION, zdict=DICTIONARY)

    def encode(self, frame: Frame) -> bytes:
        """Return `frame` as bytes. Frames with header fields must be sent in the order they were encoded."""
        match frame:
            case Data():
                return _data(frame)
            case SynStream():
                head = _SYN_STREAM_HEAD.pack(frame.stream_id, frame.associated_id, frame.priority << 5, 0)
                return _control(FrameType.SYN_STREAM, head + self._block(frame.fields), fin=frame.fin)
            case SynReply():
                return self._with_fields(FrameType.SYN_REPLY, frame)
            case Headers():
                return self._with_fields(FrameType.HEADERS, frame)
            case _:
                return _plain_control(frame)

    def _with_fields(self, kind: FrameType, frame: SynReply | Headers) -> bytes:
        return _control(kind, _WORD.pack(frame.stream_id) + self._block(frame.fields), fin=frame.fin)

    def _block(self, fields: HeaderFields) -> bytes:
        values: dict[str, list[str]] = {}
        for name, value in fields:
            values.setdefault(name, []).append(value)
        plain = bytearray(_WORD.pack(len(values)))
        for name, several in values.items():
            for text in (name, "\0".join(several)):
                encoded = text.encode("utf-8", "surrogateescape")
                plain += _WORD.pack(len(encoded)) + encoded
        return self._compressor.compress(plain) + self._compressor.flush(zlib.Z_SYNC_FLUSH)


def _plain_control(frame: RstStream | Settings | Ping | GoAway | WindowUpdate) -> bytes:
    match frame:
        case RstStream():
            return _control(FrameType.RST_STREAM, _TWO_WORDS.pack(frame.stream_id, frame.code))
        case Settings():
            body = b"".join(_TWO_WORDS.pack(key & 0xFFFFFF, value) for key, value in frame.entries)
            return _control(FrameType.SETTINGS, _WORD.pack(len(frame.entries)) + body)
        case Ping():
            return _control(FrameType.PING, _WORD.pack(frame.ping_id))
        case GoAway():
            return _control(FrameType.GOAWAY, _TWO_WORDS.pack(frame.last_good_id, frame.status))
        case WindowUpdate():
            return _control(FrameType.WINDOW_UPDATE, _TWO_WORDS.pack(frame.stream_id, frame.delta))


def _control(kind: FrameType, body: bytes, *, fin: bool = False) -> bytes:
    first = 0x80000000 | VERSION << 16 | kind
    return _PREFIX.pack(first, (FIN if fin else 0) << 24 | len(body)) + body


class FrameDecoder:
    """The other direction: bytes to frames.

    Give it whatever arrived with `feed`, then take everything `frames` yields; memory held is one control frame.
    """

    def __init__(self) -> None:
        self._decompressor = zlib.decompressobj(zdict=DICTIONARY)
        self._buffer = bytearray()
        self._data_id = 0
        self._data_left = 0
        self._data_fin = False

    def feed(self, data: bytes) -> None:
        """Store what was received; costs nothing else."""
        self._buffer += data

    def frames(self) -> Iterator[Frame]:
        """Yield the frames that are complete, and DATA as far as it has arrived.

        Raises:
            SpdyViolation: the bytes are not SPDY/3.1; the decoder is of no further use.
        """
        while (frame := self._next()) is not None:
            yield frame

    def _next(self) -> Frame | None:
        while True:
            if self._data_left:
                return self._data_piece() if self._buffer else None
            if len(self._buffer) < _PREFIX.size:
                return None
            first, second = _PREFIX.unpack_from(self._buffer)
            if not first & 0x80000000:
                if (empty := self._begin_data(first, second)) is not None:
                    return empty
                continue
            length = second & 0xFFFFFF
            if length > CONTROL_FRAME_BYTES:
                raise SpdyViolation(f"control frame of {length} bytes")
            if len(self._buffer) < _PREFIX.size + length:
                return None
            body = self._take(_PREFIX.size + length)[_PREFIX.size :]
            if (frame := self._control_frame(first, second >> 24, body)) is not None:
                return frame

    def _take(self, count: int) -> bytes:
        with memoryview(self._buffer) as view:
            taken = bytes(view[:count])
        del self._buffer[:count]
        return taken

    def _begin_data(self, stream_id: int, second: int) -> Data | None:
        if stream_id == 0:
            raise SpdyViolation("DATA for stream 0")
        self._take(_PREFIX.size)
        self._data_id, self._data_left, self._data_fin = (
            stream_id,
            second & 0xFFFFFF,
            bool(second >> 24 & FIN),
        )
        return None if self._data_left else Data(stream_id, b"", self._data_fin)

    def _data_piece(self) -> Data:
        payload = self._take(min(self._data_left, len(self._buffer)))
        self._data_left -= len(payload)
        return Data(self._data_id, payload, self._data_fin and not self._data_left)

    def _control_frame(self, first: int, flags: int, body: bytes) -> Frame | None:
        version, kind = first >> 16 & 0x7FFF, first & 0xFFFF
        if version != VERSION:
            raise SpdyViolation(f"control frame of SPDY version {version}")
        if kind not in _KNOWN_TYPES:
            return None
        try:
            return self._parse(FrameType(kind), bool(flags & FIN), body)
        except struct.error as error:
            raise SpdyViolation(f"{FrameType(kind).name} has the wrong length") from error

    def _parse(self, kind: FrameType, fin: bool, body: bytes) -> Frame:
        match kind:
            case FrameType.SYN_STREAM:
                stream_id, associated_id, priority, _ = _SYN_STREAM_HEAD.unpack_from(body)
                fields = self._fields(body[_SYN_STREAM_HEAD.size :])
                return SynStream(_stream_id(stream_id), fields, fin, priority >> 5, associated_id & _ID_MASK)
            case FrameType.SYN_REPLY:
                return SynReply(_stream_id(_WORD.unpack_from(body)[0]), self._fields(body[4:]), fin)
            case FrameType.HEADERS:
                return Headers(_stream_id(_WORD.unpack_from(body)[0]), self._fields(body[4:]), fin)
            case FrameType.SETTINGS:
                return _settings(body)
            case FrameType.PING:
                return Ping(_WORD.unpack(body)[0])
            case FrameType.RST_STREAM:
                stream_id, code = _TWO_WORDS.unpack(body)
                return RstStream(_stream_id(stream_id), code)
            case FrameType.GOAWAY:
                last_good_id, status = _TWO_WORDS.unpack(body)
                return GoAway(last_good_id & _ID_MASK, status)
            case FrameType.WINDOW_UPDATE:
                stream_id, delta = _TWO_WORDS.unpack(body)
                return WindowUpdate(stream_id & _ID_MASK, delta)

    def _fields(self, compressed: bytes) -> HeaderFields:
        try:
            block = self._decompressor.decompress(compressed, HEADER_BLOCK_BYTES)
        except zlib.error as error:
            raise SpdyViolation("header block does not decompress") from error
        if self._decompressor.unconsumed_tail:
            raise SpdyViolation(f"header block above {HEADER_BLOCK_BYTES} bytes")
        return _parse_block(block)


def _stream_id(word: int) -> int:
    if stream_id := word & _ID_MASK:
        return stream_id
    raise SpdyViolation("control frame for stream 0")


def _settings(body: bytes) -> Settings:
    (count,) = _WORD.unpack_from(body)
    if len(body) != 4 + 8 * count:
        raise SpdyViolation(f"SETTINGS with {count} entries in {len(body)} bytes")
    return Settings(tuple((key & 0xFFFFFF, value) for key, value in _TWO_WORDS.iter_unpack(body[4:])))


def _parse_block(block: bytes) -> HeaderFields:
    (count,) = _WORD.unpack_from(block)
    offset = 4
    fields: list[tuple[str, str]] = []
    for _ in range(count):
        name, offset = _text(block, offset)
        value, offset = _text(block, offset)
        fields.extend((name.lower(), part) for part in value.split("\0"))
    if offset != len(block):
        raise SpdyViolation("bytes behind the last header field")
    return tuple(fields)


def _text(block: bytes, offset: int) -> tuple[str, int]:
    (length,) = _WORD.unpack_from(block, offset)
    start, end = offset + 4, offset + 4 + length
    if end > len(block):
        raise SpdyViolation("header field longer than its block")
    return block[start:end].decode("utf-8", "surrogateescape"), end
