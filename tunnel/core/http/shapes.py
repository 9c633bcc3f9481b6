"""Heads whose names have been seen before need not be judged name by name again.

A client sends the same names in the same order with each request, and an apiserver with each answer; what the rules in
`fields` say about a head depends on its names alone, unless one of a few names makes the value matter. So the verdict
is remembered by the tuple of names, with a template of the lines that are left: 2 instead of 14 µs a head. Whatever is out of
the ordinary takes the long way.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tunnel.core import limits
from tunnel.core.errors import Refusal
from tunnel.core.http.fields import VALUE_BYTES, field_fault
from tunnel.core.http.message import Field

CAPACITY: Final = 1024
"""Shapes remembered, at most 4 KiB each; a client that invents names only makes the others be judged again."""

_SHAPE_BYTES: Final = 4 * limits.KIB
_QUICK_BYTES: Final = 16 * limits.KIB
_BLOCK_BYTES: Final = VALUE_BYTES + b"\0"
"""What a block of fields may hold whose names are known to be tokens."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What is left of heads with certain names.

    Attributes:
        kept: the positions of the fields that stay.
        values: the positions of their values among the words of a block, where not all stay.
        lines: the kept fields as HTTP writes them, with `%b` in place of each value.
    """

    kept: tuple[int, ...]
    values: tuple[int, ...] | None
    lines: bytes


class Shapes:
    """Remembers what a sanitiser leaves of heads with certain names.

    Args:
        sanitise: tells which fields stay; it must judge by names alone where none of `special` is among them.
        special: folded names whose values matter; heads that have one are never quick.
        once: folded names that must stand in a quick head exactly once.
        never_twice: folded names that may be absent from one, and must not be repeated.
    """

    __slots__ = ("_known", "_never_twice", "_once", "_sanitise", "_special")

    def __init__(
        self,
        sanitise: Callable[[list[Field]], list[Field]],
        special: frozenset[bytes],
        once: tuple[bytes, ...] = (),
        never_twice: tuple[bytes, ...] = (),
    ) -> None:
        self._sanitise = sanitise
        self._special = special
        self._once = once
        self._never_twice = never_twice
        self._known: dict[tuple[bytes, ...], Shape | None] = {}

    def quick(self, fields: list[Field]) -> list[Field] | None:
        """Return what may travel on of `fields`, or None where they have to be judged the long way."""
        shape = self._shape(tuple([name for name, _ in fields]))
        if shape is None:
            return None
        values = b"".join([value for _, value in fields])
        if len(values) > _QUICK_BYTES or values.translate(None, VALUE_BYTES):
            return None
        return [fields[index] for index in shape.kept]

    def lines(self, block: bytes) -> bytes | None:
        """Return what may travel on of a block as HTTP writes it, or None where it has to be judged the long way."""
        if not block:
            return b""
        words = block.split(b"\0")
        shape = self._shape(tuple(words[::2]))
        if shape is None or len(block) > _QUICK_BYTES or block.translate(None, _BLOCK_BYTES):
            return None
        if shape.values is None:
            return shape.lines % tuple(words[1::2])
        return shape.lines % tuple([words[index] for index in shape.values])

    def block(self, block: bytes) -> bytes | None:
        """Return what may travel on of a block, as a block, or None where it has to be judged the long way."""
        if not block:
            return b""
        words = block.split(b"\0")
        shape = self._shape(tuple(words[::2]))
        if shape is None or len(block) > _QUICK_BYTES or block.translate(None, _BLOCK_BYTES):
            return None
        if shape.values is None:
            return block
        return b"\0".join([word for index in shape.kept for word in words[2 * index : 2 * index + 2]])

    def _shape(self, names: tuple[bytes, ...]) -> Shape | None:
        try:
            return self._known[names]
        except KeyError:
            return self._learn(names)

    def _learn(self, names: tuple[bytes, ...]) -> Shape | None:
        kept = self._judge(names)
        shape = None if kept is None else _shape_of(names, kept)
        if sum(map(len, names)) <= _SHAPE_BYTES:
            if len(self._known) >= CAPACITY:
                self._known.clear()
            self._known[names] = shape
        return shape

    def _judge(self, names: tuple[bytes, ...]) -> tuple[int, ...] | None:
        """Let the sanitiser itself say what it keeps, on fields whose values are their positions."""
        numbered = [(name, b"%d" % index) for index, name in enumerate(names)]
        if field_fault(numbered) is not None:
            return None
        folded = [name.lower().replace(b"_", b"-") for name in names]
        if not self._special.isdisjoint(folded) or any(folded.count(name) != 1 for name in self._once):
            return None
        if any(folded.count(name) > 1 for name in self._never_twice):
            return None
        try:
            return tuple(int(value) for _, value in self._sanitise(numbered))
        except Refusal:
            return None


def _shape_of(names: tuple[bytes, ...], kept: tuple[int, ...]) -> Shape:
    everything = kept == tuple(range(len(names)))
    lines = b"".join([names[index].replace(b"%", b"%%") + b": %b\r\n" for index in kept])
    return Shape(kept, None if everything else tuple([2 * index + 1 for index in kept]), lines)


REQUEST_SPECIAL: Final = frozenset(
    {
        b"connection",
        b"content-length",
        b"transfer-encoding",
        b"upgrade",
        b"expect",
        b"sec-websocket-protocol",
    }
)
"""A request with none of these has no body, asks for no upgrade and waits for no 100."""

REQUEST_ONCE: Final = (b"host",)
REQUEST_NEVER_TWICE: Final = (b"authorization",)

RESPONSE_SPECIAL: Final = frozenset({b"connection", b"location", b"upgrade"})
"""An answer with none of these names nobody else and leads nowhere else."""
