"""The lane's two directions over one HTTP/2 stream: frames queued here leave together, frames cut anywhere are joined."""

from collections.abc import Iterator
from typing import Final

from tunnel.core import limits
from tunnel.core.errors import PeerViolation
from tunnel.core.session.frame_rate import FrameRate
from tunnel.core.session.http2 import LANE_STREAM, TunnelConnection
from tunnel.core.wire.framing import FrameBuffer

_CREDIT_STEP: Final = 1 * limits.MIB


class Lane:
    """Both directions of the lane.

    Args:
        connection: the session's HTTP/2 connection.

    Attributes:
        unread: whether a turn was over before the frames of the last DATA were, which must be taken before the next DATA.
        waiting_bytes: queued and not yet taken by the window.
        sent_bytes: handed to the HTTP/2 connection so far.
    """

    __slots__ = (
        "_came",
        "_connection",
        "_control",
        "_frames",
        "_owed",
        "_waiting",
        "sent_bytes",
        "unread",
        "waiting_bytes",
    )

    def __init__(self, connection: TunnelConnection) -> None:
        self._connection = connection
        self._frames = FrameBuffer()
        self._control = FrameRate(limits.CONTROL_MESSAGES_PER_SECOND)
        self._came: Iterator[tuple[int, bytes]] = iter(())
        self.unread = False
        self._waiting: list[bytes] = []
        self._owed = 0
        self.waiting_bytes = 0
        self.sent_bytes = 0

    def opened(self) -> None:
        """Give the peer the lane's whole credit, as soon as the stream exists."""
        self._connection.give_credit(limits.LANE_WINDOW_BYTES - limits.STREAM_WINDOW_BYTES, LANE_STREAM)

    def receive(self, data: bytes, flow_controlled: int) -> None:
        """Take DATA, and return its credit (`flow_controlled` bytes, padding included) now and then."""
        self._owed += flow_controlled
        if self._owed >= _CREDIT_STEP:
            self._connection.give_credit(self._owed, LANE_STREAM)
            self._owed = 0
        self._came = self._frames.receive(data)

    def frames(self) -> Iterator[tuple[int, bytes]]:
        """Yield the frames that the last DATA completed, as far as this turn goes; call it again where `unread` says that there
        are more.

        Raises:
            PeerViolation: the next one is too large.
        """
        connection = self._connection
        for frame in self._came:
            yield frame
            connection.frames_left -= 1
            if connection.frames_left <= 0:
                self.unread = True
                return
        self.unread = False

    def counted(self, payload: bytes) -> bytes:
        """Return the payload of a control message that has arrived, to be read.

        Raises:
            PeerViolation: there are too many of them: to read one may take longer than a hundred requests.
        """
        if not self._control.take(self._connection.now):
            raise PeerViolation(f"more than {self._control.per_second} control messages in one second")
        return payload

    def queue(self, frame: bytes) -> None:
        """Send `frame` with the next output."""
        self._waiting.append(frame)
        self.waiting_bytes += len(frame)

    def flush(self) -> None:
        """Move what the window allows into the HTTP/2 connection: all frames that wait leave as one DATA."""
        if not self._waiting:
            return
        connection = self._connection
        room, largest = connection.room(LANE_STREAM), connection.largest_data
        if not room:
            return
        data = b"".join(self._waiting) if len(self._waiting) > 1 else self._waiting[0]
        if len(data) <= room and len(data) <= largest:
            connection.put_data(LANE_STREAM, data)
            self._waiting.clear()
            self.waiting_bytes = 0
            self.sent_bytes += len(data)
        else:
            self._flush_pieces(data, min(room, len(data)), largest)

    def _flush_pieces(self, data: bytes, room: int, largest: int) -> None:
        position = 0
        while position < room:
            stop = min(room, position + largest)
            self._connection.put_data(LANE_STREAM, data[position:stop])
            position = stop
        self._waiting = [data[position:]] if position < len(data) else []
        self.waiting_bytes = len(data) - position
        self.sent_bytes += position
