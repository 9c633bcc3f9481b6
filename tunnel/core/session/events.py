"""What a session tells its owner: facts, in the order in which they happened."""

from dataclasses import dataclass

from tunnel.core.identifiers import RequestId
from tunnel.core.wire.control import Active, AgentHello, Drain, Reject, Report, StubHello
from tunnel.core.wire.exchange import Cancel, Refused, Request


@dataclass(frozen=True, slots=True)
class BodyReceived:
    """Part of a request's body. Its credit goes back by `AgentSession.body_consumed`."""

    id: RequestId
    data: bytes


@dataclass(frozen=True, slots=True)
class BodyEnded:
    """A request's body is whole."""

    id: RequestId


@dataclass(frozen=True, slots=True)
class BodyBroken:
    """The stub broke a request's body off; the upstream must see it cut."""

    id: RequestId


@dataclass(frozen=True, slots=True)
class BodyWanted:
    """There is room for more of a body."""

    id: RequestId


@dataclass(frozen=True, slots=True)
class BodyRefused:
    """The agent takes no more of a body: its upstream has answered, or is gone."""

    id: RequestId


@dataclass(frozen=True, slots=True)
class DrainHeard:
    """The stub has heard that this agent drains, and what it had asked before is here."""


@dataclass(frozen=True, slots=True)
class SessionClosed:
    """The peer ended the session with a GOAWAY."""

    reason: str


AgentEvent = (
    StubHello
    | Active
    | Request
    | Cancel
    | Drain
    | Reject
    | BodyReceived
    | BodyEnded
    | BodyBroken
    | DrainHeard
    | SessionClosed
)
"""What reaches an agent."""

StubEvent = AgentHello | Refused | Report | Drain | Reject | BodyWanted | BodyRefused | SessionClosed
"""What reaches a stub."""
