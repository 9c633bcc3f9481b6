"""The one read buffer that all connections of a process share.

Reading is synchronous: the loop asks for a buffer, the kernel fills it, the stream uses it up, all within one callback. So
one buffer serves every connection, and an idle one holds none (a buffer for each cost 512 KiB per idle watch; one for all,
68 KiB). It is kept per thread, for a process that runs a second event loop in another thread.
"""

import threading
from typing import Final

from tunnel.core.limits import KIB

RECORD_BYTES: Final = 16 * KIB
"""The plaintext of a full TLS record (RFC 8446 5.1)."""

INCOMING_BYTES: Final = 256 * KIB
"""The largest read; what a stream asks for at a time is its budget, which may be less."""


class ReadBuffer(threading.local):
    """Where sockets are read into, and where TLS is decrypted into."""

    def __init__(self) -> None:
        self._incoming = memoryview(bytearray(INCOMING_BYTES))
        # A read decrypts to less than itself, but may complete a record whose beginning came before.
        self.plaintext = memoryview(bytearray(INCOMING_BYTES + RECORD_BYTES))
        self.plaintext_room = len(self.plaintext) - RECORD_BYTES
        """With more than this in `plaintext`, the next record may not fit."""
        self._windows: dict[int, memoryview] = {}

    def window(self, size: int) -> memoryview:
        """Return the first `size` bytes of the incoming buffer; the same object for the same size.

        Raises:
            ValueError: `size` is not within 1 to INCOMING_BYTES.
        """
        if not 1 <= size <= INCOMING_BYTES:
            raise ValueError(f"a read budget of {size} bytes is not within 1 to {INCOMING_BYTES}")
        return self._windows.setdefault(size, self._incoming[:size])


READ_BUFFER: Final = ReadBuffer()
"""The process's buffer; each thread sees its own."""
