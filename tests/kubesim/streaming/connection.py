"""A SPDY/3.1 connection over a wire: streams that can be read, written, ended and reset."""

import asyncio
from collections.abc import Iterable

from tests.kubesim.streaming.inbox import Inbox
from tests.kubesim.streaming.spdy import FrameDecoder, FrameEncoder, SpdyViolation
from tests.kubesim.streaming.spdy_frames import (
    Data,
    Frame,
    GoAway,
    HeaderFields,
    Ping,
    ResetCode,
    RstStream,
    SynReply,
    SynStream,
)
from tests.kubesim.streaming.wire import Wire

STREAMS = 2000
"""Streams open at once; a port-forward uses two for every local connection."""

PIECE_BYTES = 64 * 1024
"""The longest DATA frame sent; kubelet's copies are 32 KiB."""

_GOAWAY_PROTOCOL_ERROR = 1


class StreamReset(Exception):
    """The stream was reset, by either side, or its connection is gone: nothing can be written to it."""


class SpdyStream:
    """One stream of a connection.

    Attributes:
        stream_id: odd for the client's streams.
        fields: what it was opened with.
    """

    def __init__(self, connection: "SpdyConnection", stream_id: int, fields: HeaderFields) -> None:
        self.stream_id = stream_id
        self.fields = fields
        self.inbox = Inbox()
        self._connection = connection
        self._replied = asyncio.Event()
        self._end_received = False
        self._end_sent = False
        self._reset = False

    def field(self, name: str) -> str:
        """Return the first value of a header field, or nothing; `name` in lower case."""
        return next((value for key, value in self.fields if key == name), "")

    def reply(self) -> None:
        """Accept the stream; nothing may be written to it before."""
        if not self._reset:
            self._connection.send(SynReply(self.stream_id))

    async def replied(self) -> None:
        """Wait until the peer accepted this stream, or ended it."""
        await self._replied.wait()

    async def read(self) -> bytes:
        """Return what arrived, or wait; empty at the peer's end or a reset."""
        return await self.inbox.read()

    def discard(self) -> None:
        """Throw away what arrives from now on."""
        self.inbox.discard()

    async def write(self, data: bytes) -> None:
        """Send `data` and wait until little of it is queued.

        Raises:
            StreamReset: the stream was reset or ended, or the connection is gone.
        """
        for start in range(0, len(data), PIECE_BYTES):
            if self._reset or self._end_sent:
                raise StreamReset(f"stream {self.stream_id}")
            self._connection.send(Data(self.stream_id, data[start : start + PIECE_BYTES]))
            await self._drain()

    async def _drain(self) -> None:
        try:
            await self._connection.drain()
        except ConnectionError as error:
            raise StreamReset(f"stream {self.stream_id}: connection gone") from error

    def end(self) -> None:
        """Say that nothing more will be written. Idempotent."""
        if not (self._reset or self._end_sent):
            self._end_sent = True
            self._connection.send(Data(self.stream_id, b"", fin=True))
            self._forget_when_over()

    def reset(self, code: ResetCode = ResetCode.CANCEL) -> None:
        """End both directions at once, and throw away what waits. Idempotent."""
        self.inbox.discard()
        if not self._reset:
            self._connection.send(RstStream(self.stream_id, code))
            self.cut()

    def drop(self) -> None:
        """Have no more to do with the stream: reset it, unless this side ended it and the peer was to follow."""
        if self._end_sent:
            self.inbox.discard()
            self.cut()
        else:
            self.reset()

    def receive(self, payload: bytes, *, fin: bool) -> None:
        """Take what the connection read for this stream."""
        self.inbox.feed(payload)
        if fin:
            self._end_received = True
            self.inbox.end()
            self._forget_when_over()

    def accepted(self) -> None:
        """The peer replied."""
        self._replied.set()

    def cut(self) -> None:
        """The stream is over in both directions, by a reset or with its connection; what waits can still be read."""
        self._reset = True
        self.inbox.end()
        self._replied.set()
        self._connection.forget(self)

    def _forget_when_over(self) -> None:
        if self._end_received and self._end_sent:
            self._connection.forget(self)


