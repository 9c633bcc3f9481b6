"""What a lease's store can answer instead of a record.

StoreError
├── StoreConflict       the record is not what the writer thought: read again
├── StoreRefused        a clear no: rights, names, values; nothing was written
├── StoreUnavailable    no clear answer in time: a write may have taken effect all the same
└── MalformedRecord     the record cannot be used; the text says what to do about it
"""

from tunnel.core.errors import TunnelError


class StoreError(TunnelError):
    """A call to the store did not give a record. The text is for a log and holds no secret."""


class StoreConflict(StoreError):
    """Somebody else wrote, created or deleted the record in between; nothing was written."""


class StoreRefused(StoreError):
    """The store understood and said no; nothing was written."""


class StoreUnavailable(StoreError):
    """The store could not be reached, broke off, or failed. A write may have taken effect all the same."""


class MalformedRecord(StoreError):
    """The record lacks what no decision can do without."""
