"""The agent without its sockets: the stub is a protocol core, the apiserver a fake connection.

Nothing moves by itself: what the apiserver got is in `taken`, and answers come when the test says so.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, cast

from agent.audit import AuditLog
from agent.ceiling import Ceiling
from agent.channel import Channel, Speaker
from agent.channels import ChannelPool
from agent.facts.vitals import Vitals
from agent.inspection import Inspection
from agent.session import AgentLink, Fence
from agent.settings import AgentSettings
from agent.upstream.connection import UpstreamConnection
from agent.upstream.credential import Credential, StaticToken
from agent.upstream.known import KnownAnswers
from agent.upstream.pool import Borrower, UpstreamPool
from agent.upstream.reviews import Reviews
from agent.upstream.tokens import AccountTokens
from tests.channel_events import in_parts
from tests.unit.core.session.pair import heard
from tests.unit.fakes import FakeStream
from tunnel.core.channel.stub_side import (
    ResponseAborted,
    ResponseData,
    ResponseEnded,
    ResponseStarted,
    StubChannel,
)
from tunnel.core.errors import Refusal
from tunnel.core.http.message import Field, RequestHead
from tunnel.core.identifiers import RequestId
from tunnel.core.session.stub_side import StubSession
from tunnel.core.wire.control import StubHello
from tunnel.core.wire.exchange import BODY_UNKNOWN, Head, Refused, Request

STUB = StubHello("stub-1", worker=2, token="session-token", cluster="blue")
ORIGIN = b"https://10.0.0.1:6443"


def request(
    number: int = 1,
    method: bytes = b"GET",
    target: bytes = b"/api",
    fields: list[Field] | None = None,
    body: bytes = b"",
    **more: Any,
) -> Request:
    """A request as a stub sends it."""
    head = RequestHead(method, target, fields or [])
    more = {"epoch": 0, "audit": bytes(16), "caller": b"user\0alice\0address\x00192.0.2.1", **more}
    return Request(RequestId(number), head=head, body=body, **{"body_length": len(body), **more})


def upload(number: int = 1, length: int = BODY_UNKNOWN, method: bytes = b"POST") -> Request:
    """A request whose body follows."""
    return request(number, method, body_length=length, body_stream=True)


class Apiserver:
    """A connection to the apiserver, from its own end."""

    def __init__(self, pool: Any) -> None:
        self.stream = FakeStream()
        self.connection = UpstreamConnection(pool, KnownAnswers())
        self.stream.open(self.connection)

    def taken(self) -> bytes:
        """What it got since this was last asked."""
        return self.stream.take()

    def answer(self, data: bytes) -> None:
        """Bytes from the apiserver, in one read."""
        self.stream.receive(data)

    def ok(self, body: bytes = b"{}") -> None:
        """A small answer."""
        self.answer(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


class Upstreams:
    """An upstream pool whose connections the test makes. It remembers who borrows, and what came back."""

    reachable = True
    dial_milliseconds = 3

    def __init__(self) -> None:
        self.borrowers: deque[tuple[Borrower, bool]] = deque()
        self.free: list[UpstreamConnection] = []
        self.gone: list[UpstreamConnection] = []

    def borrow(self, borrower: Borrower, *, fresh: bool = False) -> None:
        self.borrowers.append((borrower, fresh))

    def connection_free(self, connection: UpstreamConnection) -> None:
        self.free.append(connection)

    def connection_gone(self, connection: UpstreamConnection) -> None:
        self.gone.append(connection)

    def give(self, apiserver: Apiserver | None = None) -> Apiserver:
        """Serve the one that has waited longest."""
        apiserver = apiserver or Apiserver(self)
        self.borrowers.popleft()[0].connected(apiserver.connection)
        return apiserver

    def refuse(self, refusal: Refusal) -> None:
        """Serve it with a refusal."""
        self.borrowers.popleft()[0].not_connected(refusal)


class NearChannel:
    """A response channel, from the stub's end."""

    def __init__(self, pool: "Channels") -> None:
        self.stream = FakeStream()
        self.channel = Channel(cast("ChannelPool", pool), STUB)
        self.core = StubChannel()
        self.stream.open(self.channel)
        self.stream.receive(STUB.encode())

    def heard(self) -> list[object]:
        """What was written: heads, bytes, and `end` or `abort`."""
        found: list[object] = []
        for event in in_parts(self.core.receive(memoryview(self.stream.take()))):
            match event:
                case ResponseStarted():
                    found.append(event.head)
                case ResponseData():
                    found.append(bytes(event.data))
                case ResponseEnded():
                    found.append("end")
                case ResponseAborted():
                    found.append("abort")
        return found

    def done(self) -> None:
        """Say that the client has taken a large response."""
        self.stream.receive(self.core.send_done())


