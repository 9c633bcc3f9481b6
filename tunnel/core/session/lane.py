"""The lane's two directions over one HTTP/2 stream: frames queued here leave together, frames cut anywhere are joined."""

from collections.abc import Iterator
from typing import Final

from tunnel.core import limits
from tunnel.core.session.http2 import LANE_STREAM, TunnelConnection
from tunnel.core.wire.framing import FrameBuffer

LANE_WINDOW_BYTES: Final = 16 * limits.MIB
"""Lane credit is returned on receipt, so this only has to cover what is under way: 16 MiB is 160 MB/s at 100 ms."""

_CREDIT_STEP: Final = 1 * limits.MIB


class Lane:
    """Both directions of the lane.

    Args:
        connection: the session's HTTP/2 connection.
    """

    __slots__ = ("_connection", "_frames", "_owed", "_waiting", "waiting_bytes")

    def __init__(self, connection: TunnelConnection) -> None:
        self._connection = connection
        self._frames = FrameBuffer()
        self._waiting: list[bytes] = []
        self._owed = 0
        self.waiting_bytes = 0

    def opened(self) -> None:
        """Give the peer the lane's whole credit, as soon as the stream exists."""
        self._connection.increment_flow_control_window(
            LANE_WINDOW_BYTES - limits.STREAM_WINDOW_BYTES, LANE_STREAM
        )

    def receive(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield the frames that `data` completes, and return its credit now and then. Raises PeerViolation."""
        self._owed += len(data)
        if self._owed >= _CREDIT_STEP:
            self._connection.increment_flow_control_window(self._owed, LANE_STREAM)
            self._owed = 0
        return self._frames.receive(data)

    def queue(self, frame: bytes) -> None:
        """Send `frame` with the next output."""
        self._waiting.append(frame)
        self.waiting_bytes += len(frame)

    def flush(self) -> None:
        """Move what the window allows into the HTTP/2 connection: all frames of one turn leave as one DATA."""
        if not self._waiting:
            return
        data = b"".join(self._waiting) if len(self._waiting) > 1 else self._waiting[0]
        connection = self._connection
        position = 0
        room = min(len(data), connection.local_flow_control_window(LANE_STREAM))
        while position < room:
            stop = min(room, position + connection.max_outbound_frame_size)
            whole = stop - position == len(data)
            connection.send_data(LANE_STREAM, data if whole else data[position:stop])
            position = stop
        self._waiting = [data[position:]] if position < len(data) else []
        self.waiting_bytes = len(data) - position
