"""Runs a session's protocol core on a connection: bytes in, events out, one write per turn of the loop."""

import asyncio
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from tunnel.aio.stream import ByteStream
from tunnel.core import limits
from tunnel.core.errors import PeerViolation

Event_co = TypeVar("Event_co", covariant=True)
Event_contra = TypeVar("Event_contra", contravariant=True)
Event = TypeVar("Event")


class SessionCore(Protocol[Event_co]):
    """What `StubSession` and `AgentSession` have in common."""

    def receive(self, data: bytes | memoryview, now: float) -> Sequence[Event_co]: ...
    @property
    def unread(self) -> bool:
        """Whether more came than one turn takes; `receive` goes on with it."""

    def output(self) -> bytearray: ...
    def tick(self, now: float) -> bool: ...
    @property
    def next_tick(self) -> float: ...
    def send_reject(self, reason: str) -> None: ...


class SessionOwner(Protocol[Event_contra]):
    """Who hears what a session says."""

    def session_event(self, event: Event_contra) -> None:
        """Something arrived."""

    def session_writable(self) -> None:
        """What waited to be sent has left; bodies may go on."""

    def session_closed(self, reason: str, *, dead: bool) -> None:
        """The session is over; called once. `dead` where the peer stopped answering or broke the protocol, so that its
        channels must go too; a connection that merely broke leaves them alone."""


class SessionRunner(Generic[Event]):
    """Joins a stream, a core and an owner. It is the stream's handler.

    Args:
        core: the protocol state.
        owner: hears the events.
    """

    def __init__(self, core: SessionCore[Event], owner: SessionOwner[Event]) -> None:
        self.core = core
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._stream: ByteStream | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._flushing = False
        self._behind = False
        self.write_paused = False
        self.closed = False

    def stream_opened(self, stream: ByteStream) -> None:
        self._stream = stream
        self._arm()
        self.flush()

    def stream_received(self, data: memoryview | bytes) -> None:
        try:
            for event in self.core.receive(data, self._loop.time()):
                if self.closed:
                    return
                self._owner.session_event(event)
        except PeerViolation as violation:
            self.reject(str(violation))
            return
        # Not only what the owner wrote: credit and PING answers wait in the core as well.
        self.flush_soon()
        if self.core.unread:
            self._go_on_soon()

    def _go_on_soon(self) -> None:
        """Let the others have their turn before the rest of a read; nothing more is read until that is used up."""
        if not self._behind and not self.closed:
            assert self._stream is not None
            self._behind = True
            self._stream.pause_reading()
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._behind = False
        if self.closed or self._stream is None:
            return
        self.stream_received(b"")
        if not self._behind:
            self._stream.resume_reading()

    def stream_ended(self) -> None:
        self._close("the peer closed the session", dead=False)

    def stream_write_paused(self) -> None:
        self.write_paused = True

    def stream_write_resumed(self) -> None:
        self.write_paused = False
        self._owner.session_writable()

    def stream_closed(self, error: Exception | None) -> None:
        self._close(f"the connection broke: {error}" if error else "the connection closed", dead=False)

    @property
    def congested(self) -> bool:
        """Whether as much waits to be sent as may; the stream itself tells of it only at the turn's end."""
        return self.write_paused or (
            self._stream is not None and self._stream.waiting_bytes > limits.WRITE_HIGH_BYTES
        )

    @property
    def waiting_bytes(self) -> int:
        """What the core has given up and the connection has not taken."""
        return self._stream.waiting_bytes if self._stream is not None else 0

    def flush_soon(self) -> None:
        """Write what the core holds: the first that a turn has to say at once, for the other end to begin with, and the rest of it
        together at its end."""
        if not self._flushing and self.flush():
            self._flushing = True
            self._loop.call_soon(self._end_turn)

    def _end_turn(self) -> None:
        self._flushing = False
        self.flush()

    def flush(self) -> bool:
        """Write what the core holds now; return whether there was anything."""
        if self.closed or self._stream is None:
            return False
        data = self.core.output()
        if data:
            self._stream.write_now(memoryview(data))
        return bool(data)

    def reject(self, reason: str) -> None:
        """Tell the peer why and close; its channels go too."""
        if not self.closed and self._stream is not None:
            self.core.send_reject(reason)
            self.flush()
        self._close(reason, dead=True)

    def close(self, reason: str) -> None:
        """Send what waits and close; the channels stay."""
        self.flush()
        self._close(reason, dead=False)

    def _close(self, reason: str, *, dead: bool) -> None:
        if self.closed:
            return
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._stream is not None:
            self._stream.close()
        self._owner.session_closed(reason, dead=dead)

    def look_now(self) -> None:
        """Do what is due, although the timer was set for later."""
        if self._timer is not None and not self.closed:
            self._timer.cancel()
            self._tick()

    def _arm(self) -> None:
        self._timer = self._loop.call_at(self.core.next_tick, self._tick)

    def _tick(self) -> None:
        if self.core.tick(self._loop.time()):
            assert self._stream is not None
            self._stream.abort()
            self._close("the peer stopped answering", dead=True)
            return
        self.flush()
        self._arm()
