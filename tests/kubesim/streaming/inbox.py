"""What was received for one stream or channel and has not been read yet."""

import asyncio

INBOX_BYTES = 512 * 1024
"""Above this the connection stops reading until its owner caught up. Neither SPDY as Kubernetes uses it nor the
WebSocket channels have credit of their own, so one reader that stops holds up the whole connection, as in kubelet."""


class Inbox:
    """A bounded queue of bytes between the connection's reader and the stream's owner."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0
        self._ended = False
        self._unwanted = False
        self._readable = asyncio.Event()
        self._roomy = asyncio.Event()
        self._roomy.set()

    @property
    def full(self) -> bool:
        """Whether the connection should wait for `room` before it reads on."""
        return not self._roomy.is_set()

    def feed(self, data: bytes) -> None:
        """Add what arrived; thrown away behind the end or after `discard`."""
        if self._ended or self._unwanted or not data:
            return
        self._pieces.append(data)
        self._size += len(data)
        self._readable.set()
        if self._size > INBOX_BYTES:
            self._roomy.clear()

    def end(self) -> None:
        """Nothing more will come; what waits can still be read."""
        self._ended = True
        self._readable.set()

    def discard(self) -> None:
        """Nobody will read any more: throw away what waits and what comes."""
        self._unwanted = True
        self._pieces, self._size = [], 0
        self._roomy.set()
        self._readable.set()

    async def read(self) -> bytes:
        """Return everything that waits, or wait for some; empty at the end. Cancelling loses nothing."""
        while not self._pieces:
            if self._ended or self._unwanted:
                return b""
            self._readable.clear()
            await self._readable.wait()
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces, self._size = [], 0
        self._roomy.set()
        return data

    async def room(self) -> None:
        """Return once the owner has caught up, or does not want any more."""
        await self._roomy.wait()
