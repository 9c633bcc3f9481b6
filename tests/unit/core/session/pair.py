"""A stub's and an agent's session joined by a fake wire. Nothing moves unless it is told to, time included."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from tunnel.core import limits
from tunnel.core.http.message import RequestHead
from tunnel.core.identifiers import RequestId
from tunnel.core.session.agent_side import AgentSession
from tunnel.core.session.events import AgentEvent, StubEvent
from tunnel.core.session.stub_side import StubSession
from tunnel.core.wire.control import AgentHello, StubHello
from tunnel.core.wire.exchange import BODY_UNKNOWN, Request

Event = TypeVar("Event")
Heard = TypeVar("Heard", covariant=True)

STUB_HELLO = StubHello("stub-1", token="secret", cluster="prod", software="cluster-tunnel/0.1")
AGENT_HELLO = AgentHello("agent-1", software="cluster-tunnel/0.1")
START = 1000.0


class Pair:
    """Both ends.

    Args:
        budget_bytes: what the windows of all bodies may grow by.

    Attributes:
        at_stub: what the stub's session has said.
        at_agent: what the agent's has.
        now: the time, on both ends.
    """

    def __init__(self, budget_bytes: int = limits.SESSION_BODY_BYTES) -> None:
        self.now = START
        self.stub = StubSession(STUB_HELLO, self.now)
        self.agent = AgentSession(self.now, budget_bytes)
        self.at_stub: list[StubEvent] = []
        self.at_agent: list[AgentEvent] = []

    def to_agent(self) -> bytearray:
        """Carry what the stub has to say; return it."""
        data = self.stub.output()
        if data:
            self.at_agent += heard(self.agent, data, self.now)
        return data

    def to_stub(self) -> bytearray:
        """Carry what the agent has to say; return it."""
        data = self.agent.output()
        if data:
            self.at_stub += heard(self.stub, data, self.now)
        return data

    def settle(self) -> "Pair":
        """Carry until neither end has anything to say."""
        while self.to_agent() or self.to_stub():
            pass
        return self

    def said_at_agent(self) -> list[AgentEvent]:
        """Settle; return what the agent has heard since this was last asked."""
        self.settle()
        said, self.at_agent = self.at_agent, []
        return said

    def said_at_stub(self) -> list[StubEvent]:
        """Settle; return what the stub has heard since this was last asked."""
        self.settle()
        said, self.at_stub = self.at_stub, []
        return said


class Hearing(Protocol[Heard]):
    """What takes bytes turn by turn: a session, or its HTTP/2 connection."""

    def receive(self, data: bytes | memoryview, now: float) -> Iterable[Heard]: ...
    @property
    def unread(self) -> bool | bytes: ...


def heard(end: Hearing[Heard], data: bytes | memoryview, now: float) -> list[Heard]:
    """What an end says to `data`, in as many turns as it takes."""
    said = [*end.receive(data, now)]
    while end.unread:
        said += end.receive(b"", now)
    return said


def greeted(budget_bytes: int = limits.SESSION_BODY_BYTES) -> Pair:
    """A pair behind both HELLOs, with nothing under way."""
    pair = Pair(budget_bytes)
    pair.settle()
    pair.agent.send_hello(AGENT_HELLO)
    pair.settle()
    pair.at_agent, pair.at_stub = [], []
    return pair


def request(number: int, **changes: Any) -> Request:
    """A request without a body."""
    head = RequestHead(b"GET", b"/api/v1/pods", [(b"Accept", b"application/json")])
    return replace(Request(RequestId(number), 1, b"a" * 16, head, b"user\0ann"), **changes)


def upload(number: int, length: int = BODY_UNKNOWN) -> Request:
    """A request whose body follows."""
    return request(number, body_stream=True, body_length=length)


def of(kind: type[Event], events: list[Any]) -> list[Event]:
    """Those of `events` that are of one kind."""
    return [event for event in events if isinstance(event, kind)]


def http2_frames(data: bytes) -> list[tuple[int, int, int, bytes]]:
    """Type, flags, stream and payload of the HTTP/2 frames in `data`."""
    frames, place = [], 0
    while place < len(data):
        length = int.from_bytes(data[place : place + 3], "big")
        kind, flags = data[place + 3], data[place + 4]
        stream = int.from_bytes(data[place + 5 : place + 9], "big")
        frames.append((kind, flags, stream, data[place + 9 : place + 9 + length]))
        place += 9 + length
    return frames


def http2_frame(kind: int, stream: int, payload: bytes = b"", flags: int = 0) -> bytes:
    """One HTTP/2 frame, whatever it may mean."""
    header = len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big")
    return header + payload
