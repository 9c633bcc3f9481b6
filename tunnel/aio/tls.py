"""A byte stream over TLS: OpenSSL between two memory BIOs, on one of the loop's plain transports.

Built here, rather than taken from asyncio or uvloop, for what these do not have: half-close, truncation told from an end, a
budget per turn, control of record boundaries, one buffer for all connections, and handshakes off the loop.

An idle connection of a server holds 30 KiB with the peer's certificate in it, and 51 KiB once it has received 300 KiB; with
uvloop's own TLS that is 36 and 291 KiB (1000 connections, `python -m tests.bench.tls_streams --what idle`). OpenSSL's state
alone is 16 KiB; CPython sets SSL_MODE_RELEASE_BUFFERS, so its record buffers go back while nothing is under way.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Final, cast

from tunnel.aio.basestream import BaseStream
from tunnel.aio.closing import Peer
from tunnel.aio.errors import HandshakeFailed, TlsBroken, describe_tls_error
from tunnel.aio.handshake import Handshake
from tunnel.aio.readbuffer import BULK_BYTES, READ_BUFFER, RECORD_BYTES
from tunnel.aio.sockets import SocketOptions
from tunnel.aio.stream import Buffer, StreamHandler, TlsFacts
from tunnel.core import limits

HEADER_BYTES: Final = 5
"""Content type, version and length stand in front of every record (RFC 8446 5.1)."""

LARGEST_RECORD_BYTES: Final = HEADER_BYTES + RECORD_BYTES + 2048
"""TLS 1.2 allows this much (RFC 5246 6.2.3); of what claims to be larger, OpenSSL need not see the end to refuse it."""

RECORDS_PER_TURN: Final = 256
"""A peer that sends tiny records costs about 2 µs for each; this keeps a turn below a millisecond."""

RECORDS_PER_EMIT: Final = 16
"""Records of a large write that are handed to the transport at a time: 256 KiB."""

BULK_WRITE_BYTES: Final = 64 * limits.KIB
"""A connection for bulk (`BULK_BYTES`) gets this much encrypted in one go, which saves 2 of 33 µs. All others keep a small BIO."""

ALERT_SECONDS: Final = 1.0
"""How long a failed handshake waits for the peer to read the alert: a reset would overtake it, and the peer's user would read
`connection reset` in place of the reason."""

CONTROL_BYTES: Final = 4 * limits.KIB
"""Answers of TLS itself (alerts, KeyUpdates) for a peer that makes us answer and does not read."""

_ReadInto = Callable[[int, memoryview], int]

_PLAIN_HTTP_ANSWER: Final = (
    b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"
    b"An HTTP request was sent to a port that speaks HTTPS.\n"
)


class TlsStream(BaseStream):
    """A `ByteStream` over TLS; ready when the handshake is done.

    Args:
        loop, choose, on_failed, options, read_budget, write_high: see `BaseStream`.
        context: made for the side this is; see `capture_server_name` for a server's.
        server_hostname: the name to verify (client), or None on the server's side.
        handshake_seconds: how long the handshake may take.
    """

    __slots__ = (
        "_control_bytes",
        "_handshake",
        "_header",
        "_held",
        "_incoming",
        "_long_bytes",
        "_missing",
        "_outgoing",
        "_plaintext",
        "_read",
        "_server_hostname",
        "_sslobj",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        choose: Callable[[BaseStream], StreamHandler],
        on_failed: Callable[[BaseStream, Exception], None],
        *,
        context: ssl.SSLContext,
        server_hostname: str | None,
        options: SocketOptions,
        handshake_seconds: float = limits.HANDSHAKE_SECONDS,
        read_budget: int = limits.READ_BUDGET_BYTES,
        write_high: int = limits.WRITE_HIGH_BYTES,
    ) -> None:
        super().__init__(
            loop, choose, on_failed, options=options, read_budget=read_budget, write_high=write_high
        )
        self._server_hostname = server_hostname
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._sslobj = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=server_hostname is None,
            server_hostname=server_hostname,
        )
        # typeshed knows only the form without a buffer, which returns the bytes themselves.
        self._read = cast(_ReadInto, self._sslobj.read)
        self._plaintext = READ_BUFFER.plaintext
        self._held = self._header = b""
        self._missing = 0
        self._control_bytes = self._long_bytes = 0
        self._handshake: Handshake | None = Handshake(
            loop, self._sslobj, self._incoming, self._outgoing, self._send_flight, self._handshake_finished
        )
        self._close_timer = loop.call_later(handshake_seconds, self._handshake_expired)

    # The handshake --------------------------------------------------------------------------------------------------

    def _made(self) -> None:
        if self._server_hostname is not None and self._handshake is not None:
            self._handshake.step()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        handshake = self._handshake
        ending = self._ending
        if handshake is not None and handshake.running and ending.error is None and not ending.aborted:
            # A reset often follows the alert that says why; the thread may be reading that alert just now.
            self._transport.lost()
            ending.error = HandshakeFailed(
                self.peer, f"the connection was lost: {exc or 'closed by the peer'}"
            )
            handshake.ended()
            return
        if handshake is not None:
            handshake.stop()
        super().connection_lost(exc)

    def _send_flight(self, flight: bytes) -> None:
        if self._transport.closing:
            return
        if flight:
            self._transport.write(flight)
        if self._transport.paused:
            self._schedule_turn()

    def _is_full(self) -> bool:
        # Behind a queue for the handshake threads a peer could send far ahead.
        return self._handshake is not None and len(self._handshake.kept) >= len(self._window)

    def _handshake_finished(self, error: Exception | None) -> None:
        handshake = self._handshake
        assert handshake is not None
        self._cancel_close_timer()
        if not self._transport.open:
            self._lost_during_step(error)
        elif self._ending.closing:
            return
        elif error is not None:
            self._fail_handshake(_handshake_reason(error), error)
        elif self._server_hostname is None and self._sslobj.session_reused:
            # A ticket of one cluster's login was accepted for another; contexts switch tickets off, this makes sure.
            self._fail_handshake("a resumed session is not accepted", None)
        else:
            self._held = self._incoming.read() + bytes(handshake.kept)
            self._handshake = None
            self.tls = self._facts()
            self._open()
            self._schedule_turn()

    def _lost_during_step(self, error: Exception | None) -> None:
        if isinstance(error, ssl.SSLError):
            self._ending.error = HandshakeFailed(self.peer, _handshake_reason(error))
        self._handshake = None
        super().connection_lost(None)

    def _handshake_expired(self) -> None:
        self._close_timer = None
        if self._handshake is not None:
            self._ending.error = HandshakeFailed(self.peer, "the handshake took too long")
            self._break(self._ending.error)

    def _fail_handshake(self, reason: str, cause: Exception | None) -> None:
        """End a connection whose handshake failed, and let the peer read the alert."""
        failure = HandshakeFailed(self.peer, reason)
        failure.__cause__ = cause
        self._ending.error = failure
        self._ending.closing = True
        if self._handshake is not None:
            self._handshake.give_up()
        transport = self._transport
        if isinstance(cause, ssl.SSLError) and cause.reason == "HTTP_REQUEST":
            transport.write(_PLAIN_HTTP_ANSWER)
        self._close_timer = self._loop.call_later(ALERT_SECONDS, transport.abort)
        if self._server_hostname is None and not transport.fin_seen and not transport.closing:
            transport.write_eof()
            transport.resume_reading()
        else:
            transport.close()

    def _facts(self) -> TlsFacts:
        sslobj = self._sslobj
        return TlsFacts(
            version=sslobj.version() or "",
            alpn=sslobj.selected_alpn_protocol(),
            server_name=self._server_hostname or getattr(sslobj, _SERVER_NAME, None),
            certificate=sslobj.getpeercert(True),
        )

    # Receiving ------------------------------------------------------------------------------------------------------

    def _received(self, data: memoryview) -> None:
        if self._handshake is not None:
            self._handshake.received(data)
            if len(self._handshake.kept) >= len(self._window):
                self._transport.pause_reading()
        elif self._held or self._paused:
            self._held = b"".join((self._held, data))
            self._transport.pause_reading()
        elif self._ending.peer is Peer.SENDS:
            self._decrypt(data)

    def _received_fin(self) -> None:
        if self._handshake is not None:
            self._handshake.ended()
            return
        if self._ending.peer is Peer.SENDS and not self._held:
            self._ending.peer = Peer.TRUNCATED
        self._tell_end()

    def _deliver_held(self) -> bool:
        if self._held and self._ending.peer is Peer.SENDS:
            held, self._held = self._held, b""
            self._decrypt(memoryview(held))
        if self._held and self._ending.peer is Peer.SENDS:
            return False
        if self._transport.fin_seen and self._ending.peer is Peer.SENDS:
            self._ending.peer = Peer.TRUNCATED
        return True

    def _decrypt(self, data: memoryview) -> None:
        """Decrypt and deliver; what is left over for a later turn stays as ciphertext outside the BIO."""
        size = len(data)
        if (
            size > HEADER_BYTES
            and size - HEADER_BYTES == (data[3] << 8 | data[4])
            and not self._missing
            and not self._header
        ):
            filled = self._open_record(data)
        else:
            filled, used = self._open_records(data)
            if used < size:
                self._held = bytes(data[used:])
        if self._outgoing.pending and not self._flush_scheduled:
            self._answer()
        if filled and self._handler is not None:
            self._handler.stream_received(self._plaintext[:filled])
        if self._ending.peer is not Peer.SENDS or self._ending.error is not None:
            self._finish_reading()
        elif self._held:
            self._transport.pause_reading()
            self._schedule_turn()

    def _open_record(self, record: memoryview) -> int:
        """Decrypt one whole record, which is what most reads are, into the shared buffer; return how much plaintext that is."""
        self._incoming.write(record)
        try:
            count = self._read(RECORD_BYTES, self._plaintext)
        except ssl.SSLWantReadError:
            return 0  # a record of TLS's own: a ticket, a KeyUpdate
        except ssl.SSLError as error:
            self._read_failed(error)
            return 0
        if not count:
            self._ending.peer = Peer.ENDED
        return count

    def _open_records(self, data: memoryview) -> tuple[int, int]:
        """Decrypt records into the shared buffer; return how much plaintext that is, and how much of `data` it took.

        OpenSSL gets one whole record at a time. Asking it behind a part of one costs an exception (2 µs; 12 % of a 32 KiB
        read), and the BIO, which never shrinks, stays at 22 KiB for a connection that was busy once (86 KiB if it got all).
        """
        plaintext = self._plaintext
        feed = self._incoming.write
        read = self._read
        size = len(data)
        filled = position = 0
        missing = self._missing
        for _ in range(RECORDS_PER_TURN):
            # What came behind a handshake may be more than one read, and a record that finds no room would read as the end.
            if position >= size or filled > READ_BUFFER.plaintext_room:
                break
            if not missing:
                if self._header or size - position < HEADER_BYTES:
                    missing = self._join_header(data[position : position + HEADER_BYTES])
                else:
                    missing = HEADER_BYTES + (data[position + 3] << 8 | data[position + 4])
            end = position + missing
            if end > size and missing <= LARGEST_RECORD_BYTES:
                feed(data[position:])
                missing = 0 if self._header else end - size
                position = size
                break
            feed(data[position:end])
            position, missing = end, 0
            try:
                count = read(RECORD_BYTES, plaintext[filled:])
            except ssl.SSLWantReadError:
                continue  # a record of TLS's own: a ticket, a KeyUpdate
            except ssl.SSLError as error:
                self._read_failed(error)
                break
            if not count:
                self._ending.peer = Peer.ENDED
                break
            filled += count
        self._missing = missing
        return filled, position

    def _join_header(self, piece: memoryview) -> int:
        """Take a record's header that comes in pieces; return what is missing from here to the record's end.

        While the header itself is not complete it is kept, and that is more than `piece` holds."""
        known = self._header
        header = known + bytes(piece[: HEADER_BYTES - len(known)])
        if len(header) < HEADER_BYTES:
            self._header = header
            return HEADER_BYTES - len(known)
        self._header = b""
        return HEADER_BYTES + (header[3] << 8 | header[4]) - len(known)

    def _read_failed(self, error: ssl.SSLError) -> None:
        if isinstance(error, ssl.SSLZeroReturnError):
            self._ending.peer = Peer.ENDED  # a close_notify behind our own
        else:
            self._ending.error = TlsBroken(describe_tls_error(error))

    def _finish_reading(self) -> None:
        if self._ending.error is None:
            self._tell_end()
        elif not self._ending.closing and self._transport.open:
            self._ending.closing = True
            self._emit()  # our alert
            self._arm_close()
            self._transport.close()

    def _answer(self) -> None:
        """OpenSSL has something to say itself; a peer that provokes it must also read it."""
        if self._transport.blocked:
            self._control_bytes += self._outgoing.pending
        if self._control_bytes > CONTROL_BYTES:
            self._break(TlsBroken("the peer provokes answers of TLS and does not read them"))
        else:
            self._schedule_flush()

    def cut(self) -> None:
        """See `ByteStream`: a close as usual, but for the close_notify."""
        if not self._ending.closing:
            self._ending.sent = True
            self.close()

    # Sending --------------------------------------------------------------------------------------------------------

    def _encode(self, data: Buffer) -> None:
        size = len(data)
        try:
            if size > RECORD_BYTES and self._long_bytes < BULK_BYTES:
                self._long_bytes += size
                self._encode_long(memoryview(data))
            elif size <= BULK_WRITE_BYTES:
                if size:
                    self._sslobj.write(data)
            else:
                self._encode_bulk(memoryview(data))
        except ssl.SSLError as error:
            self._break(TlsBroken(describe_tls_error(error)))

    def _encode_long(self, view: memoryview) -> None:
        """Encrypt and take each record by itself: the BIO never shrinks, and would keep the size of the largest write (65 in place
        of 21 KiB behind one of 64 KiB)."""
        write, outgoing = self._sslobj.write, self._outgoing
        pieces = [outgoing.read()]
        for start in range(0, len(view), RECORD_BYTES):
            write(view[start : start + RECORD_BYTES])
            pieces.append(outgoing.read())
            if len(pieces) >= RECORDS_PER_EMIT:
                self._transport.write(b"".join(pieces))
                pieces = []
        if pieces:
            # Not writelines, which in asyncio of 3.12.0 to 3.12.8, 3.13.0 and 3.13.1 says nothing of pressure (CVE-2024-12254).
            self._transport.write(b"".join(pieces))

    def _encode_bulk(self, view: memoryview) -> None:
        for start in range(0, len(view), BULK_WRITE_BYTES):
            self._sslobj.write(view[start : start + BULK_WRITE_BYTES])
            self._transport.write(self._outgoing.read())

    def _encode_end(self) -> None:
        # SSL_shutdown sends close_notify and then looks for the peer's, where application data is an error; the BIO is
        # empty here, so it finds nothing (WANT_READ). Reading goes on as before.
        try:
            self._sslobj.unwrap()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self._break(TlsBroken(describe_tls_error(error)))

    def _emit(self) -> None:
        if self._outgoing.pending and self._transport.open:
            self._transport.write(self._outgoing.read())


_SERVER_NAME: Final = "requested_server_name"


def capture_server_name(context: ssl.SSLContext) -> None:
    """Make a server's context remember the SNI of each connection, for `TlsFacts.server_name`.

    OpenSSL tells it only to the context's callback. The callback gets the connection's own `SSLObject`, so the name is kept as
    an attribute of that. A callback which the context already has goes on being called. It runs on a handshake thread.
    """
    earlier = context.sni_callback
    if getattr(earlier, "captures_server_name", False):
        return

    def capture(sslobj: ssl.SSLObject, name: str | None, outer: ssl.SSLContext) -> int | None:
        setattr(sslobj, _SERVER_NAME, name)
        if earlier is not None:
            # typeshed has the name as str only; it is None where the client sent none.
            return earlier(sslobj, cast(str, name), outer)
        return None

    capture.captures_server_name = True  # type: ignore[attr-defined]
    context.sni_callback = capture


def _handshake_reason(error: Exception) -> str:
    return str(error) if isinstance(error, EOFError) else describe_tls_error(error)
