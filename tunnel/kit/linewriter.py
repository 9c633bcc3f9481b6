"""A thread that writes lines: a terminal that is held, or a pipe that nobody reads, must not stop the event loop."""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final

CLOSE_SECONDS: Final = 2.0
"""How long what waits in the end may take to be written."""


class LineWriter:
    """Hands lines to a thread of its own.

    Args:
        write: called in that thread with each line, and with how many were lost since the last one that it wrote. An `OSError` of
            its costs the line; behind a `ValueError`, of a file that is closed, there are no more calls.
        name: the thread's.
        lines: how many may wait; later ones are dropped.
    """

    def __init__(self, write: Callable[[str, int], None], name: str, lines: int) -> None:
        self._write = write
        self._most = lines
        # 0.2 µs for a line, where a Queue with a bound takes 2.8; two threads at once may exceed the bound by one.
        # And a destructor may log within a `put` of its own thread.
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        self._dropped = 0
        # A daemon: a reader that never reads must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Lines that nobody has begun to write, the end included."""
        return self._lines.qsize()

    @property
    def running(self) -> bool:
        """Whether lines can still be written."""
        return self._thread.is_alive()

    def put(self, line: str) -> bool:
        """Hand over a line; return whether there was room for it."""
        if self._lines.qsize() >= self._most:
            self._dropped += 1
            return False
        self._lines.put(line)
        return True

    def close(self) -> None:
        """Write what waits, for two seconds at most, and end the thread. Idempotent."""
        if self._thread.is_alive():
            self._lines.put(None)
            self._thread.join(timeout=CLOSE_SECONDS)

    def _run(self) -> None:
        lost = told = 0  # `_dropped` only grows, as the threads that hand lines over write to it
        while (line := self._lines.get()) is not None:
            dropped = self._dropped + lost
            try:
                self._write(line, dropped - told)
                told = dropped
            except OSError:
                lost += 1  # a disk that is full may have room again
            except ValueError:
                return  # there is no place left to say so
