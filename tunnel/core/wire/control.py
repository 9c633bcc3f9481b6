"""Control messages: what both ends say about themselves. One class per frame, able to write and read its payload.

They are JSON objects in UTF-8, whose unknown keys are ignored, so that a later version can add some. What is written is
cut to what may be read: a reason with a line break must not cost the session that carries it.
"""

import json
from dataclasses import dataclass, field
from typing import Any, Final, Self

from tunnel.core import limits
from tunnel.core.errors import PeerViolation
from tunnel.core.wire.framing import FrameType, encode_frame

SESSION_ALPN: Final = "cluster-tunnel/1"
"""The protocol of a TLS connection that carries a session."""

CHANNEL_ALPN: Final = "cluster-tunnel-response/1"
"""The protocol of a TLS connection that is a response channel."""

VERSIONS: Final = (1,)
"""The protocol versions this end speaks."""

_MOST: Final = 2**63 - 1


def _shown(text: str) -> str:
    """Return `text` as the peer will take it."""
    cut = text[: limits.TEXT_CHARACTERS]
    return cut if cut.isprintable() else "".join(c if c.isprintable() else "?" for c in cut)


def _ascii(name: str) -> str:
    """Return a resource's name as the peer will take it: Kubernetes' own are ASCII, and other letters take six bytes each."""
    return _shown(name).encode("ascii", "replace").decode()


def _frame(kind: FrameType, content: dict[str, Any]) -> bytes:
    return encode_frame(kind, json.dumps(content).encode(), limits.CONTROL_BYTES)


def _read_json(payload: bytes) -> dict[str, Any]:
    if len(payload) > limits.CONTROL_BYTES:
        raise PeerViolation(
            f"a control message has {len(payload)} bytes, the limit is {limits.CONTROL_BYTES}"
        )
    try:
        value = json.loads(payload.decode())  # else json guesses UTF-16 and UTF-32
    except (ValueError, RecursionError) as error:
        raise PeerViolation("a control message is not JSON") from error
    if not isinstance(value, dict):
        raise PeerViolation("a control message is not a JSON object")
    return value


def _text(value: dict[str, Any], key: str) -> str:
    found = value.get(key, "")
    if not isinstance(found, str) or len(found) > limits.TEXT_CHARACTERS or not found.isprintable():
        raise PeerViolation(f"{key!r} is not a printable text of at most {limits.TEXT_CHARACTERS} characters")
    return found


def _flag(value: dict[str, Any], key: str, default: bool) -> bool:
    found = value.get(key, default)
    if not isinstance(found, bool):
        raise PeerViolation(f"{key!r} is neither true nor false")
    return found


def _number(value: dict[str, Any], key: str) -> int:
    found = value.get(key, 0)
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found <= _MOST:
        raise PeerViolation(f"{key!r} is not a whole number")
    return found


def _texts(value: dict[str, Any], key: str) -> tuple[str, ...]:
    found = value.get(key, [])
    if not isinstance(found, list) or len(found) > limits.LIST_ENTRIES:
        raise PeerViolation(f"{key!r} is not a list of at most {limits.LIST_ENTRIES} texts")
    return tuple(_text({key: item}, key) for item in found)


def _versions(value: dict[str, Any]) -> tuple[int, ...]:
    found = value.get("versions")
    if not isinstance(found, list) or not 0 < len(found) <= limits.LIST_ENTRIES:
        raise PeerViolation("'versions' is not a list of numbers")
    return tuple(_number({"versions": item}, "versions") for item in found)


def _capacities(value: dict[str, Any], key: str) -> "tuple[Capacity, ...]":
    found = value.get(key, {})
    if not isinstance(found, dict) or len(found) > limits.LIST_ENTRIES:
        raise PeerViolation(f"{key!r} is not an object of at most {limits.LIST_ENTRIES} resources")
    return tuple(_capacity(_text({key: name}, key), item, key) for name, item in found.items())


def _capacity(resource: str, item: object, key: str) -> "Capacity":
    if not isinstance(item, dict):
        raise PeerViolation(f"{key!r} has a resource that is not an object")
    total, available, largest = (
        _number({key: item[part]}, key) if part in item else None
        for part in ("total", "available", "largest")
    )
    return Capacity(resource, total or 0, available, largest)


def choose_version(theirs: tuple[int, ...]) -> int | None:
    """Return the highest version that both ends speak, or None."""
    return max(set(VERSIONS) & set(theirs), default=None)


