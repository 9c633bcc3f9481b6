"""A file that gets one JSON object per line, for logs that machines read."""

import errno
import json
import logging
import os
import stat
import sys
from collections.abc import Mapping
from io import FileIO
from typing import Final, Protocol

from tunnel.kit.failures import CommandFailed
from tunnel.kit.linewriter import LineWriter

QUEUE_LINES: Final = 4096
"""Lines that may wait for a reader that stands still: about 4 MB, and 40 where every one has the longest URI that is shown."""

_NEWLINE: Final = b"\n"

_log = logging.getLogger(__name__)

_encode: Final = json.JSONEncoder(separators=(",", ":")).encode


class RawFile(Protocol):
    """A binary file without a buffer."""

    def write(self, data: bytes, /) -> int | None:
        """Write what goes in; return how much that was, or None where a descriptor that does not block takes nothing."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


class JsonLines:
    """See the module.

    Args:
        file: has no buffer, so that a crash loses no line, and that each is one write, however long: several processes can append
            to one file.
        given_by: the flag that named it.
        threaded: write from a thread of its own, for what may be held by whoever reads it.
        lines: how many may wait for that thread; later ones are lost.
    """

    def __init__(
        self, file: RawFile, given_by: str, *, threaded: bool = False, lines: int = QUEUE_LINES
    ) -> None:
        self._file = file
        self._given_by = given_by
        self._failing = False
        self._lost = 0
        self._rest = b""  # of the last line in the file, where that lacks its end
        self._writer = LineWriter(self._append, "json lines", lines) if threaded else None

    @classmethod
    def open(cls, where: str, given_by: str) -> "JsonLines":
        """Open a file by its name for appending; `-` is standard output. All but regular files get a thread.

        Raises:
            CommandFailed: it cannot be written.
        """
        try:
            file = _standard_output(given_by) if where == "-" else FileIO(where, "a")
            regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
        except OSError as error:
            raise CommandFailed(f"{given_by} {where}: {error.strerror}") from None
        return cls(file, given_by, threaded=not regular)

    def write(self, entry: Mapping[str, object]) -> None:
        """Append a line. A disk that is full, or a reader that stands still, is complained about once, and costs its lines alone."""
        line = _encode(entry)
        if self._writer is None:
            try:
                self._append(line, 0)
            except OSError:
                self._lost += 1
        elif not self._writer.put(line):
            self._complain("too many lines wait for their reader")

    def close(self) -> None:
        """Write what waits, for two seconds at most, and close the file."""
        if self._writer is not None:
            self._writer.close()
            if self._writer.running:  # and holds the file
                self._complain("its reader stands still at the end")
                return
        try:
            self._finish()
        except OSError:
            self._lost += 1
        self._tell_losses()
        self._file.close()

    def _append(self, line: str, lost: int) -> None:
        data = line.encode() + _NEWLINE
        begun = False
        try:
            self._finish()
            begun, self._rest = True, data
            self._finish()
        except OSError as error:
            self._complain(error.strerror or str(error))
            if begun and len(self._rest) < len(data):
                return  # the next one finishes it
            if begun:
                self._rest = b""
            raise
        self._lost += lost
        if self._failing and (self._writer is None or not self._writer.waiting):
            self._failing = False
            self._tell_losses()

    def _finish(self) -> None:
        """Write what is left of a line that has begun."""
        while self._rest:
            written = self._file.write(self._rest)
            if written is None:
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            self._rest = self._rest[written:]

    def _complain(self, reason: str) -> None:
        if not self._failing:
            self._failing = True
            text = "lines of a log are lost: its file cannot be written"
            _log.error(text, extra={"flag": self._given_by, "reason": reason})

    def _tell_losses(self) -> None:
        if self._lost:
            _log.warning("lines of a log were lost", extra={"flag": self._given_by, "lines": self._lost})
            self._lost = 0


def _standard_output(given_by: str) -> FileIO:
    """Return standard output without its buffer, whose lock a thread that is held would keep from the end of the process."""
    if sys.__stdout__ is None:
        raise CommandFailed(f"{given_by} -: standard output is closed")
    return FileIO(sys.__stdout__.fileno(), "w", closefd=False)
