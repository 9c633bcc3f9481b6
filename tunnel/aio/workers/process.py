"""One process of a worker, from its start to its burial."""

import asyncio
import contextlib
import logging
import multiprocessing
import socket
from collections.abc import Callable
from typing import Final

from tunnel.aio.workers.link import Link, Message, open_link
from tunnel.aio.workers.seat import Seat

END_SECONDS: Final = 2.0
"""How long a worker that was told to end at once may take."""

LAST_WORD_SECONDS: Final = 1.0
"""What a process wrote before it ended is there already, and is read within a turn of the loop."""

SPAWN: Final = multiprocessing.get_context("spawn")
"""A fork would copy an event loop that runs, and the threads' locks without the threads."""

Entry = Callable[[Seat], object]
"""What a worker's process runs; it travels there by pickle."""

_log = logging.getLogger(__name__)


class WorkerProcess:
    """See the module. It is started at once.

    Args:
        number, count: see `Seat`.
        entry: what it runs.

    Raises:
        OSError: there is no room for another process.

    Attributes:
        ended: set when it is no more, however it ended.
        exit_code: how it ended, behind `end`; negative is a signal.
    """

    def __init__(self, number: int, count: int, entry: Entry) -> None:
        self._loop = asyncio.get_running_loop()
        self._link: Link | None = None
        self._silent = asyncio.Event()
        self.ended = asyncio.Event()
        self.exit_code: int | None = None
        self._end, theirs = socket.socketpair()
        seat = Seat(number, count, theirs)
        self._process = SPAWN.Process(target=entry, args=(seat,), name=f"worker-{number}")
        try:
            self._process.start()
        except OSError:
            self._end.close()
            raise
        finally:
            theirs.close()
        self._loop.add_reader(self._process.sentinel, self.ended.set)
        _log.info("a worker is started", extra={"number": number, "pid": self._process.pid})

    async def connect(self, heard: Callable[[Message], None]) -> Link:
        """Return the link to it; `heard` gets what it says. Called once."""
        self._link = await open_link(self._end, heard, self._silent.set)
        return self._link

    async def end(self) -> None:
        """See to it that it has ended, within some seconds, and that everything it said was heard."""
        try:
            if self._link is None:
                self._end.close()
            else:
                await self._end_in_order(self._link)
        finally:
            self._loop.remove_reader(self._process.sentinel)
            if self._process.is_alive():
                self._process.kill()
            self._process.join()
            self.exit_code = self._process.exitcode
            self._process.close()

    async def _end_in_order(self, link: Link) -> None:
        if not self.ended.is_set():
            link.send(stop="now")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                await self.ended.wait()
        if self.ended.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORD_SECONDS):
                    await self._silent.wait()
        link.close()
