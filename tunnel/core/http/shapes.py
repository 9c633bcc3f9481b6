"""Heads whose names have been seen before need not be judged name by name again.

A client sends the same names in the same order with each request, and an apiserver with each answer; what the rules in
`fields` say about a head depends on its names alone, unless one of a few names makes the value matter. So the verdict
is remembered by the tuple of names: 2 instead of 14 µs a head. Whatever is out of the ordinary takes the long way.
"""

from collections.abc import Callable
from typing import Final

from tunnel.core import limits
from tunnel.core.errors import Refusal
from tunnel.core.http.fields import VALUE_BYTES, field_fault
from tunnel.core.http.message import Field

CAPACITY: Final = 1024
"""Shapes remembered, at most 4 KiB each; a client that invents names only makes the others be judged again."""

_SHAPE_BYTES: Final = 4 * limits.KIB
_QUICK_VALUE_BYTES: Final = 16 * limits.KIB


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
        self._known: dict[tuple[bytes, ...], tuple[int, ...] | None] = {}

    def quick(self, fields: list[Field]) -> list[Field] | None:
        """Return what may travel on of `fields`, or None where they have to be judged the long way."""
        names = tuple([name for name, _ in fields])
        try:
            kept = self._known[names]
        except KeyError:
            kept = self._learn(names)
        if kept is None:
            return None
        values = b"".join([value for _, value in fields])
        if len(values) > _QUICK_VALUE_BYTES or values.translate(None, VALUE_BYTES):
            return None
        return [fields[index] for index in kept]

    def _learn(self, names: tuple[bytes, ...]) -> tuple[int, ...] | None:
        kept = self._judge(names)
        if sum(map(len, names)) <= _SHAPE_BYTES:
            if len(self._known) >= CAPACITY:
                self._known.clear()
            self._known[names] = kept
        return kept

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
