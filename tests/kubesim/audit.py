"""Who did what: an audit log like the apiserver's, in memory and as JSON lines."""

import json
from pathlib import Path
from typing import Any

from tests.kubesim import clock
from tests.kubesim.http import Request
from tests.kubesim.requestinfo import RequestInfo

Event = dict[str, Any]


class Audit:
    """Every request that got past authentication, in the order of their answers' heads.

    Attributes:
        events: in the form of `audit.k8s.io/v1`; the newest last.
    """

    def __init__(self, path: Path) -> None:
        self.events: list[Event] = []
        self._file = path.open("a", buffering=1)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def record(self, request: Request, info: RequestInfo, code: int, stage: str = "ResponseComplete") -> None:
        """Note a request: `ResponseStarted` for the long-running ones, else when the answer is known."""
        actor = request.actor or request.user
        event: Event = {
            "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": request.audit_id,
            "stage": stage, "requestURI": request.target, "verb": info.verb, "user": actor.info(),
        }  # fmt: skip
        if request.actor is not None and request.actor is not request.user:
            event["impersonatedUser"] = request.user.info()
        forwarded = [part.strip() for part in request.header("x-forwarded-for").split(",") if part.strip()]
        event["sourceIPs"] = [*forwarded, request.peer]
        event["userAgent"] = request.header("user-agent")
        if info.resource:
            event["objectRef"] = _reference(info)
        event |= {"responseStatus": {"metadata": {}, "code": code}, "stageTimestamp": clock.micro_now()}
        self.events.append(event)
        self._file.write(json.dumps(event, separators=(",", ":")) + "\n")

    def of(self, audit_id: str) -> list[Event]:
        """Return the events of one Audit-ID."""
        return [event for event in self.events if event["auditID"] == audit_id]


def _reference(info: RequestInfo) -> dict[str, str]:
    reference = {"resource": info.resource, "namespace": info.namespace, "name": info.name, "apiGroup": info.group,
                 "apiVersion": info.version, "subresource": info.subresource}  # fmt: skip
    return {key: value for key, value in reference.items() if value}
