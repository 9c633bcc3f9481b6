"""A byte stream over plain TCP, for `http://` upstreams."""

from tunnel.aio.basestream import BaseStream, Peer
from tunnel.aio.stream import Buffer


class PlainStream(BaseStream):
    """A `ByteStream` that adds nothing to TCP; its arguments are those of `BaseStream`."""

    __slots__ = ()

    def _made(self) -> None:
        self._open()

    def _received(self, data: memoryview) -> None:
        if self._handler is not None:
            self._handler.stream_received(data)

    def cut(self) -> None:
        """See `ByteStream`."""
        self.abort()

    def _received_fin(self) -> None:
        self._peer = Peer.ENDED
        self._tell_end()

    def _deliver_held(self) -> bool:
        return True

    def _encode(self, data: Buffer) -> None:
        # A view must be copied: uvloop and asyncio (3.12) keep it until the kernel has taken it.
        self._hand_over(bytes(data))

    def _encode_end(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write_eof()

    def _emit(self) -> None:
        """Nothing is kept between encoding and the transport."""
