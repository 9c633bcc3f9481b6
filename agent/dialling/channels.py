"""A session's response channels where one address leads to many stubs: each channel goes to the session whose stub it reached.

An agent cannot choose among the stubs behind a load balancer. What was dialled for one session and reached the stub of another
is given to that one if it wants more; else it is closed and dialled again, each round later than the last until one hits.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from agent.channel import Channel
from agent.channels import ChannelPool
from agent.dialling.roster import worker_of
from agent.enrolment_parts import AgentTls
from tunnel.aio.stream import ByteStream
from tunnel.core.wire.control import StubHello
from tunnel.kit.backoff import Backoff

if TYPE_CHECKING:
    from agent.dialling.roster import Roster


class FiledChannels(ChannelPool):
    """The channel pool of a filed session.

    Args:
        roster: knows the other sessions.
        server_name: what the certificate of the session's stub is for.
        tls: with what the session and its channels are dialled.
        stub, dial, tasks, floor, limit: see `ChannelPool`.
    """

    def __init__(
        self,
        roster: "Roster",
        server_name: str,
        tls: AgentTls,
        stub: StubHello,
        dial: Callable[[Channel], Awaitable[None]],
        tasks: asyncio.TaskGroup,
        *,
        floor: int,
        limit: int,
    ) -> None:
        super().__init__(stub, dial, tasks, floor=floor, limit=limit)
        self._roster = roster
        self._server_name = server_name
        self._tls = tls
        self._misses = Backoff(random.random)
        self._round: asyncio.TimerHandle | None = None
        self._changes: asyncio.Event | None = None

    # Reaching the right stub -----------------------------------------------------------------------

    def misdirected(self, channel: Channel) -> None:
        """See `ChannelPool`: hand the connection over, or close it; and dial another one later. Who is on it only its certificate proves, so
        it goes to no stub of another name, whatever that one's channels claim to be."""
        self._roster.counts.misdirected += 1
        self._open.discard(channel)
        self._greeting.discard(channel)
        self._hold()
        hello = channel.core.hello
        assert hello is not None
        other = self._roster.session_with(worker_of(self._server_name, hello))
        if other is None or not other.channels.adopt(channel.stream, hello, self._tls):
            channel.stream.close()

    def adopt(self, stream: ByteStream, hello: StubHello, tls: AgentTls) -> bool:
        """Take over a connection on which this session's stub has said HELLO and nobody has answered.

        Args:
            tls: with what it was dialled; the stub takes no channel that shows another certificate than its session.

        Returns:
            Whether it was wanted.
        """
        if tls is not self._tls or self._closed or len(self._open) >= self._wanted():
            return False
        channel = Channel(self, self._stub)
        self._open.add(channel)
        self._greeting.add(channel)
        stream.set_handler(channel)
        channel.stream_opened(stream)
        channel.stream_received(memoryview(hello.encode()))
        return True

    def fill(self) -> None:
        """See `ChannelPool`; while dialling is held back, only where somebody waits."""
        if self._waiting or self._loop.time() >= self._held_until:
            super().fill()

    def _hold(self) -> None:
        now = self._loop.time()
        if now >= self._held_until and not self._closed:
            # Several channels are dialled at once; together they are one miss.
            self._held_until = now + self._misses.next_seconds()
            self._round = self._loop.call_at(self._held_until, self._let_go)

    def _let_go(self) -> None:
        self._held_until = 0.0  # a timer may fire a little early, by the loop's own clock
        self.fill()

    # Coming to an end ------------------------------------------------------------------------------

    def idle(self, channel: Channel) -> None:
        """See `ChannelPool`."""
        if channel in self._greeting:
            self._misses.succeeded()
        super().idle(channel)
        self._changed()

    def gone(self, channel: Channel) -> None:
        """See `ChannelPool`."""
        super().gone(channel)
        self._changed()

    def close(self, reason: str, *, abort: bool) -> None:
        """See `ChannelPool`."""
        if self._round is not None:
            self._round.cancel()
        super().close(reason, abort=abort)

    async def finish(self, reason: str) -> None:
        """Wait until the stub has taken every response, then close and wait until what was written has left.

        Can be cancelled at any time; `close` does the rest.
        """
        await self._until(lambda: not self.in_use)
        self.close(reason, abort=False)
        await self._until(lambda: not self._open - self._greeting)

    async def _until(self, true: Callable[[], bool]) -> None:
        self._changes = asyncio.Event()
        while not true():
            await self._changes.wait()
            self._changes.clear()

    def _changed(self) -> None:
        if self._changes is not None:
            self._changes.set()
