"""Reads a Kubernetes list as it arrives, one object at a time.

A list of all pods may be hundreds of megabytes. Parsed as a whole it would fill memory and hold up every request for as long as
that takes; like this, one read of 64 KiB costs two milliseconds (30 MB/s) and leaves at most one object behind.
"""

import codecs
import json
from enum import Enum, auto
from typing import Any, Final

from tunnel.core.limits import MIB

OBJECT_CHARACTERS: Final = 4 * MIB
"""etcd takes 1.5 MiB an object; escapes in JSON make it longer."""

_SPACE: Final = " \t\r\n"


class BadList(Exception):
    """What came is not a Kubernetes list; the text says how not."""


class _At(Enum):
    START = auto()
    KEY = auto()
    COLON = auto()
    VALUE = auto()
    AFTER_VALUE = auto()
    ITEM = auto()
    AFTER_ITEM = auto()
    END = auto()


class ItemReader:
    """See the module.

    Attributes:
        continues: the token for the list's next page; empty where there is none.
    """

    def __init__(self) -> None:
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._json = json.JSONDecoder()
        self._text = ""
        self._position = 0
        self._enough = 0
        self._at = _At.START
        self._key = ""
        self._found: list[dict[str, Any]] = []
        self.continues = ""

    def feed(self, data: bytes | memoryview) -> list[dict[str, Any]]:
        """Return the objects that `data` makes whole.

        Raises:
            BadList: it is no list, or one of its objects is too large.
        """
        self._text = self._text[self._position :] + self._utf8.decode(bytes(data))
        self._position = 0
        return self._read() if len(self._text) >= self._enough else []

    def end(self) -> list[dict[str, Any]]:
        """Return the last objects: the answer has ended.

        Raises:
            BadList: the list has not.
        """
        self._text += self._utf8.decode(b"", True)
        found = self._read()
        if self._at is not _At.END:
            raise BadList("the list is cut off or is not JSON")
        return found

    def _read(self) -> list[dict[str, Any]]:
        while self._step():
            pass
        # What is incomplete is parsed again from its beginning. So not for every byte that comes: a large object would take
        # time that grows with its square.
        left = len(self._text) - self._position
        self._enough = left + left // 4
        if left > OBJECT_CHARACTERS:
            raise BadList(f"one object is larger than {OBJECT_CHARACTERS // MIB} MiB, or this is not JSON")
        found, self._found = self._found, []
        return found

    def _step(self) -> bool:
        """Read one token; return whether there may be another."""
        text, position = self._text, self._position
        while position < len(text) and text[position] in _SPACE:
            position += 1
        self._position = position
        if position == len(text):
            return False
        match self._at:
            case _At.VALUE | _At.KEY | _At.ITEM if text[position] not in "]}":
                return self._value()
            case _:
                self._punctuation(text[position])
                self._position += 1
                return True

    def _punctuation(self, character: str) -> None:
        following = _PUNCTUATION.get((self._at, character))
        if following is None:
            raise BadList("not a list in JSON")
        self._at = following

    def _value(self) -> bool:
        if self._at is _At.VALUE and self._key == "items" and self._text[self._position] == "[":
            self._position += 1
            self._at = _At.ITEM
            return True
        try:
            value, end = self._json.raw_decode(self._text, self._position)
        except RecursionError:
            raise BadList("an object is nested too deeply") from None
        except ValueError:
            return False
        if end == len(self._text):
            return False  # a number may go on
        self._position = end
        self._take(value)
        return True

    def _take(self, value: Any) -> None:
        match self._at:
            case _At.KEY:
                self._key, self._at = value, _At.COLON
            case _At.ITEM:
                if isinstance(value, dict):
                    self._found.append(value)
                self._at = _At.AFTER_ITEM
            case _:
                if self._key == "metadata" and isinstance(value, dict):
                    token = value.get("continue", "")
                    self.continues = token if isinstance(token, str) else ""
                self._at = _At.AFTER_VALUE


_PUNCTUATION: Final = {
    (_At.START, "{"): _At.KEY,
    (_At.KEY, "}"): _At.END,
    (_At.COLON, ":"): _At.VALUE,
    (_At.AFTER_VALUE, ","): _At.KEY,
    (_At.AFTER_VALUE, "}"): _At.END,
    (_At.ITEM, "]"): _At.AFTER_VALUE,
    (_At.AFTER_ITEM, ","): _At.ITEM,
    (_At.AFTER_ITEM, "]"): _At.AFTER_VALUE,
}
