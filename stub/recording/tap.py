"""A splice whose bytes are looked at before they go on; none of them is changed."""

from collections.abc import Callable
from typing import Protocol

from tunnel.aio.splice import Splice, SpliceEnd
from tunnel.aio.stream import ByteStream


class Watcher(Protocol):
    """Looks on. What it is given is valid only until the call returns."""

    def client_received(self, data: memoryview) -> None:
        """The client has sent this."""

    def server_received(self, data: memoryview) -> None:
        """The server has sent this."""


class WatchedSplice(Splice):
    """See the module.

    Args:
        client, server, on_closed, drain_seconds: as of a `Splice`, whose left side is the client.
        watcher: looks on.
    """

    def __init__(
        self,
        client: ByteStream,
        server: ByteStream,
        on_closed: Callable[[int, int, str], None],
        drain_seconds: float,
        watcher: Watcher,
    ) -> None:
        super().__init__(client, server, on_closed, drain_seconds)
        self.left = self._client = WatchedEnd(self, client, watcher.client_received)
        self.right = self._server = WatchedEnd(self, server, watcher.server_received)
        self.left.other, self.right.other = self.right, self.left
        client.set_handler(self.left)
        server.set_handler(self.right)

    def hold(self) -> None:
        """Read neither side until `release`. Idempotent."""
        self._client.hold()
        self._server.hold()

    def release(self) -> None:
        """Read again, each side as far as the other one takes it."""
        self._client.release()
        self._server.release()


class WatchedEnd(SpliceEnd):
    """One of the two connections; see `SpliceEnd`."""

    __slots__ = ("_full", "_held", "_watch")

    def __init__(self, splice: Splice, stream: ByteStream, watch: Callable[[memoryview], None]) -> None:
        super().__init__(splice, stream)
        self._watch = watch
        self._held = False
        self._full = False  # this connection does not take what the other one brings

    def stream_received(self, data: memoryview) -> None:
        self._watch(data)
        super().stream_received(data)

    def stream_write_paused(self) -> None:
        self._full = True
        super().stream_write_paused()

    def stream_write_resumed(self) -> None:
        self._full = False
        if not self._held:  # both are, or none
            super().stream_write_resumed()

    def hold(self) -> None:
        """Read it no further."""
        self._held = True
        self.stream.pause_reading()

    def release(self) -> None:
        """Read it again, and with it what the other one waits for."""
        if self._held:
            self._held = False
            if not self._full:
                super().stream_write_resumed()
