"""Guessing what was meant by a misspelt name."""

from collections.abc import Iterable


def did_you_mean(given: str, known: Iterable[str], likeness: float = 0.6) -> str:
    """Return ` (did you mean 'X'?)` for the name in `known` that looks like `given`, or nothing where none does.

    Args:
        likeness: from 0 to 1, how much alike they must be, as `difflib` counts it.
    """
    from difflib import get_close_matches  # only a mistake pays for it

    close = get_close_matches(given, list(known), n=1, cutoff=likeness)
    return f" (did you mean {close[0]!r}?)" if close else ""
