"""What TLS and plain streams have in common: turns, pauses, pressure and closing.

A stream is the protocol of one of the loop's plain transports. Everything runs in callbacks; there is no task and no future.
Three rules keep its owner's code simple: what is written in a turn leaves at the turn's end, in one piece (`_flush`), unless the owner
asks otherwise (`write_now`); no call of the owner is answered by a call to the owner; `stream_closed` comes once, from
`connection_lost`, and from nowhere else.
"""

import asyncio
from abc import abstractmethod
from collections.abc import Callable
from typing import Final

from tunnel.aio.closing import CloseClock, Ending, Peer
from tunnel.aio.errors import CloseTimeout, StreamError, TruncatedError
from tunnel.aio.readbuffer import BULK_BYTES, READ_BUFFER
from tunnel.aio.sockets import SocketOptions
from tunnel.aio.stream import Buffer, StreamHandler, TlsFacts
from tunnel.aio.transport import StreamTransport
from tunnel.core import limits

DIRECT_BYTES: Final = 16 * limits.KIB
"""A write this large is sent on at once: gathering it would copy it for nothing."""


class BaseStream(asyncio.BufferedProtocol):
    """The part of a `ByteStream` that does not care what the bytes look like on the wire.

    Args:
        loop: the running loop.
        choose: gives the handler, as soon as the connection is ready.
        on_failed: told, in place of the handler, that the connection ended before it was ready.
        options: what is set on the socket.
        read_budget: bytes this stream may deliver in one turn of the loop; one for bulk may deliver more where it has the turn to itself
            (`ReadBuffer.share`).
        write_high: the high-water mark, in bytes.
    """

    __slots__ = (
        "__weakref__",
        "_blocked_told",
        "_choose",
        "_close_timer",
        "_ending",
        "_flush_scheduled",
        "_gathered",
        "_gathered_bytes",
        "_handler",
        "_long_reads_bytes",
        "_loop",
        "_on_failed",
        "_options",
        "_paused",
        "_read_budget",
        "_transport",
        "_turn_ends_at",
        "_turn_scheduled",
        "_window",
        "_write_high",
        "peer",
        "tls",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        choose: "Callable[[BaseStream], StreamHandler]",
        on_failed: "Callable[[BaseStream, Exception], None]",
        *,
        options: SocketOptions,
        read_budget: int = limits.READ_BUDGET_BYTES,
        write_high: int = limits.WRITE_HIGH_BYTES,
    ) -> None:
        self._loop = loop
        self._choose = choose
        self._on_failed = on_failed
        self._options = options
        self._read_budget = read_budget
        self._window = READ_BUFFER.window(read_budget)
        self._long_reads_bytes = 0
        self._turn_ends_at = -1 if isinstance(loop, asyncio.SelectorEventLoop) else read_budget
        self._write_high = write_high
        self._handler: StreamHandler | None = None
        self._transport = StreamTransport()
        self._ending = Ending()
        self._close_timer: asyncio.TimerHandle | CloseClock | None = None
        self._gathered: list[bytes] = []
        self._gathered_bytes = 0
        self._flush_scheduled = self._turn_scheduled = False
        self._blocked_told = False
        self._paused = False
        self.tls: TlsFacts | None = None
        self.peer = ""

    # What the owner calls -------------------------------------------------------------------------------------------

    def set_handler(self, handler: StreamHandler) -> None:
        """See `ByteStream`. A new owner of a stream whose writing is paused is told so in the next turn."""
        self._handler = handler
        if self._blocked_told:
            self._blocked_told = False
            self._schedule_flush()

    def set_socket_options(self, options: SocketOptions) -> None:
        """Change the socket's options, once it is known what the connection is for."""
        self._transport.set_options(options)

    def seconds_since_ack(self) -> float:
        """See `ByteStream`."""
        return self._transport.seconds_since_ack()

    def write(self, data: Buffer) -> None:
        """See `ByteStream`."""
        ending = self._ending
        if ending.closing or ending.requested:
            return
        size = len(data)
        if size < DIRECT_BYTES:
            self._gathered.append(bytes(data))
            self._gathered_bytes += size
        else:
            self._encode_gathered()
            self._encode(data)
        if not self._flush_scheduled:
            self._schedule_flush()

    def write_now(self, data: Buffer) -> None:
        """See `ByteStream`."""
        if not self._transport.open or self._ending.closing or self._ending.requested:
            return
        self._encode_gathered()
        self._encode(data)
        self._emit()
        if self._transport.blocked is not self._blocked_told:
            self._schedule_flush()

    def write_record(self, data: Buffer) -> None:
        """See `ByteStream`."""
        if self._ending.closing or self._ending.requested:
            return
        self._encode_gathered()
        self._encode(data)
        self._schedule_flush()

    def write_end(self) -> None:
        """See `ByteStream`."""
        if not self._ending.closing and not self._ending.requested:
            self._ending.requested = True
            self._schedule_flush()

    def close(self) -> None:
        """See `ByteStream`."""
        if not self._ending.closing:
            self._ending.closing = self._ending.requested = True
            self._arm_close()
            self._schedule_flush()

    def abort(self) -> None:
        """See `ByteStream`."""
        if not self._ending.aborted:
            self._ending.closing = self._ending.aborted = True
            self._forget_gathered()
            if not self._transport.open:
                self._cancel_close_timer()
            self._transport.abort()

    def pause_reading(self) -> None:
        """See `ByteStream`."""
        self._paused = True
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """See `ByteStream`."""
        if self._paused:
            self._paused = False
            self._schedule_turn()

    @property
    def waiting_bytes(self) -> int:
        """See `ByteStream`."""
        if not self._transport.open:
            return 0
        return self._gathered_bytes + self._transport.waiting_bytes

    @property
    def closing(self) -> bool:
        """See `ByteStream`."""
        return self._ending.closing

    def refuse(self, reason: str) -> None:
        """Close the connection as soon as it is made; for a listener that has too many. One that has failed before keeps its reason."""
        self._ending.error = self._ending.error or StreamError(reason)

    # What the transport calls ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over a connected socket."""
        self.peer = self._transport.made(transport, self._write_high)
        if self._ending.error is not None or self._ending.aborted:
            self._transport.abort()
        else:
            self._transport.set_options(self._options)
            self._made()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Show where to read into."""
        return self._window

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read."""
        if not self._ending.closing:
            self._received(self._window[:nbytes])
        if nbytes == self._turn_ends_at:
            self._long_reads_bytes += nbytes
            READ_BUFFER.filled()
            # libuv reads the same socket again, up to 32 times in a turn, but only behind a read that filled the buffer.
            # So a full buffer is the one case in which the turn has to be ended by hand. Pausing is not free (a pair of
            # io_uring_enter in libuv), so asyncio's own loop, which reads once in a turn, is spared it.
            self._transport.pause_reading()
            self._schedule_turn()

    def eof_received(self) -> bool:
        """Take the peer's FIN; True keeps our own direction open."""
        self._transport.fin_seen = True
        if self._ending.closing:
            return False
        self._received_fin()
        return True

    def pause_writing(self) -> None:
        """More than the high-water mark waits in the transport."""
        self._transport.blocked = True
        if not self._transport.sending:
            self._tell_pressure()

    def resume_writing(self) -> None:
        """Less than the low-water mark waits in the transport."""
        self._transport.blocked = False
        if not self._transport.sending:
            self._tell_pressure()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed; the one place from which the end is told."""
        error = self._ending.outcome(exc)
        self._transport.lost()
        self._ending.closing = True
        self._forget_gathered()
        self._cancel_close_timer()
        self._tell_closed(error)

    # What the kinds of streams differ in ----------------------------------------------------------------------------

    @abstractmethod
    def _made(self) -> None:
        """The socket is connected."""

    @abstractmethod
    def cut(self) -> None:
        """See `ByteStream`."""

    @abstractmethod
    def _received(self, data: memoryview) -> None:
        """Bytes came from the socket."""

    @abstractmethod
    def _received_fin(self) -> None:
        """The socket's FIN came."""

    @abstractmethod
    def _deliver_held(self) -> bool:
        """Deliver what was held back while the owner paused; whether nothing of it is left."""

    @abstractmethod
    def _encode(self, data: Buffer) -> None:
        """Put `data` into its form on the wire."""

    @abstractmethod
    def _encode_end(self) -> None:
        """Put the end of our direction into its form on the wire."""

    @abstractmethod
    def _emit(self) -> None:
        """Hand to the transport what is encoded."""

    def _is_full(self) -> bool:
        """Whether reading must wait for something other than the owner."""
        return False

    # Opening and telling --------------------------------------------------------------------------------------------

    def _open(self) -> None:
        """The connection is ready: give it to its owner."""
        try:
            self._handler = self._choose(self)
        except StreamError as error:
            self._break(error)
        except Exception as error:
            self._report(error, "no handler could be chosen")
            self._break(error)
        else:
            self._guard(self._tell_opened)

    def _tell_opened(self) -> None:
        if self._handler is not None:
            self._handler.stream_opened(self)

    def _tell_pressure(self) -> None:
        blocked = self._transport.blocked
        if blocked is self._blocked_told or self._ending.closing or self._handler is None:
            return
        self._blocked_told = blocked
        if blocked:
            self._handler.stream_write_paused()
        else:
            self._handler.stream_write_resumed()

    def _tell_end(self) -> None:
        """Tell that the peer has ended, behind everything it sent before."""
        ending = self._ending
        if ending.peer is Peer.SENDS or ending.peer_told or ending.closing:
            return
        if self._paused or self._handler is None:
            return
        ending.peer_told = True
        if ending.peer is Peer.ENDED:
            self._handler.stream_ended()
            self._finish_if_both_ended()
        else:
            self._break(TruncatedError("the peer closed without close_notify"))

    def _tell_closed(self, error: Exception | None) -> None:
        handler, self._handler = self._handler, None
        if handler is not None:
            handler.stream_closed(error)
        else:
            self._on_failed(self, error or StreamError("closed before it was ready"))

    # Turns ----------------------------------------------------------------------------------------------------------

    def _schedule_turn(self) -> None:
        if not self._turn_scheduled:
            self._turn_scheduled = True
            self._loop.call_soon(self._next_turn)

    def _next_turn(self) -> None:
        """Go on reading, unless the owner has paused it."""
        self._turn_scheduled = False
        if self._long_reads_bytes:
            self._take_share()
        closing = self._ending.closing
        if not self._transport.open or (self._paused and not closing):
            return
        if not closing:
            self._guard(self._catch_up)
        if self._ending.closing or not (self._paused or self._turn_scheduled or self._is_full()):
            self._transport.resume_reading()

    def _take_share(self) -> None:
        size = max(self._read_budget, READ_BUFFER.share())
        if size != self._turn_ends_at and self._long_reads_bytes >= BULK_BYTES:
            self._window = READ_BUFFER.window(size)
            self._turn_ends_at = size

    def _catch_up(self) -> None:
        if not self._deliver_held():
            self._schedule_turn()
        self._tell_end()

    # Writing --------------------------------------------------------------------------------------------------------

    def _schedule_flush(self) -> None:
        if not self._flush_scheduled and self._transport.open:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Send what the turn has gathered."""
        self._flush_scheduled = False
        ending = self._ending
        if not self._transport.open or ending.aborted:
            return
        self._encode_gathered()
        if ending.requested and not ending.sent:
            ending.sent = True
            self._encode_end()
        self._emit()
        if ending.closing:
            self._finish_close()
        else:
            if self._transport.blocked is not self._blocked_told:
                self._guard(self._tell_pressure)
            if ending.sent:
                self._finish_if_both_ended()

    def _encode_gathered(self) -> None:
        gathered = self._gathered
        if gathered:
            self._gathered = []
            self._gathered_bytes = 0
            self._encode(gathered[0] if len(gathered) == 1 else b"".join(gathered))

    def _forget_gathered(self) -> None:
        self._gathered = []
        self._gathered_bytes = 0

    # Closing --------------------------------------------------------------------------------------------------------

    def _finish_if_both_ended(self) -> None:
        if self._ending.both_ended and self._transport.open:
            self._ending.closing = True
            self._arm_close()
            self._transport.close()

    def _finish_close(self) -> None:
        """All has been handed to the transport: end our direction, then throw away what comes until the peer's FIN."""
        transport = self._transport
        if transport.closing:
            return
        if transport.fin_seen or self._ending.peer is Peer.ENDED:
            transport.close()
        else:
            transport.write_eof()
            transport.resume_reading()

    def _arm_close(self) -> None:
        self._close_timer = CloseClock(self._loop, lambda: self.waiting_bytes, self._break_off_close)

    def _break_off_close(self, lost: int) -> None:
        if lost and self._ending.error is None:
            self._ending.error = CloseTimeout(f"{lost} bytes were not taken by the peer")
        self._ending.aborted = True
        self._transport.abort()

    def _cancel_close_timer(self) -> None:
        if self._close_timer is not None:
            self._close_timer.cancel()
            self._close_timer = None

    def _break(self, error: Exception) -> None:
        """End the connection at once because of `error`."""
        self._ending.fail(error)
        self._forget_gathered()
        self._transport.abort()

    def _guard(self, step: Callable[[], None]) -> None:
        """Run a step that calls the owner; an owner that fails loses its connection.

        Only for callbacks of our own: the transports do the same for theirs."""
        try:
            step()
        except Exception as error:
            self._report(error, "the connection's owner failed")
            self._break(error)

    def _report(self, error: Exception, message: str) -> None:
        self._loop.call_exception_handler({"message": message, "exception": error, "protocol": self})
