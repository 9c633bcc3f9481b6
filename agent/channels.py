"""The response channels of one session: dialled ahead, so that an answer need not wait for a handshake.

The idle pool follows the recent peak of channels in use, held for ten minutes and never below a floor: a burst pays for
dialling once.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from agent.recent import RecentAnswers
from tunnel.aio.errors import StreamError
from tunnel.aio.sockets import TUNNEL_LEG, TUNNEL_PATIENT_LEG
from tunnel.aio.stream import ByteStream
from tunnel.core import limits
from tunnel.core.channel.agent_side import AgentChannel, data_header
from tunnel.core.channel.states import ChannelState
from tunnel.core.errors import PeerViolation
from tunnel.core.identifiers import RequestId
from tunnel.core.wire.control import AgentHello, StubHello
from tunnel.core.wire.exchange import Head

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


class Speaker(Protocol):
    """Whoever writes a response on a channel."""

    def channel_ready(self, channel: "Channel") -> None: ...
    def channel_write_paused(self) -> None: ...
    def channel_write_resumed(self) -> None: ...
    def channel_lost(self, reason: str) -> None: ...


class Channel:
    """The handler of one channel's connection.

    Args:
        pool: gets it when it is idle.
        expected: the stub instance and worker that the session is with.

    Attributes:
        opened: whether `stream` is there; it may be closed by now.
        write_paused: whether more is written than the stub takes.
    """

    __slots__ = (
        "_answering",
        "_begun",
        "_expected",
        "_hello_timer",
        "_looked_at",
        "_loop",
        "_patient",
        "_pool",
        "_recent",
        "_was_cut",
        "core",
        "opened",
        "speaker",
        "stream",
        "write_paused",
    )

    stream: ByteStream

    def __init__(self, pool: "ChannelPool", expected: StubHello) -> None:
        self._pool = pool
        self._expected = expected
        self._loop = asyncio.get_running_loop()
        self.core = AgentChannel()
        self._answering: RequestId | None = None
        self._recent = RecentAnswers()
        self._was_cut = False
        self._patient = False
        self._looked_at: tuple[RequestId, float] | None = None
        self._begun: RequestId | None = None
        self._hello_timer: asyncio.TimerHandle | None = None
        self.opened = False
        self.speaker: Speaker | None = None
        self.write_paused = False

    def stream_opened(self, stream: ByteStream) -> None:
        self.stream = stream
        self.opened = True
        self._hello_timer = self._loop.call_later(limits.HELLO_SECONDS, self._gone, "no HELLO came in time")

    def _cancel_hello_timer(self) -> None:
        if self._hello_timer is not None:
            self._hello_timer.cancel()
            self._hello_timer = None

    def stream_received(self, data: memoryview) -> None:
        try:
            if self.core.receive(bytes(data)):
                self._advance()
        except PeerViolation as violation:
            _log.warning("a response channel is given up", extra={"reason": str(violation)})
            self._gone(str(violation))

    def _advance(self) -> None:
        core = self.core
        if core.state is ChannelState.GREETING and core.hello is not None:
            self._cancel_hello_timer()
            hello = core.hello
            if (hello.instance, hello.worker) != (self._expected.instance, self._expected.worker):
                # One address may lead to many stubs; this channel reached another one than the session did.
                self._pool.misdirected(self)
                return
            self.stream.write(core.send_hello(AgentHello(token=self._expected.token)))
        if core.state is ChannelState.IDLE:
            self._recent.clear()  # DONE says that its answer arrived, and so did everything before it
            self._free()

    def _free(self) -> None:
        """It can carry the next response, unless the stub leaves the last ones untaken: then when it has taken them."""
        if self.core.state is ChannelState.IDLE and not self.write_paused:
            self._pool.idle(self)
        else:
            self._pool.lingers(self)

    def start(self, head: Head) -> None:
        """Begin a response."""
        self._answering = self._begun = head.id
        if self._patient:
            self._patient = False
            self.stream.set_socket_options(TUNNEL_LEG)
        self.stream.write(self.core.send_head(head))

    def data(self, data: bytes | memoryview) -> None:
        """Send part of the body."""
        self.stream.write(data_header(len(data)))
        self.stream.write(data)

    def end(self) -> None:
        """End the response; the channel goes back to the pool, after the stub's DONE where it must."""
        self.stream.write(self.core.send_end())
        if self._answering is not None:
            self._recent.add(self._answering, self._loop.time())
            self._answering = None
        self.speaker = None
        self._free()

    def look(self, now: float) -> bool:
        """Look whether its response may be left unread by its client for long; return whether it may.

        Until its path is known to work since the response began, the kernel ends it as soon as something stays unacknowledged: nobody
        else would find out that the HEAD was lost.

        Args:
            now: in `loop.time()`.
        """
        if (
            self._patient
            or self.stream.closing
            or self._begun is None
            or self.core.state is ChannelState.IDLE
        ):
            return True
        if self._looked_at is None or self._looked_at[0] != self._begun:
            self._looked_at = self._begun, now
        elif self.stream.seconds_since_ack() < now - self._looked_at[1]:
            self._patient = True
            self.stream.set_socket_options(TUNNEL_PATIENT_LEG)
        return self._patient

    def cut(self, *, wanted: bool = True) -> None:
        """Break the response off.

        Args:
            wanted: whether the stub waits for it; then it hears on the session as well, when the channel is closed, that no more comes.
        """
        self.speaker = None
        self._was_cut = True
        if not wanted:
            self._answering = None
        if self.core.state is ChannelState.RESPONDING:
            self.stream.write(self.core.send_abort())
        self._pool.gone(self)
        self.stream.close()

    def become_pipe(self) -> None:
        """The connection is spliced from here on and no longer this handler's; `pipe_broke` may follow."""
        self.speaker = None
        self._pool.piped(self)

    def pipe_broke(self) -> None:
        """The connection that became a pipe is gone, perhaps before its 101 arrived."""
        self._tell_lost()

    def stream_ended(self) -> None:
        self._gone("the stub closed the response channel")

    def stream_write_paused(self) -> None:
        self.write_paused = True
        if self.speaker is not None:
            self.speaker.channel_write_paused()
        elif self.core.state is ChannelState.IDLE:
            self._free()  # no longer: the stream tells of it only at the end of the turn

    def stream_write_resumed(self) -> None:
        self.write_paused = False
        if self.speaker is not None:
            self.speaker.channel_write_resumed()
        elif self.core.state is ChannelState.IDLE:
            self._free()

    def stream_closed(self, error: Exception | None) -> None:
        if error is None and not self._was_cut:
            # It was idle or its session is over. Behind a cut nobody can tell whether the stub had heard that before a polite close
            # was given up.
            self._answering = None
            self._recent.clear()
        self._gone(f"the response channel broke: {error}" if error else "the response channel closed")

    def _tell_lost(self) -> None:
        """Nobody can tell which of these the stub has: it would wait for the others for ever."""
        lost = self._recent.take(self._loop.time())
        if self._answering is not None:
            lost.append(self._answering)
            self._answering = None
        for request in lost:
            self._pool.answer_lost(request)

    def _gone(self, reason: str) -> None:
        self._cancel_hello_timer()
        self._tell_lost()
        self.core.close()
        self._pool.gone(self)
        self.stream.abort()
        speaker, self.speaker = self.speaker, None
        if speaker is not None:
            speaker.channel_lost(reason)


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