class Channels:
    """A channel pool that has what the test puts in."""

    def __init__(self) -> None:
        self.ready: list[Channel] = []
        self.waiting: deque[Speaker] = deque()
        self.lost: list[Channel] = []
        self._lingering: set[Channel] = set()
        self.closed: list[tuple[str, bool]] = []
        self.on_answer_lost: Callable[[RequestId], None] = lambda request: None

    def answer_lost(self, request: RequestId) -> None:
        self.on_answer_lost(request)

    def add(self) -> NearChannel:
        """One more channel; whoever waits gets it at once."""
        return NearChannel(self)

    def take(self, speaker: Speaker) -> Channel | None:
        if not self.ready:
            self.waiting.append(speaker)
            return None
        channel = self.ready.pop()
        channel.speaker = speaker
        return channel

    def leave(self, speaker: Speaker) -> None:
        if speaker in self.waiting:
            self.waiting.remove(speaker)

    def lingers(self, channel: Channel) -> None:
        self._lingering.add(channel)

    @property
    def lingering(self) -> int:
        return len(self._lingering)

    def idle(self, channel: Channel) -> None:
        self._lingering.discard(channel)
        if self.waiting:
            channel.speaker = self.waiting.popleft()
            channel.speaker.channel_ready(channel)
        else:
            self.ready.append(channel)

    def gone(self, channel: Channel) -> None:
        self.lost.append(channel)
        if channel in self.ready:
            self.ready.remove(channel)

    def piped(self, channel: Channel) -> None:
        self.gone(channel)

    def fill(self) -> None:
        """The test does."""

    def close(self, reason: str, *, abort: bool) -> None:
        self.closed.append((reason, abort))


class Agent:
    """One agent's session and everything behind it.

    Args:
        credential: the cluster's own.
        tasks: owns renewals; without one nothing is renewed.
        accounts: the credentials of users that act as service accounts.
        audit: hears of every request.
        reviews: says who may act as whom.
    """

    def __init__(
        self,
        *,
        credential: Credential | None = None,
        tasks: asyncio.TaskGroup | None = None,
        fence: Fence | None = None,
        channels_limit: int = 8,
        accounts: AccountTokens | None = None,
        audit: AuditLog | None = None,
        reviews: Reviews | None = None,
    ) -> None:
        self.upstreams = Upstreams()
        self.channels = Channels()
        self.vitals = Vitals(milliseconds=2.7)
        credential = credential or StaticToken("token-1")
        ceiling = Ceiling(impersonate=accounts is None)
        inspection = Inspection(ceiling, credential, b"10.0.0.1:6443", accounts=accounts, reviews=reviews)
        settings = cast("AgentSettings", _Settings(channels_limit))
        self.link = AgentLink(
            settings,
            cast("UpstreamPool", self.upstreams),
            self.vitals,
            inspection,
            credential,
            fence or Fence(),
            ORIGIN,
            lambda stub: cast("ChannelPool", self.channels),
            cast("asyncio.TaskGroup", tasks),
            "stub.example.com:8443",
            audit,
        )
        self.stream = FakeStream()
        self.core = StubSession(STUB, asyncio.get_running_loop().time())

    def connect(self) -> "Agent":
        """Open the session and say both HELLOs."""
        self.stream.open(self.link.runner)
        self.say()
        self.heard()
        return self

    def say(self) -> None:
        """Send what the stub's core holds."""
        self.stream.receive(self.core.output())

    def heard(self, kind: type[Any] = object) -> list[Any]:
        """What the agent has said since this was last asked, of one kind."""
        self.link.runner.flush()
        events = heard(self.core, self.stream.take(), asyncio.get_running_loop().time())
        return [event for event in events if isinstance(event, kind)]

    def ask(self, asked: Request) -> None:
        """Send a request."""
        self.core.send_request(asked)
        self.say()

    def send(self, number: int, data: bytes) -> None:
        """Send part of a body."""
        self.core.send_body(RequestId(number), data)
        self.say()

    def cancel(self, number: int) -> None:
        """Cancel a request."""
        self.core.send_cancel(RequestId(number))
        self.say()

    @property
    def room(self) -> int:
        """What the agent's window for request 1 takes."""
        self.heard()
        return self.core.body_room(RequestId(1))

    def refused(self) -> list[tuple[int, int, bool]]:
        """The refusals since this was last asked: which request, with what code, and whether another may be asked."""
        return [(each.id, each.code, each.retryable) for each in self.heard(Refused)]


class _Settings:
    """Of an agent's settings those that a session looks at."""

    name = "agent-1"

    def __init__(self, channels_limit: int) -> None:
        self.channels_limit = channels_limit


def head_of(heard: list[object]) -> Head:
    """The head at the beginning of a response."""
    head = heard[0]
    assert isinstance(head, Head)
    return head
