"""The response channels of one session: dialled ahead, so that an answer need not wait for a handshake.

The idle pool follows the recent peak of channels in use, held for ten minutes and never below a floor: a burst pays for
dialling once.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from agent.channel import Channel, Speaker
from tunnel.aio.errors import StreamError
from tunnel.core.identifiers import RequestId
from tunnel.core.wire.control import StubHello

PEAK_SECONDS: Final = 600.0
"""How long a burst is remembered."""

DIALS_AT_ONCE: Final = 16
"""Handshakes under way to one stub; more would only queue behind each other on its two threads."""

PATIENCE_SECONDS: Final = 4.0
"""How often the channels in use are looked at for those that may be left unread. At the third look, behind 12 s at most, the kernel would be about to
end one whose client reads nothing."""

RETRY_SECONDS: Final = 1.0
"""After a channel could not be dialled; the session itself finds out soon whether the stub is gone."""

_log = logging.getLogger(__name__)


class ChannelPool:
    """See the module.

    Args:
        stub: the session's HELLO, with the token that channels present.
        dial: opens a connection for a handler. Raises StreamError.
        tasks: owns the dialling.
        floor, limit: idle channels at least, and channels at most.
    """

    def __init__(
        self,
        stub: StubHello,
        dial: Callable[[Channel], Awaitable[None]],
        tasks: asyncio.TaskGroup,
        *,
        floor: int,
        limit: int,
    ) -> None:
        self._stub = stub
        self.on_answer_lost: Callable[[RequestId], None] | None = None
        self._dial_channel = dial
        self._tasks = tasks
        self._floor = floor
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._idle: deque[Channel] = deque()
        self._open: set[Channel] = set()
        self._greeting: set[Channel] = set()
        self._lingering: set[Channel] = set()
        self._pipes: set[Channel] = set()
        self._waiting: deque[Speaker] = deque()
        self._dialling = 0
        self._held_until = 0.0
        self._closed = False
        self._peak = 0
        self._peak_at = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._loop.call_later(PATIENCE_SECONDS, self._look)

    def _look(self) -> None:
        now = self._loop.time()
        for channel in self._open:
            if channel.opened:
                channel.look(now)
        self._pipes = {each for each in self._pipes if not each.look(now)}
        if self._open or self._pipes or not self._closed:
            self._loop.call_later(PATIENCE_SECONDS, self._look)

    def answer_lost(self, request: RequestId) -> None:
        """A channel broke, and this answer on it may not have reached the stub. `on_answer_lost` tells the stub, which does not mind
        where the answer did arrive."""
        if self.on_answer_lost is not None:
            self.on_answer_lost(request)

    @property
    def in_use(self) -> int:
        """Channels that carry a response, or wait for the stub's DONE."""
        return len(self._open) - len(self._idle) - len(self._greeting)

    @property
    def lingering(self) -> int:
        """Channels whose response is written and not taken yet by the stub, or by its client; they have no request any more."""
        return len(self._lingering)

    def take(self, speaker: Speaker) -> Channel | None:
        """Return an idle channel, or None; then `channel_ready` follows."""
        while self._idle:
            channel = self._idle.pop()
            if not channel.stream.closing:
                channel.speaker = speaker
                used = len(self._open) - len(self._idle) - len(self._greeting)
                if used >= self._peak or len(self._idle) < self._floor:
                    # Else as many are in use as often before, and nothing is to be noted or dialled.
                    self._note_use()
                    self.fill()
                return channel
        self._waiting.append(speaker)
        self._note_use()
        self.fill()
        return None

    def leave(self, speaker: Speaker) -> None:
        """A speaker no longer waits."""
        if speaker in self._waiting:
            self._waiting.remove(speaker)

    def idle(self, channel: Channel) -> None:
        """A channel can be used (again)."""
        self._greeting.discard(channel)
        self._lingering.discard(channel)
        if self._closed:
            # Its session ended while it carried a response, or was greeted: nobody will ask for it any more.
            channel.stream.close()
        elif self._waiting:
            speaker = self._waiting.popleft()
            channel.speaker = speaker
            speaker.channel_ready(channel)
        else:
            self._idle.append(channel)

    def lingers(self, channel: Channel) -> None:
        """A channel cannot be used again yet."""
        self._lingering.add(channel)
        if channel in self._idle:
            self._idle.remove(channel)
            self.fill()

    def gone(self, channel: Channel) -> None:
        """A channel is closed, or was given up. It may be said more than once: that a stream ended, then that it closed."""
        if channel not in self._open:
            return
        self._open.remove(channel)
        self._lingering.discard(channel)
        if channel in self._idle:
            self._idle.remove(channel)
        if channel in self._greeting:
            # The stub turned it away; the next one at once would be turned away as fast as we can dial.
            self._greeting.remove(channel)
            self._hold()
        else:
            self.fill()

    def piped(self, channel: Channel) -> None:
        """A channel was given up to a pipe; whether that may be left unread is still looked at."""
        self.gone(channel)
        self._pipes.add(channel)

    def _hold(self) -> None:
        """Dial ahead no more for a while; whoever waits for a channel still has one dialled, once for each request."""
        self._held_until = self._loop.time() + RETRY_SECONDS
        self._loop.call_at(self._held_until, self.fill)

    def misdirected(self, channel: Channel) -> None:
        """A channel reached another stub than the session's."""
        channel.stream.close()  # `gone` follows

    def fill(self) -> None:
        """Dial until enough are there: for those who wait, and ahead up to the recent peak."""
        if self._closed:
            return
        missing = self._wanted() - len(self._open)
        for _ in range(min(missing, DIALS_AT_ONCE - self._dialling)):
            # Counted from here on, not only when it is idle: otherwise more would be dialled than are wanted.
            channel = Channel(self, self._stub)
            self._open.add(channel)
            self._greeting.add(channel)
            self._dialling += 1
            self._tasks.create_task(self._dial(channel), name="dial a response channel")

    async def _dial(self, channel: Channel) -> None:
        try:
            await self._dial_channel(channel)
        except StreamError as error:
            self._dialling -= 1
            self._open.discard(channel)
            self._greeting.discard(channel)
            _log.info("a response channel could not be dialled", extra={"reason": str(error)})
            if not self._closed:
                self._hold()
            return
        self._dialling -= 1
        if self._closed:
            channel.stream.abort()
        elif self._loop.time() >= self._held_until:
            self.fill()

    def _wanted(self) -> int:
        in_use = self.in_use + len(self._waiting)
        return min(self._limit, max(in_use + self._floor, self._recent_peak()))

    def _note_use(self) -> None:
        used = self.in_use + len(self._waiting)
        now = self._loop.time()
        if used >= self._peak or now - self._peak_at >= PEAK_SECONDS:
            self._peak, self._peak_at = used, now
            if self._timer is None:
                self._timer = self._loop.call_later(PEAK_SECONDS, self._forget_peak)

    def _recent_peak(self) -> int:
        return self._peak if self._loop.time() - self._peak_at < PEAK_SECONDS else self.in_use

    def _forget_peak(self) -> None:
        """Close what a burst that is long over has left, the longest idle first."""
        self._timer = None
        until = self._peak_at + PEAK_SECONDS
        if until > self._loop.time():
            self._timer = self._loop.call_at(until, self._forget_peak)
            return
        for _ in range(min(len(self._idle), len(self._open) - self._wanted())):
            channel = self._idle.popleft()
            self._open.discard(channel)
            channel.stream.close()

    def close(self, reason: str, *, abort: bool) -> None:
        """Dial no more. Idle channels close; those that carry something go on, unless `abort`. What is being dialled or greeted closes as soon
        as it is there, or at once with `abort`."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        waiting, self._waiting = self._waiting, deque()
        for speaker in waiting:
            speaker.channel_lost(reason)
        for channel in [each for each in self._open if each.opened] if abort else list(self._idle):
            channel.stream.abort() if abort else channel.stream.close()
            if abort and channel.speaker is not None:
                channel.speaker.channel_lost(reason)
        self._idle.clear()
