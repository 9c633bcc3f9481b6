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
from tunnel.core.errors import LocalMisuse, PeerViolation

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


def encode_frame(kind: FrameType, payload: bytes = b"", limit: int = limits.FRAME_BYTES) -> bytes:
    """Return one frame.

    Raises:
        LocalMisuse: the payload is above `limit`; the peer would end the session over it.
    """
    if len(payload) > limit:
        raise frame_too_large(kind, len(payload), limit)
    return FRAME_HEADER.pack(kind, len(payload)) + payload


def frame_too_large(kind: FrameType, length: int, limit: int) -> LocalMisuse:
    """Return what is raised for a frame that is not sent, because its payload is above `limit`."""
    return LocalMisuse(f"{kind.name} would have {length} bytes, above {limit}")


class FrameBuffer:
    """Cuts a sequence of byte chunks into frames, holding at most one incomplete frame.

    Args:
        limit: the largest payload taken, in bytes.
    """

    __slots__ = ("_limit", "_needed", "_rest")

    def __init__(self, limit: int = limits.FRAME_BYTES) -> None:
        self._limit = limit
        self._rest = bytearray()  # the beginning of a frame
        self._needed = FRAME_HEADER.size  # how long it must be to tell more

    def receive(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield the type and payload of each frame that `data` completes; to be used up before the next call.

        Raises:
            PeerViolation: a frame announces more than the limit. It is raised on the header alone, so a peer cannot
                make this end store what it will refuse.
        """
        rest = self._rest
        if rest:
            # Joined only when a frame is whole: a large one in small pieces would else be copied with each of them.
            rest += data
            if len(rest) < self._needed:
                return
            data = bytes(rest)
            rest.clear()
        start, end = 0, len(data)
        needed = FRAME_HEADER.size
        while end - start >= FRAME_HEADER.size:
            kind, length = FRAME_HEADER.unpack_from(data, start)
            if length > self._limit:
                raise PeerViolation(
                    f"frame of type {kind:#04x} announces {length} bytes, above {self._limit}"
                )
            stop = start + FRAME_HEADER.size + length
            if stop > end:
                needed = stop - start
                break
            yield kind, data[start + FRAME_HEADER.size : stop]
            start = stop
        self._needed = needed
        rest += data[start:] if start else data
