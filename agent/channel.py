"""One response channel, from its HELLO to its end: a connection that carries one response at a time."""

import asyncio
import logging
from typing import TYPE_CHECKING, Final, Protocol

from agent.recent import RecentAnswers
from tunnel.aio.sockets import TUNNEL_LEG, TUNNEL_PATIENT_LEG
from tunnel.aio.stream import ByteStream
from tunnel.core import limits
from tunnel.core.channel.agent_side import AgentChannel, data_header
from tunnel.core.channel.states import ChannelState
from tunnel.core.errors import PeerViolation
from tunnel.core.identifiers import RequestId
from tunnel.core.wire.control import AgentHello, StubHello
from tunnel.core.wire.exchange import Head

if TYPE_CHECKING:
    from agent.channels import ChannelPool

_JOINED_BYTES: Final = 16 * limits.KIB
"""A smaller piece of a body is written together with its header: copying it costs less than another write."""

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
        size = len(data)
        if size < _JOINED_BYTES:
            self.stream.write(b"".join((data_header(size), data)))
        else:
            self.stream.write(data_header(size))
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
