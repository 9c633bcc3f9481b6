"""A TCP relay that delays, splits, breaks off, half-opens and black-holes what passes, as it is told while it runs.

What it does to a connection depends on what it was told and on the bytes alone; nothing is drawn at random.
"""

import asyncio
import contextlib
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

WAITING_BYTES: Final = 256 * 1024
"""What may wait in one direction; behind that its sender feels backpressure."""

_RESETTING: Final = struct.pack("ii", 1, 0)
"""SO_LINGER: a close resets the connection and throws away what waits."""

Port = Callable[[], int | None]
"""Says where on the loopback the next connection leads; None refuses it."""


@dataclass
class Way:
    """What happens to the bytes of one direction, of open connections too, from the next byte on.

    Attributes:
        delay: seconds between arrival and departure; order and spacing are kept.
        piece: bytes at most in one write; None leaves them as they come.
        cut_after: a connection that has carried this many bytes this way is reset; None for never.
    """

    delay: float = 0.0
    piece: int | None = None
    cut_after: int | None = None


class Leg(asyncio.Protocol):
    """One side of a relayed connection: receives, and sends later what the other side has received.

    Args:
        relay: whose.
        way: what happens to what is received here.
    """

    transport: asyncio.Transport | None = None
    other: "Leg | None" = None
    """Where what is received here goes; None once nobody is there any more."""

    def __init__(self, relay: "Relay", way: Callable[[], Way]) -> None:
        self._relay = relay
        self._way = way
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[float, bytes | None]] = deque()
        self._waiting_bytes = 0
        self._timer: asyncio.TimerHandle | asyncio.Handle | None = None
        self._carried = 0
        self._full = False
        self._sent_end = False
        self._heard_end = False
        self.gone = False

    # Receiving -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self._relay.leg_opened(self)
        self.send_due()

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            return
        way = self._way()
        self._carried += len(data)
        size = way.piece or len(data)
        for start in range(0, len(data), size):
            self.other.send_later(data[start : start + size], way.delay)
        if way.cut_after is not None and self._carried >= way.cut_after:
            self.other.send_later(None, way.delay)
            self.send_later(None, way.delay)

    def eof_received(self) -> bool:
        self._heard_end = True
        if self.other is not None:
            self.other.send_later(b"", self._way().delay)
        return not self._sent_end

    def connection_lost(self, error: Exception | None) -> None:
        self.gone = True
        self._stop_timer()
        if self.other is not None:
            # Without an error both ends were passed on already.
            self.other.send_later(b"" if error is None else None, self._way().delay)
        self._relay.leg_lost(self)

    # Sending ---------------------------------------------------------------------------------------

    def send_later(self, data: bytes | None, delay: float) -> None:
        """Send `data` when its time has come: empty stands for the end, None for a reset."""
        if self.gone:
            return
        self._waiting.append((self._loop.time() + delay, data))
        self._waiting_bytes += len(data or b"")
        self._set_reading()
        if self._timer is None:
            self.send_due()

    def send_due(self) -> None:
        """Send what is due, one piece in a turn of the loop, so that pieces stay apart."""
        self._stop_timer()
        if self.transport is None or self.gone or not self._relay.passable or not self._waiting:
            return
        due, data = self._waiting[0]
        if due > self._loop.time():
            self._timer = self._loop.call_at(due, self.send_due)
            return
        self._waiting.popleft()
        self._waiting_bytes -= len(data or b"")
        self._send(data)
        self._set_reading()
        if self._waiting:
            self._timer = self._loop.call_soon(self.send_due)

    def _send(self, data: bytes | None) -> None:
        assert self.transport is not None
        if data is None:
            self.reset()
        elif data:
            self.transport.write(data)
        elif self._heard_end or self.other is None or self.other.gone:
            self.transport.close()
        else:
            self._sent_end = True
            self.transport.write_eof()

    def _set_reading(self) -> None:
        """Let the other side wait while this one has much to send."""
        source = self.other.transport if self.other is not None else None
        if source is None or source.is_closing():
            return
        if self._full or self._waiting_bytes > WAITING_BYTES:
            source.pause_reading()
        else:
            source.resume_reading()

    def pause_writing(self) -> None:
        self._full = True
        self._set_reading()

    def resume_writing(self) -> None:
        self._full = False
        self._set_reading()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def reset(self) -> None:
        """End it as a peer does that has lost its memory: with RST."""
        if self.transport is None:
            return
        sock: socket.socket | None = self.transport.get_extra_info("socket")
        if sock is not None:
            # Closed already, which uvloop calls a ValueError: then there is nothing to reset.
            with contextlib.suppress(OSError, ValueError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESETTING)
        self.transport.abort()


