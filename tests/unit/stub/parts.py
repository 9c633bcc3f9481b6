"""The stub without its sockets: users and agents are protocol cores behind fake connections.

Nothing moves by itself: an agent hears what it was asked in `heard`, and answers on a channel.
"""

import asyncio
import time
from dataclasses import dataclass, field, replace
from typing import Any, cast

from certs.errors import PeerRefused
from certs.peer import PeerCertificate, PeerReader
from certs.standing import Standing
from stub.agents.channel import ResponseChannel
from stub.agents.link import AgentLink
from stub.agents.registry import Registry
from stub.front.admission import Admission, AdmissionRules
from stub.front.connection import FrontConnection
from stub.front.exchange import Exchange
from stub.front.office import FrontOffice
from stub.slots import SlotBoard, Switch
from tests.unit.fakes import USER_TLS, FakeStream
from tunnel.aio.stream import TlsFacts
from tunnel.core.channel.agent_side import AgentChannel, data_header
from tunnel.core.channel.states import ChannelState
from tunnel.core.errors import PeerViolation
from tunnel.core.http.message import Field, ResponseHead
from tunnel.core.identifiers import ClusterId, RequestId
from tunnel.core.session.agent_side import AgentSession
from tunnel.core.session.events import AgentEvent
from tunnel.core.wire.control import AgentHello, StubHello
from tunnel.core.wire.exchange import BODY_UNKNOWN, Head, Refused, Request

BLUE = ClusterId("blue")
HELLO = StubHello("stub-1", instances=("stub-1",), software="cluster-tunnel/0.1")
ALICE = PeerCertificate(
    ("alice",), ("devs", "ops"), (), 0, 2e10, 1, "CN=user-ca", "fa", "user-ca", for_clients=True
)
AGENT = PeerCertificate(
    ("agent",),
    (),
    ("cluster-tunnel://agent/blue",),
    0,
    2e10,
    2,
    "CN=agent-ca",
    "fb",
    "agent-ca",
    for_clients=True,
)


class KnownPeers:
    """A reader of certificates that knows some by name."""

    def __init__(self, **known: PeerCertificate) -> None:
        self.known = {
            b"alice": ALICE,
            b"agent": AGENT,
            **{name.encode(): peer for name, peer in known.items()},
        }

    def read(self, der: bytes) -> PeerCertificate:
        if der not in self.known:
            raise PeerRefused("the client certificate cannot be parsed")
        return self.known[der]


def peers(**known: PeerCertificate) -> PeerReader:
    """`KnownPeers`, as what takes its place."""
    return cast("PeerReader", KnownPeers(**known))


class KnownStanding(KnownPeers):
    """Knows which of them are revoked, too."""

    def __init__(self, **known: PeerCertificate) -> None:
        super().__init__(**known)
        self.peers = self
        self.revoked: set[str] = set()

    def revocation(self, peer: PeerCertificate) -> str | None:
        return "it is revoked" if peer.fingerprint in self.revoked else None

    def problem(self, peer: PeerCertificate) -> str | None:
        return peer.problem_at(time.time()) or self.revocation(peer)

    sweep = Standing.sweep
    sweep_revoked = Standing.sweep_revoked


def standing(**known: PeerCertificate) -> Standing:
    """`KnownStanding`, as what takes its place."""
    return cast("Standing", KnownStanding(**known))


@dataclass
class Book:
    """A ledger that remembers."""

    lines: list[tuple[Exchange, str]] = field(default_factory=list)

    def exchange_completed(self, exchange: Exchange, reason: str) -> None:
        self.lines.append((exchange, reason))

    @property
    def codes(self) -> list[int]:
        return [exchange.status for exchange, _ in self.lines]

    @property
    def reasons(self) -> list[str]:
        return [reason for _, reason in self.lines]


class FarChannel:
    """A response channel, from the agent's end."""

    def __init__(self, registry: Registry, token: str, fingerprint: str = "f") -> None:
        self.stream = FakeStream()
        self.near = ResponseChannel(registry, HELLO, fingerprint)
        self.core = AgentChannel()
        self.stream.open(self.near)
        self.hear()
        self.stream.receive(self.core.send_hello(AgentHello(token=token)))

    def hear(self) -> None:
        """Take what the stub has written."""
        self.core.receive(self.stream.take())

    @property
    def free(self) -> bool:
        """Whether another response may begin."""
        self.hear()
        return self.core.state is ChannelState.IDLE and not self.stream.closing

    def head(
        self,
        number: int,
        status: int = 200,
        fields: list[Field] | None = None,
        length: int = BODY_UNKNOWN,
        bodiless: bool = False,
    ) -> None:
        """Begin a response."""
        self.stream.receive(
            self.core.send_head(Head(RequestId(number), ResponseHead(status, fields or []), length, bodiless))
        )

    def data(self, data: bytes) -> None:
        """Some of the body."""
        self.stream.receive(data_header(len(data)) + data)

    def end(self) -> None:
        """End the response."""
        self.stream.receive(self.core.send_end())

    def answer(
        self, number: int, body: bytes = b"", status: int = 200, fields: list[Field] | None = None
    ) -> None:
        """A whole response, in one read."""
        head = Head(RequestId(number), ResponseHead(status, fields or []), len(body))
        data = data_header(len(body)) + body if body else b""
        self.stream.receive(self.core.send_head(head) + data + self.core.send_end())


