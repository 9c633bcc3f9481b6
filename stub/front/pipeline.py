"""The requests of one user's connection in their order: HTTP/1.1 answers them one at a time (RFC 9112 9.3.2)."""

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stub.front.exchange import Exchange


class Pipeline:
    """See the module.

    Attributes:
        receiving: whose body is still coming; None between two requests.
        current: the first that is not answered yet; the only one that has begun.
        waiting: those behind it.
    """

    __slots__ = ("current", "receiving", "waiting")

    def __init__(self) -> None:
        self.receiving: Exchange | None = None
        self.current: Exchange | None = None
        self.waiting: deque[Exchange] = deque()

    @property
    def unanswered(self) -> bool:
        """Whether an answer is owed."""
        return self.current is not None or bool(self.waiting)

    def __iter__(self) -> "Iterator[Exchange]":
        """All that are not answered yet, in order."""
        if self.current is not None:
            yield self.current
        yield from self.waiting

    @property
    def last(self) -> "Exchange | None":
        """The one behind all others that are here."""
        return self.waiting[-1] if self.waiting else self.current

    def take(self, exchange: "Exchange", *, at_once: bool = True) -> bool:
        """Begin it, or keep it until its turn comes.

        Args:
            at_once: whether it may begin now; it may not where another one has in the same read.

        Returns:
            Whether `next` is to be called for it, as there is nothing in front whose end would.
        """
        if at_once and not self.unanswered:
            self.current = exchange
            exchange.begin()
            return False
        self.waiting.append(exchange)
        return self.current is None and len(self.waiting) == 1

    def next(self) -> bool:
        """Begin the next one; whether there was one to begin."""
        if self.current is not None or not self.waiting:
            return False
        self.current = self.waiting.popleft()
        self.current.begin()
        return True

    def drop(self, exchange: "Exchange", reason: str) -> None:
        """Take out one that has not begun."""
        self.waiting.remove(exchange)
        exchange.client_lost(reason)

    def lose(self, reason: str) -> None:
        """The client is gone, and wants none of them any more."""
        exchanges = list(self)
        self.current = self.receiving = None
        self.waiting.clear()
        for exchange in exchanges:
            exchange.client_lost(reason)
