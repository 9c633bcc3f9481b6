"""Reading a policy from plain mappings, lists and scalars, with faults that name the place: `rules[2].verbs[0]: ...`."""

from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from typing import Final, TypeVar

MAX_ITEMS: Final = 10_000
"""Entries of one list. A file of 1 MiB can hold more only by repeating itself through YAML aliases."""

Item = TypeVar("Item")


class PolicyFault(ValueError):
    """A policy is wrong.

    Args:
        path: where in the document; empty for all of it.
        fault: what is wrong there, and what would be right.
    """

    def __init__(self, path: str, fault: str) -> None:
        super().__init__(f"{path}: {fault}" if path else fault)


def nearest(given: str, known: Iterable[str]) -> str:
    """Return ` (did you mean 'X'?)` for the name in `known` that looks like `given`, or nothing where none does."""
    close = get_close_matches(given, list(known), n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""


class Section:
    """One mapping of a document.

    Args:
        value: what stands there.
        path: how faults name the place.
        known: the keys that it may have.

    Raises:
        PolicyFault: it is no mapping, or has another key.
    """

    def __init__(self, value: object, path: str, known: Sequence[str]) -> None:
        if not isinstance(value, dict):
            raise PolicyFault(path, f"must be a mapping with keys such as {known[0]!r}, not {_kind(value)}")
        for key in value:
            if key not in known:
                raise PolicyFault(self._join(path, str(key)), f"unknown key{nearest(str(key), known)}")
        self._value = value
        self._path = path

    @staticmethod
    def _join(path: str, key: str) -> str:
        return f"{path}.{key}" if path else key

    def path(self, key: str) -> str:
        """Return how faults name `key`."""
        return self._join(self._path, key)

    def fault(self, key: str, text: str) -> PolicyFault:
        """Return the fault `text` about `key`."""
        return PolicyFault(self.path(key), text)

    def has(self, key: str) -> bool:
        """Whether `key` stands there at all."""
        return key in self._value

    def text(self, key: str, default: str) -> str:
        """Return a text."""
        return _text(self._value[key], self.path(key)) if self.has(key) else default

    def flag(self, key: str) -> bool:
        """Return true or false, which is the default."""
        value = self._value.get(key, False)
        if not isinstance(value, bool):
            raise self.fault(key, f"must be true or false, not {_kind(value)}")
        return value

    def choice(self, key: str, known: Sequence[str], default: str) -> str:
        """Return one of a few words."""
        value = self.text(key, default)
        if self.has(key) and value not in known:
            raise self.fault(key, f"{value!r} is none of {', '.join(known)}{nearest(value, known)}")
        return value

    def items(self, key: str, read: Callable[[str, str], Item]) -> tuple[Item, ...] | None:
        """Return a list of texts as what `read(text, path)` makes of each; None where the key is not there."""
        if not self.has(key):
            return None
        values = self._list(key)
        if not values:
            raise self.fault(key, "is an empty list; leave it out, or name something")
        paths = (f"{self.path(key)}[{index}]" for index in range(len(values)))
        return tuple(read(_text(value, path), path) for value, path in zip(values, paths, strict=True))

    def sections(self, key: str, known: Sequence[str]) -> list["Section"]:
        """Return a list of mappings."""
        values = self._list(key) if self.has(key) else []
        return [Section(value, f"{self.path(key)}[{index}]", known) for index, value in enumerate(values)]

    def named_sections(self, key: str, known: Sequence[str]) -> dict[str, "Section"]:
        """Return a mapping of mappings."""
        if not self.has(key):
            return {}
        value = self._value[key]
        if not isinstance(value, dict):
            raise self.fault(key, f"must be a mapping of names, not {_kind(value)}")
        path = self.path(key)
        return {_text(name, path): Section(each, f"{path}.{name}", known) for name, each in value.items()}

    def _list(self, key: str) -> list[object]:
        value = self._value[key]
        if not isinstance(value, list):
            raise self.fault(key, f"must be a list, not {_kind(value)}")
        if len(value) > MAX_ITEMS:
            raise self.fault(key, f"has {len(value)} entries, the limit is {MAX_ITEMS}")
        return value


def _text(value: object, path: str) -> str:
    if not isinstance(value, str):
        # YAML reads 007 as a number and `no` as false.
        quotes = "; put it in quotes" if isinstance(value, bool | int | float) else ""
        raise PolicyFault(path, f"must be a text, not {_kind(value)}{quotes}")
    if not value or value != value.strip() or not value.isprintable():
        raise PolicyFault(
            path, f"{value[:64]!a} is empty, begins or ends with a blank, or has control characters"
        )
    return value


def _kind(value: object) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return f"{value}".lower()
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case list():
            return "a list"
        case dict():
            return "a mapping"
        case _:
            return f"a {type(value).__name__}"
