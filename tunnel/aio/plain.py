"""A byte stream over plain TCP, for `http://` upstreams."""

from tunnel.aio.basestream import BaseStream
from tunnel.aio.closing import Peer
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
        """See `ByteStream`. A FIN would say that this was the end."""
        self._transport.close_by_reset()
        self.abort()

    def _received_fin(self) -> None:
        self._ending.peer = Peer.ENDED
        self._tell_end()

    def _deliver_held(self) -> bool:
        return True

    def _encode(self, data: Buffer) -> None:
        # A view must be copied: uvloop and asyncio (3.12) keep it until the kernel has taken it.
        self._transport.write(bytes(data))

    def _encode_end(self) -> None:
        self._transport.write_eof()

    def _emit(self) -> None:
        """Nothing is kept between encoding and the transport."""
