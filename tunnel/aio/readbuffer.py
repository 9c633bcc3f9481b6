"""The one read buffer that all connections of a process share.

Reading is synchronous: the loop asks for a buffer, the kernel fills it, the stream uses it up, all within one callback. So
one buffer serves every connection, and an idle one holds none (a buffer for each cost 512 KiB per idle watch; one for all,
68 KiB). It is kept per thread, for a process that runs a second event loop in another thread.
"""

import threading
from typing import Final

from tunnel.core.limits import KIB, MIB

RECORD_BYTES: Final = 16 * KIB
"""The plaintext of a full TLS record (RFC 8446 5.1)."""

INCOMING_BYTES: Final = 256 * KIB
"""The largest read; what a stream asks for at a time is its budget, which may be less."""

MOST_SHARES: Final = 4
"""Streams for bulk share INCOMING_BYTES in a turn, but none gets less than this part. One that has the turn to itself takes 0.83 of the CPU
for a GB that it takes with the smallest part, and is over in half a millisecond."""

BULK_BYTES: Final = 16 * MIB
"""A connection that has moved so much in long reads or writes is one for bulk. All others keep to small buffers: what has been read when
somebody stops reading stays in memory."""


class ReadBuffer(threading.local):
    """Where sockets are read into, and where TLS is decrypted into."""

    def __init__(self) -> None:
        self._incoming = memoryview(bytearray(INCOMING_BYTES))
        # A read decrypts to less than itself, but may complete a record whose beginning came before.
        self.plaintext = memoryview(bytearray(INCOMING_BYTES + RECORD_BYTES))
        self.plaintext_room = len(self.plaintext) - RECORD_BYTES
        """With more than this in `plaintext`, the next record may not fit."""
        self._windows: dict[int, memoryview] = {}
        self._filled = 0  # streams that have read all they may, in this turn
        self._readers = 1  # the same, in the last turns that had any

    def window(self, size: int) -> memoryview:
        """Return the first `size` bytes of the incoming buffer; the same object for the same size.

        Raises:
            ValueError: `size` is not within 1 to INCOMING_BYTES.
        """
        if not 1 <= size <= INCOMING_BYTES:
            raise ValueError(f"a read budget of {size} bytes is not within 1 to {INCOMING_BYTES}")
        return self._windows.setdefault(size, self._incoming[:size])

    def filled(self) -> None:
        """Note that a stream has read all it may in this turn."""
        self._filled += 1

    def share(self) -> int:
        """Return how many bytes a stream for bulk may read in the next turn, where all of them read on."""
        if self._filled:
            # Some turns find one of several waiting for its reader; so fewer of them are believed in one by one.
            self._readers = max(min(self._filled, MOST_SHARES), self._readers - 1)
            self._filled = 0
        return INCOMING_BYTES // self._readers


READ_BUFFER: Final = ReadBuffer()
"""The process's buffer; each thread sees its own."""
