"""A user's connection: HTTP/1.1 by h11, which believes no answer that is not framed as it should be."""

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import h11

READ_BYTES: Final = 256 * 1024


class Broken(Exception):
    """The connection ended, or was not there, or what came is not HTTP.

    Args:
        reason: for people.
        reused: whether it had carried an answer before, so that it may have been closed while it was idle.
    """

    def __init__(self, reason: str, *, reused: bool = False) -> None:
        super().__init__(reason)
        self.reused = reused


@dataclass(frozen=True, slots=True)
class Answer:
    """A final answer; of one that has only begun the body is empty."""

    status: int
    fields: dict[str, str]
    body: bytes = b""


class Connection:
    """One connection, for one request at a time. See `open`.

    Attributes:
        answers: whole ones so far.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._state = h11.Connection(h11.CLIENT, max_incomplete_event_size=256 * 1024)
        self.answers = 0

    @classmethod
    async def open(cls, port: int, context: ssl.SSLContext | None = None) -> "Connection":
        """Connect to a port of the loopback. Raises OSError. Cancelling leaves nothing open."""
        name = "localhost" if context else None
        return cls(*await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name))

    @property
    def idle(self) -> bool:
        """Whether the next request can be sent here: all is read, and the other side has not ended it."""
        return (
            not self._reader.at_eof() and not self._writer.is_closing() and self._state.our_state is h11.IDLE
        )

    async def ask(
        self, method: str, target: str, fields: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Answer:
        """Send a request and return its whole answer. Raises Broken. Cancelling it leaves the connection unusable."""
        head = await self.begin(method, target, fields, body)
        pieces = []
        while piece := await self.piece():
            pieces.append(piece)
        return Answer(head.status, head.fields, b"".join(pieces))

    async def begin(
        self, method: str, target: str, fields: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Answer:
        """Send a request and return its answer's head; `piece` has the rest. Raises Broken."""
        lines = [("Host", "localhost"), *(fields or {}).items()]
        if body:
            lines.append(("Content-Length", str(len(body))))
        self._send(h11.Request(method=method, target=target, headers=lines))
        if body:
            self._send(h11.Data(data=body))
        self._send(h11.EndOfMessage())
        while True:
            event = await self._event()
            if isinstance(event, h11.InformationalResponse) and event.status_code != 101:
                continue
            if isinstance(event, h11.Response | h11.InformationalResponse):
                found = {name.decode(): value.decode() for name, value in event.headers}
                return Answer(event.status_code, found)
            raise Broken(f"{event!r} in place of an answer", reused=self.answers > 0)

    async def piece(self) -> bytes:
        """Return more of the body; empty at its proper end. Raises Broken where it is cut."""
        while True:
            event = await self._event()
            if isinstance(event, h11.Data):
                if event.data:
                    return bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                self._over()
                return b""
            else:
                raise Broken(f"the answer is cut: {event!r}")

    def _over(self) -> None:
        self.answers += 1
        if self._state.our_state is h11.MUST_CLOSE or self._state.their_state is h11.MUST_CLOSE:
            self.close()
        elif self._state.our_state is h11.DONE and self._state.their_state is h11.DONE:
            self._state.start_next_cycle()

    def _send(self, event: h11.Event) -> None:
        data = self._state.send(event)
        if data:
            self._writer.write(data)

    async def _event(self) -> h11.Event:
        try:
            while not isinstance(event := self._state.next_event(), h11.Event):
                # PAUSED comes behind a 101 alone, which `begin` returns.
                self._state.receive_data(await self._reader.read(READ_BYTES))
        except (OSError, h11.RemoteProtocolError) as error:
            raise Broken(f"{type(error).__name__}: {error}", reused=self.answers > 0) from None
        return event

    # Behind a 101 ----------------------------------------------------------------------------------

    def send_raw(self, data: bytes) -> None:
        """Send bytes of the pipe."""
        self._writer.write(data)

    async def read_raw(self) -> bytes:
        """Return bytes of the pipe; empty at its end. Raises Broken."""
        early, _ = self._state.trailing_data
        if early:
            self._state = h11.Connection(h11.CLIENT)
            return bytes(early)
        try:
            return await self._reader.read(READ_BYTES)
        except OSError as error:
            raise Broken(f"{type(error).__name__}: {error}") from None

    def close(self) -> None:
        """Close it at once."""
        # uvloop's word for a transport that is closed already.
        with contextlib.suppress(RuntimeError):
            self._writer.transport.abort()
