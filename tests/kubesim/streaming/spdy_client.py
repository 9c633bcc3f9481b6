"""The client's end of an exec, attach or port-forward over SPDY, for tests that watch what kubectl does not show.

Unlike kubectl's it keeps the bytes that arrive together with the 101.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.kubesim.streaming.connection import SpdyConnection, SpdyStream
from tests.kubesim.streaming.handshake import VERSION_HEADER
from tests.kubesim.streaming.wire import SocketWire


class UpgradeRefused(Exception):
    """The answer was no 101.

    Args:
        code: its status.
        body: its body.
    """

    def __init__(self, code: int, body: bytes) -> None:
        super().__init__(f"{code}: {body.decode('utf-8', 'replace')}")
        self.code = code
        self.body = body


@dataclass(frozen=True, slots=True)
class AnswerHead:
    """The status and the fields of an answer, names in lower case."""

    code: int
    fields: list[tuple[str, str]]

    def field(self, name: str) -> str:
        """Return a field's first value, or nothing."""
        return next((value for key, value in self.fields if key == name), "")


@dataclass(slots=True)
class CommandResult:
    """What a command sent: `error` holds the Status, or plain text before v4."""

    outputs: dict[str, bytes] = field(default_factory=dict)

    @property
    def error(self) -> bytes:
        return self.outputs["error"]


async def upgrade(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    target: str,
    protocols: Sequence[str],
    *,
    host: str = "localhost",
) -> tuple[AnswerHead, SpdyConnection]:
    """Ask for SPDY/3.1 on an open connection; what followed the 101 at once is not lost.

    Raises:
        UpgradeRefused: the answer was something else.
    """
    lines = [f"POST {target} HTTP/1.1", f"Host: {host}", "Content-Length: 0", "Connection: Upgrade"]
    lines += ["Upgrade: SPDY/3.1", *(f"{VERSION_HEADER}: {protocol}" for protocol in protocols)]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
    head = await read_head(reader)
    if head.code != 101:
        raise UpgradeRefused(head.code, await reader.readexactly(int(head.field("content-length") or 0)))
    return head, SpdyConnection(SocketWire(reader, writer), client=True)


async def read_head(reader: asyncio.StreamReader) -> AnswerHead:
    """Read a response's head and not a byte more."""
    first, *rest = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
    pairs = (line.partition(":") for line in rest)
    return AnswerHead(int(first.split(" ")[1]), [(name.lower(), value.strip()) for name, _, value in pairs])


async def run_command(
    connection: SpdyConnection, outputs: Sequence[str] = ("stdout", "stderr"), stdin: bytes | None = None
) -> CommandResult:
    """Open the streams kubectl would, send `stdin` and its end, and collect everything to the end."""
    result = CommandResult()

    async def collect(name: str, stream: SpdyStream) -> None:
        collected = b""
        while data := await stream.read():
            collected += data
        result.outputs[name] = collected

    async with asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(connection.run())
        streams = {name: connection.open((("streamtype", name),)) for name in ("error", *outputs)}
        async with asyncio.TaskGroup() as collecting:
            for name, stream in streams.items():
                collecting.create_task(collect(name, stream))
            if stdin is not None:
                feeding = connection.open((("streamtype", "stdin"),))
                await feeding.replied()
                await feeding.write(stdin)
                feeding.end()
        reading.cancel()
    return result