class SpdyConnection:
    """One end of a connection. `run` does the reading; everything else may be called while it does.

    Args:
        wire: what carries the bytes.
        client: whether this end opens streams with odd ids; the server's end accepts them.

    Attributes:
        pings_answered: how many pings of the peer were sent back.
    """

    def __init__(self, wire: Wire, *, client: bool = False) -> None:
        self._wire = wire
        self._decoder = FrameDecoder()
        self._encoder = FrameEncoder()
        self._streams: dict[int, SpdyStream] = {}
        self._opened: asyncio.Queue[SpdyStream] = asyncio.Queue()
        self._next_id = 1 if client else 2
        self._next_peer_id = 2 if client else 1
        self.pings_answered = 0

    async def accept(self) -> SpdyStream:
        """Return the next stream the peer opened; the caller replies to it or resets it."""
        return await self._opened.get()

    def open(self, fields: HeaderFields) -> SpdyStream:
        """Open a stream to the peer."""
        stream = SpdyStream(self, self._next_id, fields)
        self._next_id += 2
        self._streams[stream.stream_id] = stream
        self.send(SynStream(stream.stream_id, fields))
        return stream

    def send(self, frame: Frame) -> None:
        """Queue a frame."""
        self._wire.write(self._encoder.encode(frame))

    async def drain(self) -> None:
        """Wait until little is queued.

        Raises:
            ConnectionError: the peer is gone.
        """
        await self._wire.drain()

    def forget(self, stream: SpdyStream) -> None:
        """Let go of a stream that is over; frames that still come for it are thrown away."""
        self._streams.pop(stream.stream_id, None)

    def finish(self) -> None:
        """Say that all is over: end what is open, then GOAWAY. `run` goes on until the peer has closed."""
        for stream in list(self._streams.values()):
            stream.drop()
        self.send(GoAway(max(self._next_peer_id - 2, 0)))
        self._wire.say_end()

    async def run(self) -> None:
        """Read until the peer is gone or breaks the protocol; then every stream is cut."""
        try:
            while data := await self._wire.read():
                self._decoder.feed(data)
                for inbox in self._receive(self._decoder.frames()):
                    await inbox.room()
        except SpdyViolation:
            self.send(GoAway(max(self._next_peer_id - 2, 0), _GOAWAY_PROTOCOL_ERROR))
        finally:
            for stream in list(self._streams.values()):
                stream.cut()

    def _receive(self, frames: Iterable[Frame]) -> list[Inbox]:
        full = []
        for frame in frames:
            match frame:
                case Data(stream_id, payload, fin):
                    stream = self._streams.get(stream_id)
                    if stream is not None:
                        stream.receive(payload, fin=fin)
                        full += [stream.inbox] if stream.inbox.full else []
                case SynStream():
                    self._accept(frame)
                case Ping(ping_id):
                    self._ping(ping_id)
                case SynReply(stream_id) if stream_id in self._streams:
                    self._streams[stream_id].accepted()
                case RstStream(stream_id) if stream_id in self._streams:
                    self._streams[stream_id].cut()
                case _:
                    # SETTINGS, HEADERS and WINDOW_UPDATE mean nothing to this family; the end of the connection
                    # itself, which follows a GOAWAY at once, is what counts.
                    continue
        return full

    def _accept(self, frame: SynStream) -> None:
        if frame.stream_id < self._next_peer_id or frame.stream_id % 2 != self._next_peer_id % 2:
            return self.send(RstStream(frame.stream_id, ResetCode.PROTOCOL_ERROR))
        self._next_peer_id = frame.stream_id + 2
        if len(self._streams) >= STREAMS:
            return self.send(RstStream(frame.stream_id, ResetCode.REFUSED_STREAM))
        stream = SpdyStream(self, frame.stream_id, frame.fields)
        self._streams[frame.stream_id] = stream
        if frame.fin:
            stream.receive(b"", fin=True)
        self._opened.put_nowait(stream)

    def _ping(self, ping_id: int) -> None:
        if ping_id % 2 == self._next_peer_id % 2:
            self.pings_answered += 1
            self.send(Ping(ping_id))
