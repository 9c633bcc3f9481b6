"""A response channel: the agent dialled it, and writes one response at a time on it to whoever asked."""

import asyncio
import logging
from typing import TYPE_CHECKING

from stub.agents.asking import Asker
from tunnel.aio.sockets import TUNNEL_PATIENT_LEG
from tunnel.aio.stream import ByteStream
from tunnel.core import limits
from tunnel.core.channel.stub_side import (
    ChannelEvent,
    ChannelGreeted,
    RawReceived,
    ResponseAborted,
    ResponseData,
    ResponseEnded,
    ResponseReceived,
    ResponseStarted,
    StubChannel,
)
from tunnel.core.errors import PeerViolation
from tunnel.core.wire.control import Reject, StubHello
from tunnel.core.wire.exchange import Head

if TYPE_CHECKING:
    from stub.agents.link import AgentLink
    from stub.agents.registry import Registry

_log = logging.getLogger(__name__)


class ResponseChannel:
    """The handler of one channel's connection.

    Args:
        registry: knows which session a token belongs to.
        hello: what the stub says first.
        fingerprint: of the agent's certificate; the session must have been opened with the same.
    """

    __slots__ = (
        "_asker",
        "_behind",
        "_core",
        "_ending",
        "_fingerprint",
        "_head",
        "_held",
        "_hello",
        "_link",
        "_piped",
        "_registry",
        "_timer",
        "stream",
    )

    stream: ByteStream

    def __init__(self, registry: "Registry", hello: StubHello, fingerprint: str) -> None:
        self._registry = registry
        self._hello = hello
        self._fingerprint = fingerprint
        self._core = StubChannel()
        self._link: AgentLink | None = None
        self._asker: Asker | None = None
        self._head: Head | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._behind = False  # the rest of a read waits for its turn
        self._held = False  # who asked takes no more
        self._ending = ""  # why the channel closes as soon as that rest is used up
        self._piped = False

    def stream_opened(self, stream: ByteStream) -> None:
        self.stream = stream
        stream.write(self._hello.encode())
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(limits.HELLO_SECONDS, self._reject, "no HELLO came in time")

    def stream_received(self, data: memoryview) -> None:
        try:
            for event in self._core.receive(data):
                if not isinstance(event, ResponseData):
                    self._hear(event)
                elif self._asker is not None:
                    self._asker.response_data(event.data)
        except PeerViolation as violation:
            self._reject(str(violation))
            if self._link is not None:
                # Which request was to be answered is not known any more, and its client would wait for ever.
                self._link.distrust(str(violation))
        if self._core.unread:
            self._go_on_soon()

    def _go_on_soon(self) -> None:
        """Let the others have their turn: 64 KiB hold 11 000 of the smallest frames, and a hostile agent would stop everybody."""
        if not self._behind:
            self._behind = True
            self.stream.pause_reading()
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        self._behind = False
        if not self._core.unread:
            return  # closed meanwhile
        if not self._held:
            self.stream.resume_reading()  # from a later turn on, and not at all where this one leaves a rest again
        self.stream_received(memoryview(b""))
        if self._ending and not self._core.unread:
            self._close(self._ending)

    def _hear(self, event: ChannelEvent) -> None:
        match event:
            case ResponseReceived():
                self._start(event.head)
                if self._asker is not None:
                    self._asker.response_data(event.data)
                self._end()
            case ResponseStarted():
                self._start(event.head)
            case ResponseEnded():
                self._end()
            case RawReceived():
                if self._asker is not None:
                    self._asker.raw_received(event.data)
            case ResponseAborted():
                self._close("the agent broke the response off")
            case ChannelGreeted():
                self._greet(event.hello.token)

    def pause_reading(self) -> None:
        """Whoever asked takes no more for now."""
        self._held = True
        self.stream.pause_reading()

    def resume_reading(self) -> None:
        """Whoever asked takes more."""
        self._held = False
        if not self._behind:
            self.stream.resume_reading()

    def stream_ended(self) -> None:
        self._close_behind("the agent closed the response channel")

    def stream_write_paused(self) -> None:
        """The stub writes a few bytes per response; only a splice writes more, and has a handler of its own."""

    def stream_write_resumed(self) -> None:
        """See `stream_write_paused`."""

    def stream_closed(self, error: Exception | None) -> None:
        self._close_behind(f"the response channel broke: {error}" if error else "the response channel closed")

    def _close_behind(self, reason: str) -> None:
        """Close it behind what came before."""
        if self._behind:
            self._ending = self._ending or reason
        else:
            self._close(reason)

    def abandon(self) -> None:
        """Nobody wants the running response any more."""
        assert self._link is not None
        assert self._head is not None
        self._asker = None
        self._link.withdraw(self._head.id)
        self._throw_away(self._head)

    def _throw_away(self, head: Head) -> None:
        """Behind a small response the agent may already have begun another on this channel, which must not be lost with it:
        so what comes of it is skipped. Any other closes the channel."""
        if (
            head.small
            and head.response.status != 101
            and self._link is not None
            and not self._link.runner.closed
        ):
            self.resume_reading()
        else:
            self._close("the client is gone")

    def close(self, reason: str) -> None:
        """End the channel with its session."""
        self._close(reason)

    def become_pipe(self) -> None:
        """The connection is spliced from the next read on and no longer this handler's; the asker still gets what came in the
        same read as the 101."""
        assert self._link is not None
        assert self._asker is not None
        self._link.channel_piped(self, self._asker)
        self._piped = True
        # Its path works, or the 101 would not be here; and what a pod leaves unread may wait.
        self.stream.set_socket_options(TUNNEL_PATIENT_LEG)

    @property
    def idle(self) -> bool:
        """Whether it carries nothing that anybody waits for."""
        return self._asker is None

    def _greet(self, token: str) -> None:
        if self._timer is not None:
            self._timer.cancel()
        link = self._registry.session_of(token)
        if link is None or link.fingerprint != self._fingerprint:
            raise PeerViolation("the token belongs to no session of this certificate")
        link.channel_opened(self)
        self._link = link

    def _start(self, head: Head) -> None:
        assert self._link is not None
        self._head = head
        self._asker = self._link.take(head.id)
        if self._asker is None:
            # The client went away while the answer was under way.
            self._throw_away(head)
        elif head.response.status == 101 and self._ending:
            # The connection is gone by now, and a pipe on it would never hear of its end.
            asker, self._asker = self._asker, None
            asker.lost(self._ending, written=True)
        else:
            self._asker.response_started(self, head)

    def _end(self) -> None:
        asker, self._asker = self._asker, None
        self.resume_reading()  # a pause was for this response's client, not for the next one's
        if self._core.awaits_done:
            # All but one read's worth has been taken by the client's connection: backpressure held the rest back.
            self.stream.write(self._core.send_done())
        if asker is not None:
            asker.response_ended()

    def _reject(self, reason: str) -> None:
        _log.warning("a response channel is rejected", extra={"reason": reason, "agent": self._name})
        self.stream.write(Reject(reason).encode())
        self._close(reason)

    @property
    def _name(self) -> str:
        return self._link.name if self._link is not None else "unknown"

    def _close(self, reason: str) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._link is not None:
            self._link.channel_closed(self)
        asker, self._asker = self._asker, None
        self._core.close()
        self.stream.close()
        if asker is not None and not self._piped:
            asker.response_cut(reason)
