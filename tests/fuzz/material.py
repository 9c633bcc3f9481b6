"""Input bytes taken apart into what a target needs: sizes, flags, frames."""

from collections.abc import Iterator

from tests.unit.core.session.pair import http2_frame
from tunnel.core import limits
from tunnel.core.session.http2 import LANE_STREAM
from tunnel.core.wire.framing import FRAME_HEADER

STREAMS = (0, 1, 3, 5, 7, 2, 9, 2**31 - 1)


class Material:
    """Reads input bytes front to back; behind their end everything is 0 and empty."""

    def __init__(self, data: bytes) -> None:
        self._rest = memoryview(data)

    def byte(self) -> int:
        """The next byte as a number."""
        return self.take(1)[0] if self._rest else 0

    def take(self, size: int) -> bytes:
        """The next bytes, at most `size`."""
        taken, self._rest = self._rest[:size], self._rest[size:]
        return bytes(taken)

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self._rest))

    def pieces(self) -> Iterator[bytes]:
        """All that is left, cut into pieces whose sizes it holds itself."""
        while self._rest:
            yield self.take(self.byte() + 1)

    def lane_frames(self) -> bytes:
        """All that is left as frames of the tunnel, with headers that are right."""
        frames = bytearray()
        while self._rest:
            kind, payload = self.byte() % 0x20, self.take(self.byte())
            frames += FRAME_HEADER.pack(kind, len(payload)) + payload
        return bytes(frames)

    def http2_frames(self) -> Iterator[bytes]:
        """All that is left as frames of HTTP/2, with headers that are right."""
        while self._rest:
            kind, flags, stream = self.byte() % 12, self.byte(), STREAMS[self.byte() % len(STREAMS)]
            yield http2_frame(kind, stream, self.take(self.byte()), flags)

    def chunks(self, mode: int) -> Iterator[bytes]:
        """All that is left: as it is (0, 1), as frames of HTTP/2 (2), or as frames of the lane (3)."""
        if mode == 2:
            yield from self.http2_frames()
        elif mode == 3:
            yield http2_frame(0, LANE_STREAM, self.lane_frames()[: limits.DATA_BYTES])
        else:
            yield from self.pieces()


def cut(data: bytes, size: int) -> Iterator[bytes]:
    """`data` in pieces of one size."""
    for start in range(0, len(data), size):
        yield data[start : start + size]
