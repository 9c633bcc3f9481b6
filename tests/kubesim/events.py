"""Events, as controllers and the kubelet record them: equal ones are counted, not repeated."""

import time
from typing import Any

from tests.kubesim import clock
from tests.kubesim.registry import CONTROLLER, Registry
from tests.kubesim.resources import resource
from tests.kubesim.store import Object, name_of, namespace_of

_EVENTS = resource("events")


class Events:
    """Records events about objects."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._known: dict[tuple[str, ...], str] = {}

    def record(self, about: Object, kind: str, reason: str, message: str, source: str = "kubelet") -> None:
        """Record one event (`Normal` or `Warning`); the same one again raises its count."""
        namespace = namespace_of(about) or "default"
        space = self._registry.store.peek(resource("namespaces"), "", namespace)
        if space is None or space["metadata"].get("deletionTimestamp"):
            return
        key = (about["metadata"]["uid"], kind, reason, message)
        known = self._registry.store.peek(_EVENTS, namespace, self._known.get(key, ""))
        if known is not None:
            self._registry.update(_EVENTS, namespace, name_of(known), _again, CONTROLLER)
            return
        # Names rise with the time, as those of client-go do.
        name = f"{name_of(about)}.{time.time_ns():x}"
        self._known[key] = name
        self._registry.create(
            _EVENTS, namespace, _event(about, name, kind, reason, message, source), CONTROLLER
        )


def _again(event: Object) -> Object:
    event["count"] = event.get("count", 1) + 1
    event["lastTimestamp"] = clock.now()
    return event


def _event(about: Object, name: str, kind: str, reason: str, message: str, source: str) -> Object:
    now = clock.now()
    origin: dict[str, Any] = {"component": source} | ({"host": "kubesim"} if source == "kubelet" else {})
    involved = {
        "kind": about["kind"], "namespace": namespace_of(about), "name": name_of(about),
        "uid": about["metadata"]["uid"], "apiVersion": about["apiVersion"],
        "resourceVersion": about["metadata"]["resourceVersion"],
    }  # fmt: skip
    return {
        "metadata": {"name": name}, "involvedObject": involved, "reason": reason, "message": message,
        "source": origin, "firstTimestamp": now, "lastTimestamp": now, "count": 1, "type": kind, "eventTime": None,
        "reportingComponent": source, "reportingInstance": origin.get("host", ""),
    }  # fmt: skip
