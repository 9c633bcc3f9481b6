"""How often something is in use, against a limit."""

from collections.abc import Callable


class Count:
    """How often each key is in use; only keys that are in use take memory.

    Args:
        limit: for each key; 0 is none.
        what: what is counted, for the refusal.
        refusal: makes what is raised, of a text.
    """

    __slots__ = ("_limit", "_refusal", "_used", "_what")

    def __init__(self, limit: int, what: str, refusal: Callable[[str], Exception]) -> None:
        self._limit = limit
        self._used: dict[str, int] = {}
        self._what = what
        self._refusal = refusal

    def take(self, key: str) -> None:
        """Use `key` once more. Raises the refusal where it is in use as often as it may be."""
        used = self._used.get(key, 0)
        if 0 < self._limit <= used:
            raise self._refusal(f"{used} {self._what}, which is the limit")
        self._used[key] = used + 1

    def give_back(self, key: str) -> None:
        """Use it once less."""
        used = self._used[key] - 1
        if used:
            self._used[key] = used
        else:
            del self._used[key]

    def __len__(self) -> int:
        return len(self._used)
