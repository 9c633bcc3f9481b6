"""One client connection: HTTP/1.1 by h11, one request after the other, then perhaps an upgrade."""

import asyncio
import gzip
import http as standard
import re
import socket
import struct
import uuid
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import Any, Final

import h11

from tests.kubesim.faults import Cut, Pace
from tests.kubesim.http import Headers, Request, Response

HEAD_BYTES: Final = 1024 * 1024
READ_BYTES: Final = 64 * 1024
GZIP_BYTES: Final = 128 * 1024
_AUDIT_ID: Final = re.compile(r"[\w.:-]{1,64}\Z")


class PushbackReader(asyncio.StreamReader):
    """A reader that takes bytes back: those that were read past a head."""

    def push_back(self, data: bytes) -> None:
        """Deliver `data` before everything that has not been read yet."""
        self._buffer[0:0] = data  # type: ignore[attr-defined]


Handler = Callable[[Request, "Connection"], Awaitable[Response | None]]


class Connection:
    """Serves requests until either side ends the connection.

    Args:
        handle: answers a request; None where it has taken the connection over.
    """

    def __init__(self, reader: PushbackReader, writer: asyncio.StreamWriter, handle: Handler) -> None:
        self.reader = reader
        self.writer = writer
        self._handle = handle
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
        self.pace: Pace | None = None
        self.cut: Cut | None = None

    async def serve(self) -> None:
        """Answer one request after the other; returns when the connection is over."""
        while True:
            request = await self._next_request()
            if request is None:
                return
            response = await self._answer(request)
            if response is None or not await self._send(request, response):
                return
            await self._drain_body()
            if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
                return
            self._http.start_next_cycle()

    async def _next_request(self) -> Request | None:
        try:
            event = await self._next_event()
        except h11.RemoteProtocolError as error:
            await self._refuse(error.error_status_hint)
            return None
        if not isinstance(event, h11.Request):
            return None
        headers = [(name.decode("latin-1"), value.decode("utf-8", "surrogateescape")) for name, value in
                   event.headers.raw_items()]  # fmt: skip
        tls = self.writer.get_extra_info("ssl_object")
        given = next((v for k, v in headers if k.lower() == "audit-id"), "")
        return Request(
            method=event.method.decode("ascii"),
            target=event.target.decode("latin-1"),
            headers=headers,
            read_body=self._read_body,
            peer_certificate=tls.getpeercert(True) if tls else None,
            peer=self.writer.get_extra_info("peername")[0],
            audit_id=given if _AUDIT_ID.match(given) else str(uuid.uuid4()),
        )

    async def _answer(self, request: Request) -> Response | None:
        return await self._handle(request, self)

    async def _next_event(self) -> object:
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event
            if self._http.they_are_waiting_for_100_continue:
                go_on = self._http.send(
                    h11.InformationalResponse(status_code=100, headers=[], reason="Continue")
                )
                self.writer.write(go_on or b"")
            self._http.receive_data(await self.reader.read(READ_BYTES))

    async def _read_body(self) -> bytes:
        if self._http.their_state is not h11.SEND_BODY:
            return b""
        event = await self._next_event()
        return bytes(event.data) if isinstance(event, h11.Data) else b""

    async def _drain_body(self) -> None:
        """Read what the handler left of the body, so that the next request can be told from it."""
        if self._http.they_are_waiting_for_100_continue:
            return
        while self._http.their_state is h11.SEND_BODY:
            if isinstance(await self._next_event(), (h11.EndOfMessage, h11.ConnectionClosed)):
                return

    def take_over(self) -> None:
        """Hand the connection to an upgrade: what was read past the head goes back to the reader."""
        early, _ = self._http.trailing_data
        if early:
            self.reader.push_back(early)

    def send_informational(self, code: int) -> None:
        """Send a 1xx head before the answer."""
        phrase = standard.HTTPStatus(code).phrase
        self.writer.write(f"HTTP/1.1 {code} {phrase}\r\n\r\n".encode())

    async def _refuse(self, code: int) -> None:
        """Answer what was no HTTP, as Go's server does, and end the connection."""
        phrase = standard.HTTPStatus(code).phrase
        head = f"HTTP/1.1 {code} {phrase}\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
        self.writer.write(head.encode() + f"{code} {phrase}".encode())
        await self.writer.drain()

    async def _send(self, request: Request, response: Response) -> bool:
        """Send an answer; returns whether the connection may go on."""
        headers = [*response.headers, ("Date", formatdate(usegmt=True))]
        bodyless = request.method == "HEAD" or response.status in (204, 304)
        if response.stream is not None and not bodyless:
            sized = any(key.lower() == "content-length" for key, _ in headers)
            framing = [] if sized else [("Transfer-Encoding", "chunked")]
            return await self._send_stream(response, headers + framing)
        body = response.body
        if response.compressible and len(body) > GZIP_BYTES and "gzip" in request.header("accept-encoding"):
            body = await asyncio.to_thread(gzip.compress, body, 4)
            headers += [("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding")]
        if response.status != 204 and not any(k.lower() == "content-length" for k, _ in headers):
            headers.append(("Content-Length", str(len(body))))
        self._head(response.status, headers)
        if not bodyless and not await self._write(body):
            return False
        self._end()
        await self.writer.drain()
        return True

    async def _send_stream(self, response: Response, headers: Headers) -> bool:
        """Send a stream's pieces, each as a chunk of its own; one that fails is cut, never ended."""
        assert response.stream is not None
        self._head(response.status, headers)
        await self.writer.drain()
        hung_up = asyncio.ensure_future(self._hung_up())
        pieces = aiter(response.stream)
        piece: asyncio.Future[bytes | None] | None = None
        try:
            while True:
                piece = asyncio.ensure_future(anext(pieces, None))
                await asyncio.wait({piece, hung_up}, return_when=asyncio.FIRST_COMPLETED)
                if not piece.done():
                    return False
                data = piece.result()
                if data is None:
                    break
                if not await self._write(data):
                    return False
        finally:
            await _cancelled(hung_up, piece)
            await pieces.aclose()  # type: ignore[attr-defined]
        self._end()
        await self.writer.drain()
        return True

    async def _hung_up(self) -> None:
        """Return when the client closes the connection during a stream; a pipelined request is kept."""
        while True:
            data = await self.reader.read(READ_BYTES)
            if not data:
                return
            self._http.receive_data(data)

    def _head(self, code: int, headers: Headers) -> None:
        reason = standard.HTTPStatus(code).phrase if code in standard.HTTPStatus._value2member_map_ else ""
        event = h11.Response(
            status_code=code, headers=[(k.encode(), v.encode()) for k, v in headers], reason=reason
        )
        self.writer.write(self._http.send(event) or b"")

    async def _write(self, data: bytes) -> bool:
        """Send body bytes; false where a fault cut them off."""
        if self.cut is not None:
            data, alive = self.cut.take(data)
            await self._write_paced(data)
            if not alive:
                self.abort(reset=self.cut.reset)
            return alive
        await self._write_paced(data)
        return True

    async def _write_paced(self, data: bytes) -> None:
        step = self.pace.step if self.pace else 256 * 1024
        for start in range(0, len(data), step):
            self.writer.write(self._http.send(h11.Data(data=data[start : start + step])) or b"")
            await self.writer.drain()
            if self.pace:
                await self.pace.wait(min(step, len(data) - start))

    def _end(self) -> None:
        self.writer.write(self._http.send(h11.EndOfMessage()) or b"")

    def abort(self, *, reset: bool = True) -> None:
        """End the connection at once, without a close_notify; with a TCP reset where asked for."""
        if reset:
            self.reset()
        self.writer.transport.abort()

    def reset(self) -> None:
        """Have the kernel send RST instead of FIN when the socket closes."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def _cancelled(*futures: "asyncio.Future[Any] | None") -> None:
    """Cancel what still runs and wait for its end."""
    left = [future for future in futures if future is not None]
    for future in left:
        future.cancel()
    await asyncio.gather(*left, return_exceptions=True)