@dataclass(frozen=True, slots=True)
class StubHello:
    """The first frame on every connection an agent dialled, from the stub.

    Attributes:
        versions: protocol versions the stub speaks.
        instance: this stub process; a new one after every start.
        worker: which of its processes answered.
        workers: how many it has, numbered from 0; 0 is one too.
        instances: every stub instance this one knows of, itself included.
        token: on a session, the secret its response channels must present; empty on a channel.
        cluster: the cluster that the stub read from the agent's certificate, for the agent's log.
        software: name and version, for logs.
    """

    instance: str
    worker: int = 0
    instances: tuple[str, ...] = ()
    token: str = field(default="", repr=False)
    cluster: str = ""
    software: str = ""
    versions: tuple[int, ...] = VERSIONS
    workers: int = 0

    def encode(self) -> bytes:
        """Return the frame."""
        content = {
            "versions": self.versions,
            "instance": self.instance,
            "worker": self.worker,
            "workers": self.workers,
            "instances": self.instances[: limits.LIST_ENTRIES],
            "token": self.token,
            "cluster": self.cluster,
            "software": _shown(self.software),
        }
        return _frame(FrameType.HELLO, content)

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Read a payload. Raises PeerViolation."""
        value = _read_json(payload)
        return cls(
            instance=_text(value, "instance"),
            worker=_number(value, "worker"),
            workers=_number(value, "workers"),
            instances=_texts(value, "instances"),
            token=_text(value, "token"),
            cluster=_text(value, "cluster"),
            software=_text(value, "software"),
            versions=_versions(value),
        )


@dataclass(frozen=True, slots=True)
class AgentHello:
    """The agent's answer: on a session who it is, on a channel the session's token.

    Attributes:
        versions: protocol versions the agent speaks.
        name: the agent's own name, for people; identity comes from its certificate alone.
        capabilities: optional features it has.
        token: on a channel, the token of the session it belongs to.
        software: name and version, for logs.
    """

    name: str = ""
    capabilities: tuple[str, ...] = ()
    token: str = field(default="", repr=False)
    software: str = ""
    versions: tuple[int, ...] = VERSIONS

    def encode(self) -> bytes:
        """Return the frame."""
        content = {
            "versions": self.versions,
            "name": _shown(self.name),
            "capabilities": self.capabilities,
            "token": self.token,
            "software": _shown(self.software),
        }
        return _frame(FrameType.HELLO, content)

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Read a payload. Raises PeerViolation."""
        value = _read_json(payload)
        return cls(
            name=_text(value, "name"),
            capabilities=_texts(value, "capabilities"),
            token=_text(value, "token"),
            software=_text(value, "software"),
            versions=_versions(value),
        )


@dataclass(frozen=True, slots=True)
class Reject:
    """Why this end closes the connection instead of using it; both ends log it."""

    reason: str

    def encode(self) -> bytes:
        """Return the frame."""
        return _frame(FrameType.REJECT, {"reason": _shown(self.reason)})

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Read a payload. Raises PeerViolation."""
        return cls(_text(_read_json(payload), "reason"))


@dataclass(frozen=True, slots=True)
class Active:
    """The stub that sends this holds the lease named, in the epoch given."""

    lease: str
    epoch: int

    def encode(self) -> bytes:
        """Return the frame."""
        return _frame(FrameType.ACTIVE, {"lease": self.lease, "epoch": self.epoch})

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Read a payload. Raises PeerViolation."""
        value = _read_json(payload)
        return cls(_text(value, "lease"), _number(value, "epoch"))


@dataclass(frozen=True, slots=True)
class Capacity:
    """How much of one resource a cluster's nodes have together.

    Attributes:
        resource: as Kubernetes names it; `cpu` is in thousandths of a core, `memory` in bytes, all others as they are.
        total: what pods may have on all nodes.
        available: what no pod has asked for, on the nodes that take pods; None where that is not known.
        largest: the most of it that is available on one node; None where that is not known.
    """

    resource: str
    total: int
    available: int | None = None
    largest: int | None = None

    def content(self) -> dict[str, int]:
        """Return the JSON object of this resource; what is not known is left out."""
        parts = {"total": self.total, "available": self.available, "largest": self.largest}
        return {part: min(number, _MOST) for part, number in parts.items() if number is not None}


@dataclass(frozen=True, slots=True)
class Report:
    """An agent's state, sent periodically; the stub's pick rests on it.

    Attributes:
        upstream_reachable: whether the apiserver answered lately.
        upstream_milliseconds: how long its last answer took.
        requests: requests in flight.
        pipes: spliced upgrades open.
        draining: whether the agent takes no new requests.
        upstream_version: the apiserver's version, or empty.
        nodes: how many the cluster has, or 0 where that is not known.
        resources: what the nodes have; empty where that is not known.
    """

    upstream_reachable: bool = True
    upstream_milliseconds: int = 0
    requests: int = 0
    pipes: int = 0
    draining: bool = False
    upstream_version: str = ""
    nodes: int = 0
    resources: tuple[Capacity, ...] = ()

    def encode(self) -> bytes:
        """Return the frame."""
        content = {
            "upstreamReachable": self.upstream_reachable,
            "upstreamMilliseconds": self.upstream_milliseconds,
            "requests": self.requests,
            "pipes": self.pipes,
            "draining": self.draining,
            "upstreamVersion": _shown(self.upstream_version),
            "nodes": self.nodes,
            "resources": {
                _ascii(each.resource): each.content() for each in self.resources[: limits.LIST_ENTRIES]
            },
        }
        return _frame(FrameType.REPORT, content)

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Read a payload. Raises PeerViolation."""
        value = _read_json(payload)
        return cls(
            upstream_reachable=_flag(value, "upstreamReachable", True),
            upstream_milliseconds=_number(value, "upstreamMilliseconds"),
            requests=_number(value, "requests"),
            pipes=_number(value, "pipes"),
            draining=_flag(value, "draining", False),
            upstream_version=_text(value, "upstreamVersion"),
            nodes=_number(value, "nodes"),
            resources=_capacities(value, "resources"),
        )


@dataclass(frozen=True, slots=True)
class Drain:
    """No new requests, please; what runs goes on."""

    reason: str = ""

    def encode(self) -> bytes:
        """Return the frame."""
        return _frame(FrameType.DRAIN, {"reason": _shown(self.reason)})

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Read a payload. Raises PeerViolation."""
        return cls(_text(_read_json(payload), "reason"))
