"""What is taken out, and which tests must notice."""

from dataclasses import dataclass

Edit = tuple[str, str, str]
"""A source file, what stands there exactly once, and what is put in its place."""


@dataclass(frozen=True, slots=True)
class Mutation:
    """A defence, and its absence.

    Attributes:
        threat: what it stands against.
        path, text, instead: an `Edit`.
        tests: of which at least one must fail then, as pytest takes them.
        also: further edits, where one defence stands in two places.
    """

    threat: str
    path: str
    text: str
    instead: str
    tests: tuple[str, ...]
    also: tuple[Edit, ...] = ()

    @property
    def edits(self) -> tuple[Edit, ...]:
        """All of them."""
        return ((self.path, self.text, self.instead), *self.also)
