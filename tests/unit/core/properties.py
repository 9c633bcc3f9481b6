"""Bytes in pieces: what a parser says must not depend on where its input was cut."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from hypothesis import strategies as st

Item = TypeVar("Item")

cuts = st.lists(st.integers(1, 40), min_size=1, max_size=30)
"""Sizes of the pieces that bytes arrive in; the last one repeats."""


def pieces(data: bytes, sizes: Iterable[int]) -> Iterator[bytes]:
    """Cut `data` into pieces of the given sizes, the last of them repeating."""
    remaining, size = list(sizes), 1
    while data:
        size = remaining.pop(0) if remaining else size
        yield data[:size]
        data = data[size:]


def fed(receive: Callable[[bytes], Iterable[Item]], data: bytes, sizes: Iterable[int]) -> list[Item]:
    """Return what `receive` says to `data` in pieces."""
    return [item for piece in pieces(data, sizes) for item in receive(piece)]
