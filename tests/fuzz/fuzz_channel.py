"""Target: a response channel, read by the stub and by the agent."""

from collections.abc import Iterable

from tests.channel_events import in_parts
from tests.fuzz.material import Material, cut
from tunnel.core.channel.agent_side import AgentChannel
from tunnel.core.channel.states import ChannelState
from tunnel.core.channel.stub_side import (
    RawReceived,
    ResponseData,
    ResponseEnded,
    ResponseStarted,
    StubChannel,
)
from tunnel.core.errors import PeerViolation
from tunnel.core.wire.control import AgentHello, StubHello
from tunnel.core.wire.exchange import BODY_UNKNOWN

HELLO = AgentHello(token="secret").encode()

SEEDS = (
    b"\1\1\3\x10\x14\0\0\0\1\0\0\0\0\0\0\0\4\0\xc8",
    b"\1\0\7" + b"\x10\0\0\0\x14" + b"\0" * 20,
    b"\0\1\2\1\5hello",
)


class Heard:
    """What a stub hears on a channel, checked as it comes."""

    def __init__(self) -> None:
        self.channel = StubChannel()
        self.said: list[object] = []
        self.body_left = 0
        self.violated = False

    def feed(self, chunks: Iterable[bytes]) -> "Heard":
        """Feed `chunks` up to the first violation."""
        try:
            for chunk in chunks:
                self._read(chunk)
                while self.channel.unread:
                    self._read(b"")
                if self.channel.awaits_done:
                    self.channel.send_done()
        except PeerViolation:
            self.violated = True
        self.channel.close()
        return self

    def _read(self, chunk: bytes) -> None:
        for event in in_parts(self.channel.receive(memoryview(chunk))):
            self._check(event)

    def _check(self, event: object) -> None:
        match event:
            case ResponseStarted(head):
                self.body_left = 0 if head.bodiless else head.length
            case ResponseData(data) if self.body_left != BODY_UNKNOWN:
                self.body_left -= len(data)
                assert self.body_left >= 0, "more body than announced"
            case ResponseEnded():
                assert self.body_left <= 0, "less body than announced"
        if isinstance(event, ResponseData | RawReceived):
            self._join(type(event).__name__, bytes(event.data))
        else:
            self.said.append(event)

    def _join(self, kind: str, data: bytes) -> None:
        last = self.said[-1] if self.said else None
        if isinstance(last, tuple) and last[0] == kind:
            self.said[-1] = (kind, last[1] + data)
        else:
            self.said.append((kind, data))


def one_input(data: bytes) -> None:
    """Invariants: the stub says the same to bytes in pieces, or in one, as byte by byte, never passes on more or less than a response
    announced, and raises nothing but PeerViolation; neither does the agent."""
    material = Material(data)
    greeted, framed, size = material.byte() & 1, material.byte() & 1, material.byte() + 2
    rest = material.lane_frames() if framed else material.rest()
    stream = (HELLO if greeted else b"") + rest
    by_byte, in_pieces = Heard().feed(cut(stream, 1)), Heard().feed(cut(stream, size))
    whole = Heard().feed([HELLO, rest] if greeted else [rest])
    for other in (in_pieces, whole):
        if not by_byte.violated and not other.violated:
            assert by_byte.said == other.said
    agent = AgentChannel()
    if greeted:
        agent.receive(StubHello("stub-1").encode())
        agent.send_hello(AgentHello())
    try:
        for chunk in cut(stream, size):
            agent.receive(chunk)
    except PeerViolation:
        return
    assert agent.state is not ChannelState.CLOSED
