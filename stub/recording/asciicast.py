"""What happens in an exec as lines of an asciicast, version 2 (https://docs.asciinema.org/manual/asciicast/v2/).

The first line says what was recorded; each further one is an event: seconds since the start, a letter, a text. `o` is output, `i`
input, `r` a new size of the terminal, `m` a mark, with which a recording says what it lacks.
"""

import codecs
import json
import re
from dataclasses import dataclass
from typing import Final, NamedTuple

from stub.recording.stdio import Stdio

WIDTH, HEIGHT = 80, 24
"""Of a terminal whose size is not known, and where there is none."""

SIZE_BYTES: Final = 1024
"""What may come of a terminal's size before it is whole; kubectl's take 30."""

_LETTERS: Final = {Stdio.STDIN: "i", Stdio.STDOUT: "o", Stdio.STDERR: "o"}
_SIZE: Final = re.compile(rb"\{[^{}\[\]]*\}")


class Happening(NamedTuple):
    """Something that happened in an exec.

    Attributes:
        seconds: since its start.
        stdio: the stream whose bytes `data` is; None for a mark, whose text it is.
    """

    seconds: float
    stdio: Stdio | None
    data: bytes


@dataclass(frozen=True, slots=True)
class Subject:
    """What is recorded.

    Attributes:
        title: who, where.
        command: empty where none was given.
        tty: whether there is a terminal, whose size comes first of all.
    """

    title: str
    command: str
    tty: bool


class Asciicast:
    """Turns what happens into lines.

    Args:
        subject: what is recorded.
        started_at: POSIX seconds.
    """

    def __init__(self, subject: Subject, started_at: float) -> None:
        self._subject = subject
        self._started_at = started_at
        self._begun = False
        # Streams may end a read within a character, each for itself.
        decoder = codecs.getincrementaldecoder("utf-8")
        self._decoders = {stdio: decoder("replace") for stdio in _LETTERS}
        self._size = b""
        self._seconds = 0.0

    def lines(self, happening: Happening) -> str:
        """Return the lines that a happening adds; none while a size or a character is not whole."""
        seconds, stdio, data = happening
        self._seconds = seconds
        if stdio is None:
            return self.mark(data.decode())
        if stdio is Stdio.RESIZE:
            return self._resized(data)
        return self._events(_LETTERS[stdio], self._decoders[stdio].decode(data))

    def mark(self, text: str) -> str:
        """Return the line of a mark, at the time of what was last."""
        return self._events("m", text)

    def end(self) -> str:
        """Return the last lines: what is left of a cut character."""
        left = [(_LETTERS[stdio], decoder.decode(b"", True)) for stdio, decoder in self._decoders.items()]
        return self._header(WIDTH, HEIGHT) + "".join([self._events(letter, text) for letter, text in left])

    def _events(self, letter: str, text: str) -> str:
        if not text:
            return ""
        event = json.dumps([round(self._seconds, 6), letter, text], ensure_ascii=False)
        return f"{self._header(WIDTH, HEIGHT)}{event}\n"

    def _resized(self, data: bytes) -> str:
        """Take JSON, which over SPDY may come in pieces and several at once."""
        text, lines = self._size + data, ""
        end = 0
        for match in _SIZE.finditer(text):
            end = match.end()
            size = read_size(match[0])
            if size is not None and (header := self._header(*size)):
                lines += header
            elif size is not None:
                lines += self._events("r", f"{size[0]}x{size[1]}")
        self._size = text[end:][-SIZE_BYTES:]
        return lines

    def _header(self, width: int, height: int) -> str:
        """The first line, once. It waits for the first event, which where there is a terminal is its size."""
        if self._begun:
            return ""
        self._begun = True
        found = {
            "version": 2,
            "width": width,
            "height": height,
            "timestamp": int(self._started_at),
            "title": self._subject.title,
            "command": self._subject.command,
        }
        return json.dumps({key: value for key, value in found.items() if value != ""}) + "\n"


def read_size(text: bytes) -> tuple[int, int] | None:
    """Return width and height of `{"Width":80,"Height":24}`; None where it is something else."""
    try:
        size = {key.lower(): value for key, value in json.loads(text).items()}
    except ValueError:
        return None
    width, height = size.get("width"), size.get("height")
    if type(width) is not int or type(height) is not int:
        return None
    return (width, height) if 0 < width < 2**16 and 0 < height < 2**16 else None
