"""What one request leaves in an audit log: an Event as the apiserver writes them (audit.k8s.io/v1), from either end of the tunnel.

The same tools read all three logs, and `auditID` joins them. What Kubernetes has no field for stands among the annotations.
Nothing here is secret: no fields, no bodies, and of a query only the values of keys that are known to hold none.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import lru_cache
from typing import Final

from tunnel.core.extras import CERTIFICATE, PREFIX
from tunnel.core.http.kubernetes import RequestInfo
from tunnel.core.identity import Identity

URI_CHARACTERS: Final = 8192
"""A longer one is cut, before anything is looked for in it: `kubectl exec` puts a whole script into it, and to hide the values of
192 KiB of query took 25 ms, which anybody could ask for."""

HIDDEN: Final = "<hidden>"
"""In place of a value that may be a secret, as in all logs."""

_CUT: Final = "..."
_KEY: Final = re.compile(rb"[A-Za-z0-9_.-]{1,64}\Z")

_SHOWN: Final = frozenset(
    b"allowWatchBookmarks command container continue dryRun fieldManager fieldSelector fieldValidation follow force "
    b"gracePeriodSeconds insecureSkipTLSVerifyBackend labelSelector limit limitBytes orphanDependents ports pretty previous "
    b"propagationPolicy resourceVersion resourceVersionMatch sendInitialEvents sinceSeconds sinceTime stderr stdin stdout "
    b"stream tailLines timeout timeoutSeconds timestamps tty verbose watch".split()
)
"""What Kubernetes' own API takes in a query. Aggregated APIs, webhooks and whatever is behind a proxy take anything."""


class Stage(Enum):
    """Where a request stands. One that does not run for long leaves the last alone."""

    RECEIVED = "RequestReceived"
    STARTED = "ResponseStarted"
    COMPLETE = "ResponseComplete"


@dataclass(frozen=True, slots=True)
class AuditedRequest:
    """What does not change of a request from one of its stages to the next.

    Attributes:
        id: as every log names it.
        info, target: what is asked, without a cluster's prefix.
        identity: who asks; None where nobody knows.
        address: where that user connects from.
        certificate: the fingerprint of that user's certificate; empty where there is none, or it is not told.
        received_at: POSIX seconds.
        acting: whom that user acts as; None for itself.
    """

    id: str
    info: RequestInfo
    target: bytes
    identity: Identity | None
    address: str
    certificate: str
    received_at: float
    acting: Identity | None = None

    def event(self, stage: Stage, at: float, code: int, facts: Mapping[str, object]) -> dict[str, object]:
        """Return the event of a stage.

        Args:
            at: POSIX seconds.
            code: the status answered; 0 where there is none.
            facts: what else is known, by name; they become annotations, those that are empty left out.
        """
        return event(
            self.id,
            stage,
            uri=request_uri(self.target, self.info),
            verb=self.info.verb,
            user=_user(self.identity, self.certificate),
            acting=_user(self.acting, ""),
            address=self.address,
            object_ref=_object_ref(self.info),
            code=code,
            times=(self.received_at, at),
            facts=facts,
        )


def event(
    audit_id: str,
    stage: Stage,
    *,
    uri: str,
    verb: str,
    user: Mapping[str, object],
    acting: Mapping[str, object] | None = None,
    address: str,
    object_ref: Mapping[str, str],
    code: int,
    times: tuple[float, float],
    facts: Mapping[str, object],
) -> dict[str, object]:
    """Return an event, with its keys in the apiserver's order.

    Args:
        times: when the request was received and when it reached the stage, in POSIX seconds.
        facts: see `AuditedRequest.event`.
    """
    received, reached = times
    found: dict[str, object] = {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": audit_id,
        "stage": stage.value,
        "requestURI": uri,
        "verb": verb,
        "user": user,
    }
    if acting:
        found["impersonatedUser"] = acting
    found["sourceIPs"] = [address] if address else []
    if object_ref:
        found["objectRef"] = object_ref
    if code:
        found["responseStatus"] = {"metadata": {}, "code": code}
    found["requestReceivedTimestamp"] = micro_time(received)
    found["stageTimestamp"] = micro_time(reached)
    # Kubernetes knows only texts here.
    found["annotations"] = {PREFIX + name: str(value) for name, value in facts.items() if value != ""}
    return found


def user_info(name: str, groups: Sequence[str] = ()) -> dict[str, object]:
    """Return a user as an event has one; empty where nobody is named."""
    found: dict[str, object] = {"username": name} if name else {}
    if groups:
        found["groups"] = list(groups)
    return found


def _user(identity: Identity | None, certificate: str) -> dict[str, object]:
    if identity is None:
        return {}
    found = user_info(identity.user, identity.groups)
    if identity.uid is not None:
        found["uid"] = identity.uid
    extra = {key: list(values) for key, values in identity.extra}
    if certificate:
        extra[CERTIFICATE] = [certificate]
    if extra:
        found["extra"] = extra
    return found


def _object_ref(info: RequestInfo) -> dict[str, str]:
    if not info.is_resource:
        return {}
    found = {
        "resource": info.resource,
        "namespace": info.namespace,
        "name": info.name,
        "apiGroup": info.api_group,
        "apiVersion": info.api_version,
        "subresource": info.subresource,
    }
    return {name: value for name, value in found.items() if value}


def request_uri(target: bytes, info: RequestInfo) -> str:
    """Return a target for a log: its path as it is, and its query without what may be secret."""
    path, mark, query = target[:URI_CHARACTERS].partition(b"?")
    shown = path.decode("latin-1")
    if mark:
        # Behind a proxy a key of Kubernetes' own may mean anything.
        known = frozenset[bytes]() if info.is_proxied else _SHOWN
        shown += "?" + "&".join([_shown(pair, known) for pair in query.split(b"&")])
    whole = len(target) <= URI_CHARACTERS and len(shown) <= URI_CHARACTERS
    return shown if whole else shown[:URI_CHARACTERS] + _CUT


def _shown(pair: bytes, known: frozenset[bytes]) -> str:
    key, equals, value = pair.partition(b"=")
    if key in known or not pair:
        return pair.decode("latin-1")
    if not equals or not _KEY.match(key):
        return HIDDEN  # somebody's token may well stand where a key should
    return f"{key.decode()}={HIDDEN if value else ''}"


def micro_time(seconds: float) -> str:
    """Return POSIX seconds as Kubernetes' MicroTime, which always has six digits behind the point."""
    whole, micro = divmod(round(seconds * 1_000_000), 1_000_000)
    return f"{_second(whole)}.{micro:06d}Z"


@lru_cache(maxsize=16)
def _second(whole: int) -> str:
    # Formatting took a quarter of an event's time (9 of 34 µs), and the requests of one second share it.
    return datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")
