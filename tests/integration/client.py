"""An HTTP/1.1 client that sends exactly the bytes it is told to, and reads an answer without believing more than it must."""

import json
from dataclasses import dataclass
from typing import Any

from tests.integration.tls_end import End, TlsEnd
from tests.integration.waiting import soon


class Cut(Exception):
    """The connection ended in the middle of an answer.

    Args:
        end: how.
        body: what had come of the body.
    """

    def __init__(self, end: End | None, body: bytes = b"") -> None:
        super().__init__(f"cut ({end}) behind {body[:200]!r}")
        self.end = end
        self.body = body


@dataclass
class Answer:
    """A final answer.

    Attributes:
        line: the status line.
        fields: in order and spelling.
        body: without its framing.
        interim: heads of 1xx that came before it.
    """

    line: str
    fields: list[tuple[str, str]]
    body: bytes
    interim: list[str]

    @property
    def status(self) -> int:
        return int(self.line.split(" ")[1])

    def values(self, name: str) -> list[str]:
        """The values of all fields of this name, in order."""
        return [value for key, value in self.fields if key.lower() == name]

    @property
    def kubernetes_status(self) -> dict[str, Any]:
        """The body as a Kubernetes Status, checked to be one that kubectl understands."""
        found: dict[str, Any] = json.loads(self.body)
        assert found["kind"] == "Status"
        assert found["code"] == self.status
        assert self.values("content-type") == ["application/json"]
        return found

    @property
    def message(self) -> str:
        """The message of the Status."""
        text: str = self.kubernetes_status["message"]
        return text


def request(
    line: str, *fields: str, host: str = "localhost", body: bytes = b"", close: bool = False
) -> bytes:
    """The bytes of a request: a line such as `GET /api`, fields, and a body with its length."""
    lines = [f"{line} HTTP/1.1", f"Host: {host}", *fields]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    if close:
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def chunked(*pieces: bytes) -> bytes:
    """A body in chunks, with its end."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (*pieces, b""))


class Client:
    """One connection to the stub.

    Args:
        end: it.
    """

    def __init__(self, end: TlsEnd) -> None:
        self.end = end

    def send(self, data: bytes) -> None:
        """Send exactly these bytes."""
        self.end.write(data)

    async def ask(self, line: str, *fields: str, host: str = "localhost", body: bytes = b"") -> Answer:
        """Send a request and read its answer."""
        self.send(request(line, *fields, host=host, body=body))
        return await self.answer(to_head=line.startswith("HEAD "))

    async def answer(self, *, to_head: bool = False) -> Answer:
        """Read one final answer. Raises Cut where the connection ends before."""
        return await soon(self._answer(to_head))

    async def head(self) -> Answer:
        """Read one final head, and nothing of its body."""
        return await soon(self._head())

    async def chunk(self) -> bytes:
        """Read one chunk of a body; empty at its end. Raises Cut."""
        try:
            return await soon(self._chunk())
        except EOFError:
            raise Cut(self.end.end) from None

    async def ended(self) -> End:
        """Read to the connection's end, which must come without another byte, and return how it ended."""
        left = await soon(self.end.read_to_end())
        assert left == b"", left[:300]
        assert self.end.end is not None
        return self.end.end

    async def close(self) -> None:
        """Close the connection."""
        await self.end.close()

    async def _head(self) -> Answer:
        interim: list[str] = []
        while True:
            try:
                lines = (await self.end.read_until(b"\r\n\r\n")).decode("latin-1")[:-4].split("\r\n")
            except EOFError:
                raise Cut(self.end.end, bytes(self.end.buffer)) from None
            fields = [(name, value) for name, _, value in (line.partition(": ") for line in lines[1:])]
            answer = Answer(lines[0], fields, b"", interim)
            if answer.status >= 200 or answer.status == 101:
                return answer
            interim.append(lines[0])

    async def _answer(self, to_head: bool) -> Answer:
        answer = await self._head()
        if to_head or answer.status in (101, 204, 304):
            return answer
        answer.body = await self._body(answer)
        return answer

    async def _body(self, answer: Answer) -> bytes:
        if answer.values("transfer-encoding") == ["chunked"]:
            return await self._chunks()
        lengths = answer.values("content-length")
        if not lengths:
            assert answer.values("connection") == ["close"]
            return await self._until_close()
        assert len(lengths) == 1
        try:
            return await self.end.read_exactly(int(lengths[0]))
        except EOFError:
            raise Cut(self.end.end, bytes(self.end.buffer)) from None

    async def _until_close(self) -> bytes:
        body = await self.end.read_to_end()
        if self.end.end is not End.CLOSE_NOTIFY:
            raise Cut(self.end.end, body)
        return body

    async def _chunks(self) -> bytes:
        body = bytearray()
        try:
            while piece := await self._chunk():
                body += piece
        except EOFError:
            raise Cut(self.end.end, bytes(body)) from None
        return bytes(body)

    async def _chunk(self) -> bytes:
        line = await self.end.read_until(b"\r\n")
        data = await self.end.read_exactly(int(line, 16) + 2)
        assert data.endswith(b"\r\n")
        return data[:-2]
