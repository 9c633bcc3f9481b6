"""Where the record is kept."""

from collections.abc import AsyncIterator
from typing import Protocol

from stub.election.record import LeaseRecord


class LeaseStore(Protocol):
    """A place for one record with conditional writes.

    Every call can be cancelled; then a write may have taken effect, or may still do so, but never over a newer version.
    """

    async def open(self) -> None:
        """Look at what the store needs, so that a mistake shows at the start.

        Raises:
            StoreRefused: it cannot be used; the text says what is wrong.
        """
        ...

    async def read(self, timeout_seconds: float) -> LeaseRecord | None:
        """Return the newest record, or None where there is none.

        Raises:
            StoreError: there was no answer to rely on.
        """
        ...

    async def write(self, record: LeaseRecord, timeout_seconds: float) -> LeaseRecord:
        """Put `record` in the place of the one with its version, or create it where that is empty; return what is kept.

        Raises:
            StoreConflict: the record has another version, is there already, or is there no more.
            StoreError: there was no answer to rely on.
        """
        ...

    def watch(self) -> AsyncIterator[LeaseRecord | None] | None:
        """Return the changes as they happen, the present state first; None where the store cannot tell them.

        A change may be told late, twice or never. The iterator ends, or raises StoreError, when the watch does.
        """
        ...

    async def close(self) -> None:
        """Let go of connections and files."""
        ...
