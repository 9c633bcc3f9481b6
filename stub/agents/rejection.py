"""What becomes of a connection whose certificate opens no session: the agent hears why, and it is closed."""

import asyncio

from tunnel.aio.stream import ByteStream
from tunnel.core.session.stub_side import StubSession
from tunnel.core.wire.control import Reject


class RejectedSession:
    """Says REJECT in place of HELLO. A handshake that fails at this point could not say why: to the agent TLS 1.3 was agreed on
    before its certificate was read, so all that its log would show is a connection that closed.

    Args:
        reason: for the agent's log.
    """

    __slots__ = ("_reason",)

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def stream_opened(self, stream: ByteStream) -> None:
        now = asyncio.get_running_loop().time()
        stream.write(StubSession(Reject(self._reason), now).output())
        stream.close()

    def stream_received(self, data: memoryview) -> None:
        """Nothing is delivered behind `close`."""

    def stream_ended(self) -> None:
        """As `stream_received`."""

    def stream_write_paused(self) -> None:
        """It writes nothing more."""

    def stream_write_resumed(self) -> None:
        """As `stream_write_paused`."""

    def stream_closed(self, error: Exception | None) -> None:
        """Whether the agent has read it is its own affair."""
