"""Frames: a type, a length and a payload. The same five-byte header serves the lane and the response channels.

    0        1                               5
    +--------+-------------------------------+-----------------
    | type   | payload length, big-endian    | payload …
    +--------+-------------------------------+-----------------

The lane carries frames inside the DATA of its HTTP/2 stream, cut anywhere; `FrameBuffer` puts them together again.
"""

from collections.abc import Iterator
from enum import IntEnum
from struct import Struct
from typing import Final

from tunnel.core import limits
from tunnel.core.errors import PeerViolation

FRAME_HEADER: Final = Struct(">BI")


class FrameType(IntEnum):
    """Every frame of version 1; docs/protocol.md holds the same table and a test compares the two."""

    HELLO = 0x01
    REJECT = 0x02
    ACTIVE = 0x03
    REQUEST = 0x04
    CANCEL = 0x05
    REFUSED = 0x06
    REPORT = 0x07
    DRAIN = 0x08
    HEAD = 0x11
    DATA = 0x12
    END = 0x13
    ABORT = 0x14
    DONE = 0x15


def encode_frame(kind: FrameType, payload: bytes = b"") -> bytes:
    """Return one frame."""
    return FRAME_HEADER.pack(kind, len(payload)) + payload


class FrameBuffer:
    """Cuts a sequence of byte chunks into frames, holding at most one incomplete frame.

    Args:
        limit: the largest payload taken, in bytes.
    """

    __slots__ = ("_limit", "_rest")

    def __init__(self, limit: int = limits.FRAME_BYTES) -> None:
        self._limit = limit
        self._rest = b""

    def receive(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield the type and payload of each frame that `data` completes.

        Raises:
            PeerViolation: a frame announces more than the limit. It is raised on the header alone, so a peer cannot
                make this end store what it will refuse.
        """
        if self._rest:
            data = self._rest + data
            self._rest = b""
        start, end = 0, len(data)
        while end - start >= FRAME_HEADER.size:
            kind, length = FRAME_HEADER.unpack_from(data, start)
            if length > self._limit:
                raise PeerViolation(
                    f"frame of type {kind:#04x} announces {length} bytes, above {self._limit}"
                )
            stop = start + FRAME_HEADER.size + length
            if stop > end:
                break
            yield kind, data[start + FRAME_HEADER.size : stop]
            start = stop
        self._rest = data[start:] if start else data
