"""A recording on disk. All of it is called by the writer's thread."""

import io
import os
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from stub.recording.asciicast import Asciicast, Happening

OVERHEAD_BYTES: Final = 128
"""What a happening takes in memory beside its bytes."""

TURN_BYTES: Final = 128 * 1024
"""What is written of one recording before another has its turn, and before room for as much is given back."""

SLICE_BYTES: Final = 16 * 1024
YIELD_SECONDS: Final = 0.0001
"""How much is made into lines before the event loop gets its turn, and for how long: a thread that computes keeps the interpreter's
lock for 5 ms whenever the loop wants it back. A turn of the loop beside a busy writer took up to 16 ms (99 of 100) without the
pauses, 0.05 ms with them; they let 60 MB/s be recorded."""


def in_slices(happening: Happening) -> Iterator[Happening]:
    """Yield a happening in parts that take little time."""
    seconds, stdio, data = happening
    if len(data) <= SLICE_BYTES:
        yield happening
        return
    for start in range(0, len(data), SLICE_BYTES):
        yield Happening(seconds, stdio, data[start : start + SLICE_BYTES])


def cost(happening: Happening) -> int:
    """Return about how many bytes of memory a happening takes while it waits."""
    return OVERHEAD_BYTES + len(happening.data)


class RecordingFile:
    """See the module. Its methods raise nothing: they return what is wrong, and then the file is closed; else an empty text.

    Args:
        path: must not be there yet.
        cast: turns what happens into lines.
        max_bytes: how long the file may become; 0 is no limit.
    """

    def __init__(self, path: Path, cast: Asciicast, max_bytes: int) -> None:
        self._path = path
        self._cast = cast
        self._max_bytes = max_bytes
        self._file: io.FileIO | None = None
        self._bytes = 0

    def open(self) -> str:
        """Make the file, which only this process's user can read."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            # Unbuffered: what was written is there for whoever looks on, and when this process crashes.
            self._file = io.FileIO(os.open(self._path, flags, 0o600), "wb")
        except OSError as error:
            return f"it cannot be opened: {error.strerror}"
        return ""

    def write(self, waiting: deque[Happening]) -> tuple[int, str]:
        """Write what waits, or much of it, and take it away. Return also what that had cost in memory."""
        taken, lines, problem = 0, "", ""
        while waiting and taken < TURN_BYTES:
            happening = waiting.popleft()
            taken += cost(happening)
            for part in in_slices(happening):
                lines += self._cast.lines(part)
                if len(lines) >= SLICE_BYTES:
                    problem, lines = self._append(lines) or problem, ""
                    time.sleep(YIELD_SECONDS)
        return taken, self._append(lines) or problem

    def end(self) -> str:
        """Write the end, behind all that waited, and close."""
        return self._append(self._cast.end()) or self._close()

    def discard(self) -> None:
        """Remove the file: there was no exec."""
        if self._file is not None:
            self._close()
            with suppress(OSError):  # an empty file is left behind, and nobody waits for an answer
                self._path.unlink()

    def _append(self, text: str) -> str:
        data = text.encode()
        if self._file is None or not data:
            return ""
        if not self._max_bytes or self._bytes + len(data) <= self._max_bytes:
            return self._put(data)
        problem = f"it has reached {self._max_bytes} bytes"
        end = self._cast.mark(f"the recording ends here: {problem}").encode()
        return self._put(self._fitting(data) + end) or self._close() or problem

    def _fitting(self, data: bytes) -> bytes:
        """The lines that there is room for; the first one of all in any case, without which it is no recording."""
        end = data.rfind(b"\n", 0, max(self._max_bytes - self._bytes, 0)) + 1
        return data[: end or (0 if self._bytes else data.index(b"\n") + 1)]

    def _put(self, data: bytes) -> str:
        assert self._file is not None
        view = memoryview(data)
        try:
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            with suppress(
                OSError
            ):  # best effort: half a line would spoil what is there for those who play it
                self._file.truncate(self._bytes)
            self._close()
            return _unwritable(error)
        self._bytes += len(data)
        return ""

    def _close(self) -> str:
        file, self._file = self._file, None
        try:
            if file is not None:
                file.close()
        except OSError as error:
            return _unwritable(error)  # NFS tells of a full disk only now
        return ""


def _unwritable(error: OSError) -> str:
    return f"it cannot be written: {error.strerror}"
