"""Names spelt out, or by their beginning: `alice`, `team-*`, `*`."""

from collections.abc import Iterable
from dataclasses import dataclass

from tunnel.core.policy.document import PolicyFault, Section


@dataclass(frozen=True, slots=True)
class NamePatterns:
    """A set of names.

    Attributes:
        exact: names spelt out.
        prefixes: beginnings; the empty one stands for every name.
    """

    exact: frozenset[str]
    prefixes: tuple[str, ...] = ()

    @classmethod
    def of(cls, patterns: Iterable[str]) -> "NamePatterns":
        """Return the names that `patterns` stand for, each of which `check_pattern` has seen."""
        exact: set[str] = set()
        prefixes: list[str] = []
        for pattern in patterns:
            if pattern.endswith("*"):
                prefixes.append(pattern[:-1])
            else:
                exact.add(pattern)
        return cls(frozenset(exact), tuple(prefixes))

    def matches(self, name: str) -> bool:
        """Whether `name` is among them."""
        return name in self.exact or (bool(self.prefixes) and name.startswith(self.prefixes))

    def matches_any(self, names: Iterable[str]) -> bool:
        """Whether one of `names` is."""
        return any(self.matches(name) for name in names)

    @property
    def everything(self) -> bool:
        """Whether each name is."""
        return "" in self.prefixes

    def __str__(self) -> str:
        shown = [*sorted(self.exact), *(f"{prefix}*" for prefix in self.prefixes)]
        return ", ".join(shown[:8]) + (f" and {len(shown) - 8} more" if len(shown) > 8 else "")


def check_pattern(text: str, path: str) -> str:
    """Return a pattern.

    Raises:
        PolicyFault: a `*` stands elsewhere than at its end.
    """
    if "*" in text[:-1]:
        raise PolicyFault(path, f"{text!r}: a '*' may stand only at the end, for all that begins so")
    return text


def read_patterns(section: Section, key: str) -> NamePatterns | None:
    """Return the names that a section lists under `key`, or None where it does not.

    Raises:
        PolicyFault: see `check_pattern`.
    """
    patterns = section.items(key, check_pattern)
    return None if patterns is None else NamePatterns.of(patterns)


def read_limit(section: Section, key: str) -> NamePatterns | None:
    """As `read_patterns`, for what limits something: None also where every name is listed."""
    patterns = read_patterns(section, key)
    return None if patterns is None or patterns.everything else patterns