@dataclass(eq=False)
class Relay:
    """See the module.

    Attributes:
        leads_to: where its connections lead.
        up: what happens to bytes towards the target.
        down: what happens to bytes from it.
        passable: whether anything passes.
        port: where it listens.
        accepted: connections so far.
    """

    leads_to: Port
    up: Way = field(default_factory=Way)
    down: Way = field(default_factory=Way)
    passable: bool = True
    port: int = 0
    accepted: int = 0
    _legs: set[Leg] = field(default_factory=set)
    _undialled: list[tuple[Leg, Leg]] = field(default_factory=list)
    _dialling: "set[asyncio.Task[None]]" = field(default_factory=set)

    @property
    def connections(self) -> int:
        """How many are there, from the near side's view."""
        return sum(1 for leg in self._legs if isinstance(leg, NearLeg))

    # What can be done to it ------------------------------------------------------------------------

    def cut(self) -> None:
        """Reset every connection, on both sides."""
        for leg in list(self._legs):
            leg.reset()

    def half_open(self, *, near: bool = False) -> None:
        """Reset every connection at one side, the far one unless `near`, and tell nobody at the other: what that sends is taken
        and thrown away, as behind a NAT that forgot about it."""
        for leg in [leg for leg in self._legs if isinstance(leg, NearLeg) is near]:
            deaf, leg.other = leg.other, None
            if deaf is not None:
                deaf.other = None
            leg.reset()

    def black_hole(self) -> None:
        """Let nothing pass in either direction, not even an end; new connections are accepted and silent.

        The kernel goes on to acknowledge up to its buffers, so only who expects an answer can notice.
        """
        self.passable = False

    def heal(self) -> None:
        """Let everything pass again, whole; what waited in a black hole arrives now."""
        self.up, self.down, self.passable = Way(), Way(), True
        undialled, self._undialled = self._undialled, []
        for near, far in undialled:
            self._start_dialling(near, far)
        for leg in list(self._legs):
            leg.send_due()

    # Relaying --------------------------------------------------------------------------------------

    def accept(self) -> Leg:
        """Return the near side of a new connection."""
        self.accepted += 1
        return NearLeg(self, lambda: self.up)

    def dial_for(self, near: Leg) -> None:
        """Dial the far side, now or when the black hole is over."""
        far = Leg(self, lambda: self.down)
        near.other, far.other = far, near
        if self.passable:
            self._start_dialling(near, far)
        else:
            self._undialled.append((near, far))

    def _start_dialling(self, near: Leg, far: Leg) -> None:
        task = asyncio.get_running_loop().create_task(self._dial(near, far))
        self._dialling.add(task)
        task.add_done_callback(self._dialling.discard)

    async def _dial(self, near: Leg, far: Leg) -> None:
        port = self.leads_to()
        try:
            if port is None:
                raise ConnectionRefusedError
            await asyncio.get_running_loop().create_connection(lambda: far, "127.0.0.1", port)
        except OSError:
            far.gone = True
            near.reset()
            return
        if near.gone:
            far.reset()

    def leg_opened(self, leg: Leg) -> None:
        """A side is connected."""
        self._legs.add(leg)

    def leg_lost(self, leg: Leg) -> None:
        """A side is over."""
        self._legs.discard(leg)

    async def close(self) -> None:
        """Reset every connection and wait until nothing of them is left."""
        self.passable = True
        while self._legs or self._dialling:
            self.cut()
            await asyncio.sleep(0)


class NearLeg(Leg):
    """The side that was accepted."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._relay.dial_for(self)


@asynccontextmanager
async def relay(leads_to: int | Port) -> AsyncIterator[Relay]:
    """Listen while the block runs.

    Args:
        leads_to: a port of the loopback, or what says one for each connection.
    """
    chosen: Port = leads_to if callable(leads_to) else lambda: leads_to
    found = Relay(chosen)
    server = await asyncio.get_running_loop().create_server(found.accept, "127.0.0.1", 0, backlog=1024)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()
        await found.close()
