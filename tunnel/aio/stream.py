"""The one shape of a connection that all of the data path is written against.

A byte stream delivers what it receives by callbacks (`StreamHandler`) and takes what is to be sent without ever
blocking (`ByteStream`). There are two kinds: `tunnel.aio.tls.TlsStream` and `tunnel.aio.plain.PlainStream`.
"""

from dataclasses import dataclass
from typing import Protocol

from tunnel.aio.sockets import SocketOptions

Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class TlsFacts:
    """What a finished handshake established.

    Attributes:
        version: `TLSv1.3` or `TLSv1.2`.
        alpn: the protocol agreed on, or None where the peer offered none.
        server_name: the SNI the client sent (server side), or the name that was verified (client side).
        certificate: the peer's leaf certificate as DER, or None where it showed none.
    """

    version: str
    alpn: str | None
    server_name: str | None
    certificate: bytes | None


class StreamHandler(Protocol):
    """The owner of a connection. All calls come from the event loop; none comes from inside a call to the stream's
    own `write`, so a handler need not be re-entrant for it. `abort` and `close` never call back synchronously."""

    def stream_opened(self, stream: "ByteStream") -> None:
        """The connection is ready, over TLS after its handshake. Always the first call."""

    def stream_received(self, data: memoryview) -> None:
        """`data` arrived: a view of a buffer shared by the whole process, valid only until this call returns."""

    def stream_ended(self) -> None:
        """The peer will send no more, and said so (TLS: close_notify; plain: FIN). Writing goes on.

        A TLS connection that ends without close_notify is not this: it is `stream_closed` with a `TruncatedError`. Once both
        sides have ended, the stream closes by itself."""

    def stream_write_paused(self) -> None:
        """More than the high-water mark waits to be sent: stop the source. Writing stays allowed."""

    def stream_write_resumed(self) -> None:
        """Less than the low-water mark waits: the source may go on."""

    def stream_closed(self, error: Exception | None) -> None:
        """The connection is gone; always the last call, exactly once after `stream_opened`. `error` is None where both
        sides ended politely or this side aborted it, else why it broke."""


class ByteStream(Protocol):
    """An open connection."""

    tls: TlsFacts | None
    peer: str
    """The peer's address, for logs and X-Forwarded-For: an IP without the port."""

    def set_handler(self, handler: StreamHandler) -> None:
        """Hand the connection to another owner from the next event on (a channel becoming a raw pipe). `stream_opened` is
        not called again."""

    def set_socket_options(self, options: SocketOptions) -> None:
        """Change the socket's options, once it is known what the connection is for."""

    def seconds_since_ack(self) -> float:
        """Return how long ago the peer's kernel last acknowledged anything; 0 where the system does not say."""

    def write(self, data: Buffer) -> None:
        """Send `data`, together with everything else that is written in this turn of the loop. A memoryview is used up before
        this returns; bytes are kept until the turn's end. Ignored once the stream is closing."""

    def write_now(self, data: Buffer) -> None:
        """Send `data` at once, behind what was written before in this turn: for what a peer waits for. Pressure that comes of it is
        told in the next turn. Ignored once the stream is closing."""

    def write_record(self, data: Buffer) -> None:
        """Send `data` in a TLS record of its own: nothing written before or after shares it (a SPDY client loses whatever
        follows a 101 in the same record)."""

    def write_end(self) -> None:
        """Say that nothing more will be sent (TLS: close_notify; plain: FIN), behind all that was written. Reading goes on."""

    def close(self) -> None:
        """Send what waits, say the end, and close; broken off after `limits.CLOSE_SECONDS`. Nothing more is delivered."""

    def cut(self) -> None:
        """Send what waits and close without saying the end, so that the peer can tell that something is missing. Over plain TCP
        nothing else than a reset says so: there it is `abort`."""

    def abort(self) -> None:
        """Close at once; what waits is thrown away."""

    def pause_reading(self) -> None:
        """Deliver nothing more until `resume_reading`; the peer feels it through TCP. Idempotent."""

    def resume_reading(self) -> None:
        """Deliver again, in a later turn of the loop at the earliest. Idempotent."""

    @property
    def waiting_bytes(self) -> int:
        """How much was written and has not been handed to the kernel."""

    @property
    def closing(self) -> bool:
        """Whether `close` or `abort` was called, or the connection is gone."""
