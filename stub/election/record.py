"""The record that candidates compete for: the part of a Kubernetes Lease that an election needs.

Leases are written by others as well (another implementation, `kubectl edit`), so everything is read with suspicion: what is
missing, null or nonsense becomes the value that is safe. Times stay texts: they are shown and compared, never calculated with.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from stub.election.errors import MalformedRecord

LEASE_SECONDS_MAX: Final = 3600
"""The longest lease that is configured or believed. A record that claims 68 years must not stop the election for good."""

TRANSITIONS_MAX: Final = 2**31 - 1
"""leaseTransitions is an int32: the apiserver refuses the next number, so nobody could take the lease any more."""

RELEASED_SECONDS: Final = 1
"""The duration in a released record: validation wants more than 0, and other implementations wait for it to pass."""


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """One state of the record.

    Attributes:
        holder: who holds the lease; empty for nobody.
        duration_seconds: for how long after its last change others must leave it alone; None where the record does not say.
        acquired_at: when the holder took it, as a MicroTime; empty where the record does not say.
        renewed_at: when the holder last renewed it, likewise.
        transitions: how often it was taken: the epoch of the holder's term.
        uid: tells this lease from one of the same name that was deleted.
        version: what a write is conditional on; empty for a record that is to be created.
        source: the object it was read from, so that a write keeps what others put into it.
    """

    holder: str = ""
    duration_seconds: int | None = None
    acquired_at: str = ""
    renewed_at: str = ""
    transitions: int = 0
    uid: str = ""
    version: str = ""
    source: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def says_the_same_as(self, other: "LeaseRecord") -> bool:
        """Whether at most the version differs: somebody set a label, which is no sign of life of the holder."""
        return self._said == other._said

    @property
    def _said(self) -> tuple[object, ...]:
        return (
            self.renewed_at, self.holder, self.transitions, self.duration_seconds, self.acquired_at, self.uid
        )  # fmt: skip


def micro_time(moment: datetime) -> str:
    """Return a moment as a MicroTime: UTC with exactly six digits behind the point; any other width is refused (400)."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse_lease(manifest: object) -> LeaseRecord:
    """Return the record of a Lease as the API gives it.

    Raises:
        MalformedRecord: it has no resourceVersion, so that no write could be conditional, or its transitions are used up.
    """
    source = _mapping(manifest)
    metadata, spec = _mapping(source.get("metadata")), _mapping(source.get("spec"))
    version = _text(metadata.get("resourceVersion"))
    if not version:
        raise MalformedRecord("the Lease has no resourceVersion")
    transitions = _count(spec.get("leaseTransitions"))
    if transitions >= TRANSITIONS_MAX:
        raise MalformedRecord(f"the Lease's leaseTransitions are used up ({TRANSITIONS_MAX}): delete it")
    return LeaseRecord(
        holder=_text(spec.get("holderIdentity")),
        duration_seconds=_duration(spec.get("leaseDurationSeconds")),
        acquired_at=_text(spec.get("acquireTime")),
        renewed_at=_text(spec.get("renewTime")),
        transitions=transitions,
        uid=_text(metadata.get("uid")),
        version=version,
        source=source,
    )


def render_lease(record: LeaseRecord, namespace: str, name: str) -> dict[str, Any]:
    """Return the Lease to write for a record: with its resourceVersion a PUT, without one a POST.

    What the object it came from held beside the election stays: labels, annotations, owners, fields of a later API.
    """
    metadata = {**_mapping(record.source.get("metadata")), "namespace": namespace, "name": name}
    metadata.pop("managedFields", None)  # left out means kept, and they are most of the object
    if record.version:
        metadata |= {"resourceVersion": record.version, "uid": record.uid}
    election = {
        "holderIdentity": record.holder,
        "leaseDurationSeconds": record.duration_seconds,
        "acquireTime": record.acquired_at or None,
        "renewTime": record.renewed_at or None,
        "leaseTransitions": record.transitions,
    }
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": metadata,
        "spec": {**_mapping(record.source.get("spec")), **election},
    }


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _count(value: object) -> int:
    """A bool is an int in Python; in JSON it is not."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _duration(value: object) -> int | None:
    return min(_count(value), LEASE_SECONDS_MAX) or None