class FarAgent:
    """A connected agent, from its own end."""

    def __init__(
        self, registry: Registry, name: str = "", cluster: ClusterId = BLUE, fingerprint: str = "f"
    ) -> None:
        name = name or f"agent-{len(registry.links) + 1}"
        self.registry = registry
        self.fingerprint = fingerprint
        self.link = AgentLink(registry, cluster, fingerprint, HELLO, "192.0.2.9")
        self.core = AgentSession(asyncio.get_running_loop().time())
        self.stream = FakeStream()
        self.stream.open(self.link.runner)
        self.heard()
        self.core.send_hello(AgentHello(name=name, software="cluster-tunnel/0.1"))
        self.say()

    def heard(self, kind: type[Any] = object) -> list[Any]:
        """What the stub has said since this was last asked, of one kind."""
        self.link.runner.flush()
        events: list[AgentEvent] = self.core.receive(self.stream.take(), asyncio.get_running_loop().time())
        return [event for event in events if isinstance(event, kind)]

    def asked(self) -> list[Request]:
        """The requests among what it has heard."""
        return self.heard(Request)

    def say(self) -> None:
        """Send what the core holds."""
        self.stream.receive(self.core.output())

    def refuse(self, number: int, code: int = 429, message: str = "busy") -> None:
        """Refuse a request."""
        self.core.send_refused(Refused(RequestId(number), True, code, message))
        self.say()

    def channel(self) -> FarChannel:
        """Dial one more response channel."""
        return FarChannel(self.registry, self.link.token, self.fingerprint)

    def answer(self, number: int, body: bytes = b"") -> None:
        """Answer on a channel that is just for this."""
        self.channel().answer(number, body)


class Stub:
    """Everything behind the listeners of a stub."""

    def __init__(
        self,
        *,
        certificates: dict[str, PeerCertificate] | None = None,
        slots: dict[ClusterId, tuple[ClusterId, ...]] | None = None,
        **rules: Any,
    ) -> None:
        self.registry = Registry(lambda agents: agents[:2])
        self.book = Book()
        rules = {"default_cluster": BLUE, **rules}
        self.slots = SlotBoard(slots or {}, 10, asyncio.get_running_loop(), self._switched)
        self.registry.subscribe(lambda link: self.slots.cluster_connected(link.cluster))
        self.registry.subscribe_emptied(self.slots.cluster_gone)
        self.admission = Admission(AdmissionRules(**rules), peers(**certificates or {}), slots=self.slots)
        self.office = FrontOffice(self.admission, self.registry, (self.book,), splice_drain_seconds=7)

    def _switched(self, switch: Switch) -> None:
        self.office.slot_switched(switch)

    def agent(self, name: str = "", cluster: ClusterId = BLUE) -> FarAgent:
        """Connect one more agent."""
        return FarAgent(self.registry, name, cluster)

    def user(self, tls: TlsFacts | None = USER_TLS, server_name: str | None = None) -> "User":
        """Connect one more user."""
        return User(self.office, tls, server_name)


class User:
    """A user's connection, from its own end."""

    def __init__(self, office: FrontOffice, tls: TlsFacts | None, server_name: str | None) -> None:
        self.stream = FakeStream(tls)
        self.front = FrontConnection(office, server_name)
        self.stream.open(self.front)

    def send(self, data: bytes) -> None:
        """Send bytes, which arrive in one read."""
        self.stream.receive(data)

    def ask(
        self, line: str = "GET /api/v1/pods", *fields: str, version: str = "1.1", body: bytes = b""
    ) -> None:
        """Send a request."""
        self.send(request_bytes(line, *fields, version=version, body=body))

    def take(self) -> bytes:
        """What came back."""
        return self.stream.take()

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """What came back, as status, fields by lower-cased name, and the rest."""
        head, _, rest = self.take().partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        pairs = [line.split(": ", 1) for line in lines]
        return int(status.split()[1]), {name.lower(): value for name, value in pairs}, rest


def request_bytes(line: str, *fields: str, version: str = "1.1", body: bytes = b"") -> bytes:
    """A request as a client writes it."""
    lines = [f"{line} HTTP/{version}", "Host: stub.example.com", *fields]
    return "\r\n".join([*lines, "", ""]).encode() + body


def with_dates(peer: PeerCertificate, not_before: float, not_after: float) -> PeerCertificate:
    """The same certificate with other dates."""
    return replace(peer, not_before=not_before, not_after=not_after)


def rejection(stream: FakeStream) -> str:
    """The reason in the REJECT frame that ends what was written to a channel."""
    core = AgentChannel()
    try:
        core.receive(stream.take())
    except PeerViolation as violation:
        return str(violation)
    raise AssertionError("nothing was rejected")
