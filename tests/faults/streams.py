"""What users hold open: a watch, a `logs -f` and an exec, each checked as it goes and asked how it ended."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from tests.faults import content
from tests.faults.beside import beside
from tests.faults.http import Broken, Connection
from tests.faults.load import Client

UPGRADE: Final = {"Connection": "Upgrade", "Upgrade": "SPDY/3.1"}
BLOCK_BYTES: Final = 1024


class WrongBytes(Exception):
    """Something came that was never sent."""


class Stream:
    """Something that is open for long. `run` opens it and follows it to its end.

    Args:
        client: whose.
        after: the number of the last line that is known already.

    Attributes:
        target: what is asked for.
        opened: set with its first bytes.
        ended_at: on the loop's clock, once it has ended.
        ending: how: `clean`, or why not.
        number: of the last line that came whole.
    """

    name = ""
    path = ""

    def __init__(self, client: Client, after: int = 0) -> None:
        self._client = client
        self.target = f"{self.path}{after}"
        self.number = after
        self.opened = asyncio.Event()
        self.ended_at: float | None = None
        self.ending = ""
        self._buffer = b""

    async def run(self) -> None:
        """Follow it to its end.

        Raises:
            WrongBytes: it told something else than it should.
        """
        try:
            connection = await self._client.connect()
            try:
                await self.follow(connection)
                self.ending = "clean"
            finally:
                connection.close()
        except (Broken, OSError) as error:
            self.ending = str(error) or type(error).__name__
        finally:
            self.ended_at = asyncio.get_running_loop().time()
            self.opened.set()

    async def follow(self, connection: Connection) -> None:
        """Open it, and return at its clean end. Raises Broken, WrongBytes."""
        raise NotImplementedError

    def check(self, data: bytes) -> None:
        """Compare what came with the lines that are due."""
        self._buffer += data
        while b"\n" in self._buffer:
            line, _, self._buffer = self._buffer.partition(b"\n")
            if line + b"\n" != self.line(self.number + 1):
                raise WrongBytes(f"{self.name}: {line!r} came behind line {self.number}")
            self.number += 1
            self.opened.set()

    def line(self, number: int) -> bytes:
        """Return what a line should be."""
        raise NotImplementedError


class Watch(Stream):
    """Events, one after the other. One that has ended is taken up where it stopped, by another `Watch`."""

    name = "watch"
    path = content.EVENTS

    async def follow(self, connection: Connection) -> None:
        await self._read(connection)
        if self._buffer:
            raise WrongBytes(f"{self.name}: it ended cleanly in the middle of an event")

    async def _read(self, connection: Connection) -> None:
        head = await connection.begin("GET", self.target)
        if head.status != 200:
            raise Broken(f"status {head.status}")
        while piece := await connection.piece():
            self.check(piece)

    def line(self, number: int) -> bytes:
        return content.event(number)


class Log(Watch):
    """Lines of a log."""

    name = "log"
    path = content.LOG

    async def follow(self, connection: Connection) -> None:
        await self._read(connection)
        raise WrongBytes(f"{self.name}: it ended cleanly, as if the pod had")

    def line(self, number: int) -> bytes:
        return content.log_line(number)


class Exec(Stream):
    """A pipe: what is sent comes back."""

    name = "exec"
    path = content.EXEC

    async def follow(self, connection: Connection) -> None:
        head = await connection.begin("POST", self.target, UPGRADE)
        if head.status != 101:
            raise Broken(f"status {head.status}")
        async with beside(self._send(connection)):
            while piece := await connection.read_raw():
                self.check(piece)

    async def _send(self, connection: Connection) -> None:
        sent = self.number
        while True:
            sent += 1
            connection.send_raw(self.line(sent))
            await asyncio.sleep(content.TICK_SECONDS)

    def line(self, number: int) -> bytes:
        return content.body_of(f"exec {number}", BLOCK_BYTES // 2).hex().encode() + b"\n"


STREAMS: Final[tuple[type[Stream], ...]] = (Watch, Log, Exec)


@asynccontextmanager
async def held(*streams: Stream) -> AsyncIterator[None]:
    """Hold streams open while the block runs, which is entered when all are."""
    async with beside(*(stream.run() for stream in streams)):
        for stream in streams:
            await stream.opened.wait()
        yield
