"""The thread that writes recordings, so that a slow disk does not stop the event loop."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import Any, Protocol

_log = logging.getLogger(__name__)


class Writer(Protocol):
    """Runs jobs elsewhere, one behind the other."""

    def submit(self, job: Callable[[], None]) -> None:
        """Run `job`, which raises nothing, behind all that were submitted before."""

    def report(self, callback: Callable[..., None], *arguments: Any) -> None:
        """From within a job: have the event loop call this."""

    async def close(self, seconds: float) -> None:
        """End behind all that was submitted, for which there are `seconds`."""


class WriterThread:
    """A `Writer`. It is made on the event loop, and runs from then on."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._done = asyncio.Event()
        # A daemon: a disk that hangs must not keep the process from ending.
        self._thread = Thread(target=self._run, name="recordings", daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[], None]) -> None:
        self._jobs.put(job)

    def report(self, callback: Callable[..., None], *arguments: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed: `close` gave up waiting, and nobody listens
            self._loop.call_soon_threadsafe(callback, *arguments)

    async def close(self, seconds: float) -> None:
        self._jobs.put(None)
        try:
            async with asyncio.timeout(seconds):
                await self._done.wait()
        except TimeoutError:
            _log.warning("recordings are not written to their end", extra={"seconds": seconds})
        else:
            self._thread.join()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
        self.report(self._done.set)
