"""h2 made fit for a tunnel. Every override is here, and tests/unit/core/session/test_http2.py fails where upstream changes.

- h2 writes the `repr` of each received frame for a log that is switched off; of a 64 KiB DATA that costs five times as
  much as receiving it (76 against 15 µs).
- It counts open streams by looking at each; with 4 000 uploads that was 420 µs a request. Here all streams are the
  stub's, and closed ones are forgotten as they close, so the count is the size of a dict.
- HPACK's Huffman coding costs 37 µs a head and saves bytes that do not matter here; a peer's larger table would cost more.
- It answers every PING, SETTINGS and late DATA into a buffer without bounds, and stores up to 16 MiB of a frame before it
  looks at the length.
- DATA, which is nearly all there is, takes two state machines and five objects a frame, and is stored until it is whole.
  Here frames are told apart first; DATA of an open stream is counted against the windows and delivered in the pieces it comes
  in, and is written without asking the state machines again: 3 in place of 16 µs a frame each way.
"""

from collections.abc import Iterator
from struct import Struct
from typing import Any, Final

from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, Event, WindowUpdated
from h2.exceptions import DenialOfServiceError, FrameTooLargeError, ProtocolError, StreamClosedError
from h2.settings import SettingCodes
from h2.stream import H2Stream, StreamClosedBy, StreamState
from hpack import Encoder
from hyperframe.frame import (
    DataFrame,
    Frame,
    HeadersFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tunnel.core import limits
from tunnel.core.errors import PeerViolation
from tunnel.core.session.frame_rate import FrameRate

LANE_STREAM: Final = 1
"""The stub's first stream carries the lane."""

# RFC 9113 §6.9.1 starts the connection's window at 65 535.
_FIRST_CONNECTION_WINDOW: Final = 65_535
_CONNECTION_CREDIT_STEP: Final = 64 * limits.MIB
_ENDED: Final = ConnectionState.CLOSED
_OK: Final = [(b":status", b"200")]
_FRAME: Final = Struct(">BHBBI")
"""RFC 9113 §4.1: length (24 bits), type, flags, stream."""

_INCREMENT: Final = Struct(">I")
_SHORT_BYTES: Final = 4
"""The payload of a WINDOW_UPDATE and of a RST_STREAM."""

_H2_COUNTS_MORE: Final = 7
"""A frame that h2 reads takes 25 (PING) to 160 µs (HEADERS), any other 3: it counts for eight of a turn's."""

_LARGEST_WINDOW: Final = 2**31 - 1
_OPEN: Final = (ConnectionState.CLIENT_OPEN, ConnectionState.SERVER_OPEN)
_DATA: Final = 0x00
_RST_STREAM: Final = 0x03
_WINDOW_UPDATE: Final = 0x08
_END_STREAM: Final = 0x01
_RECEIVING: Final = (StreamState.OPEN, StreamState.HALF_CLOSED_LOCAL)
_PREFACE_BYTES: Final = 24


class _PlainEncoder(Encoder):
    def encode(self, headers: Any, huffman: bool = False) -> bytes:
        encoded: bytes = super().encode(headers, huffman=huffman)
        return encoded

    @property
    def header_table_size(self) -> int:
        return self.header_table.maxsize

    @header_table_size.setter
    def header_table_size(self, value: int) -> None:
        self.header_table.maxsize = min(value, limits.HEADER_TABLE_BYTES)
        if self.header_table.resized:
            # RFC 7541 §4.2 asks for the smallest size since the last head and for the last one, not for each.
            changes = [*self.table_size_changes, self.header_table.maxsize]
            self.table_size_changes = [min(changes), changes[-1]]


class TunnelConnection(H2Connection):
    """An HTTP/2 connection between stub and agent.

    Args:
        client_side: True at the stub: it sends the requests, although the agent dialled.

    Attributes:
        streams_allowed: how many streams may be open at once, by the peer's settings and `limits.BODY_STREAMS`.
        frames_left: how many more frames this turn may have, the lane's own included.
        unread: what came and is left for a later turn.
    """

    def __init__(self, *, client_side: bool) -> None:
        super().__init__(
            H2Configuration(
                client_side=client_side,
                header_encoding=None,
                validate_inbound_headers=True,
                normalize_inbound_headers=False,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self.encoder = _PlainEncoder()
        self.streams_allowed = limits.BODY_STREAMS
        self._stream_frames = FrameRate(limits.STREAM_FRAMES_PER_SECOND)
        self._control_frames = FrameRate(limits.CONTROL_FRAMES_PER_SECOND)
        self._credit_frames = FrameRate(limits.CREDIT_FRAMES_PER_SECOND)
        self.now = 0.0
        self.frames_left = limits.FRAMES_PER_TURN
        self.unread = b""
        self._header = b""  # the beginning of a frame's header
        self._other_left = (
            0 if client_side else _PREFACE_BYTES
        )  # bytes of a frame (or of the preface) that are h2's to read
        self._data_left = 0  # bytes of a DATA frame that are still to come
        self._data_stream: H2Stream | None = None
        self._data_ends = False

    def start(self) -> None:
        """Queue the preface, the settings and the connection's window."""
        self.initiate_connection()
        # update_settings only now: settings replaced before initiate_connection are announced but not enforced.
        settings: dict[SettingCodes | int, int] = {
            SettingCodes.MAX_FRAME_SIZE: limits.DATA_BYTES,
            SettingCodes.INITIAL_WINDOW_SIZE: limits.STREAM_WINDOW_BYTES,
            SettingCodes.MAX_CONCURRENT_STREAMS: limits.BODY_STREAMS,
            SettingCodes.ENABLE_PUSH: 0,
        }
        if not self.config.client_side:
            del settings[SettingCodes.ENABLE_PUSH]  # RFC 9113 §6.5.2: only a client sends it
        self.update_settings(settings)
        # In force from here on, not from the peer's acknowledgement: h2 would refuse a large frame that arrives in the
        # same chunk as that.
        self.max_inbound_frame_size = limits.DATA_BYTES
        self.increment_flow_control_window(limits.SESSION_WINDOW_BYTES - _FIRST_CONNECTION_WINDOW)

    def receive(self, data: bytes | memoryview, now: float) -> Iterator[Event]:
        """Yield the events in `data`, which arrived at `now`, as far as one turn goes; to be used up before the next call. They
        are read as they are asked for: where the lane has used the turn up, nothing behind it is looked at.

        Raises:
            PeerViolation: the peer broke HTTP/2. h2 has raised plain ValueError, KeyError and IndexError on hostile input, so
                anything that escapes from it is the peer's doing.
        """
        self.now = now
        self.frames_left = limits.FRAMES_PER_TURN
        if self.unread:
            data, self.unread = self.unread + data, b""
        view, position, size = memoryview(data), 0, len(data)
        while position < size:
            if self.frames_left <= 0:
                self.unread = bytes(view[position:])
                break
            events: list[Event] = []
            position = self._read(view, position, events)
            yield from events
        self._return_connection_credit()

    def _receive_settings_frame(self, frame: SettingsFrame) -> tuple[list[Frame], list[Event]]:
        frames, events = super()._receive_settings_frame(frame)
        # Kept, because it is asked for each request, and takes five calls in h2.
        self.streams_allowed = min(limits.BODY_STREAMS, self.remote_settings.max_concurrent_streams)
        return frames, events

    def hold(self, data: bytes | memoryview, now: float) -> None:
        """Leave `data`, which arrived at `now`, for a later turn: this one is the lane's."""
        self.now = now
        self.frames_left = limits.FRAMES_PER_TURN
        self.unread += data

    def _read(self, data: memoryview, position: int, events: list[Event]) -> int:
        """Take a frame, or what is there of it; return where it ends."""
        try:
            if not self._data_left and not self._other_left:
                position = self._read_header(data, position, events)
            if position == len(data):
                return position
            if self._data_left:
                return self._read_data(data, position, events)
            return self._read_other(data, position, events) if self._other_left else position
        except ProtocolError as error:
            raise PeerViolation(f"HTTP/2: {type(error).__name__}: {str(error)[:200]}") from error
        except (ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
            raise PeerViolation(f"HTTP/2: malformed input ({type(error).__name__})") from error

    def _read_other(self, data: memoryview, position: int, events: list[Event]) -> int:
        stop = min(len(data), position + self._other_left)
        self._other_left -= stop - position
        events += self.receive_data(data[position:stop])
        return stop

    def _read_header(self, data: memoryview, position: int, events: list[Event]) -> int:
        """Take a frame's header, or what is there of it, and decide who reads the rest."""
        start = position
        position += _FRAME.size - len(self._header)
        header = bytes(data[start:position])
        if len(header) < _FRAME.size:
            header = self._header = self._header + header
            if len(header) < _FRAME.size:
                return len(data)
            self._header = b""
        self.frames_left -= 1
        high, low, kind, flags, number = _FRAME.unpack(header)
        length = high << 16 | low
        if length > self.max_inbound_frame_size:
            self._terminate_connection(ErrorCodes.FRAME_SIZE_ERROR)
            raise FrameTooLargeError(f"a frame of {length} bytes, above {self.max_inbound_frame_size}")
        stream = self.streams.get(number)
        if length == _SHORT_BYTES and len(data) - position >= _SHORT_BYTES:
            payload = data[position : position + _SHORT_BYTES]
            if self._take_short(kind, number, stream, payload, events):
                return position + _SHORT_BYTES
        if kind == _DATA and length and not flags & ~_END_STREAM and self._may_receive(stream):
            self._data_left, self._data_stream, self._data_ends = length, stream, bool(flags)
        else:
            # Also DATA that is out of place, padded or empty: h2 knows what is to be done then.
            self._other_left = length
            self.frames_left -= _H2_COUNTS_MORE
            events += self.receive_data(header)
        return position

    def _take_short(
        self, kind: int, number: int, stream: H2Stream | None, payload: memoryview, events: list[Event]
    ) -> bool:
        """Take a WINDOW_UPDATE, or a RST_STREAM of a stream that is over; False where h2 has to judge. A read holds five thousand
        of these, and h2 takes 20 µs for each: a tenth of a second in which nobody else would be served."""
        if self.state_machine.state not in _OPEN or self.incoming_buffer._headers_buffer:
            return False
        if kind == _RST_STREAM:
            over = number > 0 and (stream is None or stream.closed)
            return over and self._stream_frames.take(self.now)
        return kind == _WINDOW_UPDATE and self._take_credit(number, stream, payload, events)

    def _take_credit(
        self, number: int, stream: H2Stream | None, payload: memoryview, events: list[Event]
    ) -> bool:
        (increment,) = _INCREMENT.unpack(payload)
        holder = stream if number else self
        if holder is None or (stream is not None and stream.closed) or not 0 < increment <= _LARGEST_WINDOW:
            return False
        window = holder.outbound_flow_control_window + increment
        if window > _LARGEST_WINDOW or not self._credit_frames.take(self.now):
            return False
        holder.outbound_flow_control_window = window
        events.append(WindowUpdated(stream_id=number, delta=increment))
        return True

    def _may_receive(self, stream: H2Stream | None) -> bool:
        return (
            stream is not None
            and stream.state_machine.state in _RECEIVING
            and self.state_machine.state is not _ENDED
            and not self.incoming_buffer._headers_buffer
        )

    def _read_data(self, data: memoryview, position: int, events: list[Event]) -> int:
        stop = min(len(data), position + self._data_left)
        size = stop - position
        self._data_left -= size
        self._inbound_flow_control_window_manager.window_consumed(size)
        stream = self._data_stream
        assert stream is not None
        if stream.state_machine.state in _RECEIVING:  # else it was refused between two pieces
            stream._inbound_window_manager.window_consumed(size)
            stream._track_content_length(size, end_stream=False)
            events.append(
                DataReceived(
                    stream_id=stream.stream_id,
                    data=bytes(data[position:stop]),
                    flow_controlled_length=size,
                )
            )
            if self._data_ends and not self._data_left:
                frames, ended = self._receive_data_frame(DataFrame(stream.stream_id, flags=["END_STREAM"]))
                self._prepare_for_sending(frames)
                events += ended
        return stop

    # Sending. h2 raises where a stream or the connection has ended, which a peer can do between any two events of one
    # chunk; there is nobody left to hear it then, so these do nothing.

    @property
    def ended(self) -> bool:
        """Whether either side has sent GOAWAY: nothing can be sent or received any more."""
        return self.state_machine.state is _ENDED

    def is_open(self, stream_id: int) -> bool:
        """Whether anything can still be sent about this stream."""
        stream = self.streams.get(stream_id)
        return stream is not None and not stream.closed and not self.ended

    def room(self, stream_id: int) -> int:
        """How many bytes the peer takes on this stream now; never negative, although a window can be (RFC 9113 §6.9.2)."""
        # Asked for every flush of the lane; min, max and the properties above would cost a microsecond.
        stream = self.streams.get(stream_id)
        if stream is None or stream.closed or self.state_machine.state is _ENDED:
            return 0
        window: int = stream.outbound_flow_control_window
        if window > self.outbound_flow_control_window:
            window = self.outbound_flow_control_window
        return window if window > 0 else 0

    @property
    def largest_data(self) -> int:
        """The largest DATA frame to send: a peer may allow more, but larger ones cost more per byte."""
        return min(self.max_outbound_frame_size, limits.DATA_BYTES)

    def put_data(self, stream_id: int, data: bytes | memoryview) -> None:
        """Queue one DATA frame: at most `room` and `largest_data` bytes, which the caller has asked for, so that both state
        machines would say yes."""
        size = len(data)
        self.streams[stream_id].outbound_flow_control_window -= size
        self.outbound_flow_control_window -= size
        self._data_to_send += _FRAME.pack(size >> 16, size & 0xFFFF, _DATA, 0, stream_id)
        self._data_to_send += data

    def take_output(self) -> bytearray:
        """Return what is to be sent; unlike `data_to_send` without copying it."""
        data, self._data_to_send = self._data_to_send, bytearray()
        return data

    def give_credit(self, amount: int, stream_id: int) -> None:
        """Let the peer send `amount` more bytes on a stream."""
        if self.is_open(stream_id):
            self.increment_flow_control_window(amount, stream_id)

    def answer(self, stream_id: int, *, end: bool) -> None:
        """Send the response head of a stream; it says nothing, but HTTP/2 asks for one."""
        if self.is_open(stream_id):
            self.send_headers(stream_id, _OK, end_stream=end)

    def break_stream(self, stream_id: int, code: ErrorCodes) -> None:
        """Reset a stream and forget it."""
        if self.is_open(stream_id):
            self.reset_stream(stream_id, code)
        self.forget(stream_id)

    def forget(self, stream_id: int) -> None:
        """Drop a stream that is closed in both directions, as h2 itself would at its next count."""
        stream = self.streams.get(stream_id)
        if stream is not None and stream.closed:
            del self.streams[stream_id]
            self._closed_streams[stream_id] = stream.closed_by

    # What h2 does otherwise -------------------------------------------------------------------------

    def _open_streams(self, remainder: int) -> int:
        return len(self.streams) if remainder == 1 else 0

    def _receive_frame(self, frame: Frame) -> list[Event]:
        if frame.__class__ is not DataFrame:
            self._count(frame)
            return super()._receive_frame(frame)
        if not frame.data and "END_STREAM" not in frame.flags:
            self._count(frame)
        frames, events = self._receive_data_frame(frame)
        self._prepare_for_sending(frames)
        return events

    def _count(self, frame: Frame) -> None:
        kind = frame.__class__
        if kind is PushPromiseFrame:
            # h2 takes pushes, uncounted, until its SETTINGS are acknowledged.
            raise ProtocolError("PUSH_PROMISE although nothing may be pushed")
        if kind is WindowUpdateFrame:
            rate = self._credit_frames
        else:
            rate = self._stream_frames if kind in (HeadersFrame, RstStreamFrame) else self._control_frames
        if not rate.take(self.now):
            raise DenialOfServiceError(
                f"more than {rate.per_second} frames like {kind.__name__} in one second"
            )

    def _handle_data_on_closed_stream(
        self, events: list[Event], exc: StreamClosedError, frame: DataFrame
    ) -> tuple[list[Frame], list[Event]]:
        # h2 answers each of these with a RST_STREAM, and a refused body may still bring many. The connection's credit
        # for them goes back with all other (`_return_connection_credit`).
        closed_by = self._stream_closed_by(frame.stream_id)
        if exc._events or closed_by not in (StreamClosedBy.SEND_RST_STREAM, None):
            raise exc
        return [], events

    def _return_connection_credit(self) -> None:
        # The connection's window never limits: it starts at 2 GiB and is refilled long before it is used up.
        used = limits.SESSION_WINDOW_BYTES - self._inbound_flow_control_window_manager.current_window_size
        if used >= _CONNECTION_CREDIT_STEP and not self.ended:
            self.increment_flow_control_window(used)


__all__ = ["LANE_STREAM", "ErrorCodes", "TunnelConnection"]
