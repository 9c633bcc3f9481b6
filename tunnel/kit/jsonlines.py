"""A file that gets one JSON object per line, for logs that machines read."""

import json
import logging
import sys
from collections.abc import Mapping
from typing import IO, Final

from tunnel.kit.failures import CommandFailed

_log = logging.getLogger(__name__)

_encode: Final = json.JSONEncoder(separators=(",", ":")).encode


class JsonLines:
    """See the module.

    Args:
        file: an open text file; each line is flushed, so that a crash loses none. That makes it one write, however long, so that
            several processes can append to one file.
        given_by: the flag that named it.
    """

    def __init__(self, file: IO[str], given_by: str) -> None:
        self._file = file
        self._given_by = given_by
        self._failing = False

    @classmethod
    def open(cls, where: str, given_by: str) -> "JsonLines":
        """Open a file by its name for appending; `-` is standard output.

        Raises:
            CommandFailed: it cannot be written.
        """
        if where == "-":
            return cls(sys.stdout, given_by)
        try:
            return cls(open(where, "a", encoding="utf-8"), given_by)
        except OSError as error:
            raise CommandFailed(f"{given_by} {where}: {error.strerror}") from None

    def write(self, entry: Mapping[str, object]) -> None:
        """Append a line. A disk that is full is complained about once, and costs its lines alone."""
        line = _encode(entry)
        try:
            self._file.write(line + "\n")
            self._file.flush()
            self._failing = False
        except OSError as error:
            if not self._failing:
                text = "lines of a log are lost: its file cannot be written"
                _log.error(text, extra={"flag": self._given_by, "reason": str(error)})
            self._failing = True

    def close(self) -> None:
        """Close the file."""
        if self._file is not sys.stdout:
            self._file.close()
