"""Deployments: a ReplicaSet per template, rolled over within maxSurge and maxUnavailable."""

import math
from typing import Final

from tests.kubesim import clock
from tests.kubesim.registry import CONTROLLER
from tests.kubesim.resources import resource
from tests.kubesim.store import Object, name_of, namespace_of
from tests.kubesim.workloads import PodController, owner_reference, template_hash

SETS: Final = resource("replicasets.apps")
HASH: Final = "pod-template-hash"
REVISION: Final = "deployment.kubernetes.io/revision"


def share(value: int | str, total: int, *, up: bool) -> int:
    """Return `25%` or `2` of a number, rounded as the API says."""
    if isinstance(value, str) and value.endswith("%"):
        part = int(value[:-1]) * total / 100
        return math.ceil(part) if up else math.floor(part)
    return int(value)


class DeploymentController(PodController):
    """Moves replicas from old ReplicaSets to the one of the current template."""

    table = resource("deployments.apps")

    def reconcile_one(self, obj: Object) -> None:
        sets = self._sets(obj)
        current = self._current(obj, sets)
        if current is None and obj["spec"].get("paused"):
            self._report(obj, sets, None)
            return
        if current is None:
            current = self._make(obj, sets)
        if not obj["spec"].get("paused") or len(sets) <= 1:
            self._roll(obj, current, [s for s in self._sets(obj) if name_of(s) != name_of(current)])
        self._clean(obj, current)
        self._report(obj, self._sets(obj), name_of(current))

    def _sets(self, obj: Object) -> list[Object]:
        uid = obj["metadata"]["uid"]
        return [
            found
            for found in self.registry.store.list(SETS, namespace_of(obj))
            if any(owner["uid"] == uid for owner in found["metadata"].get("ownerReferences") or [])
            and not found["metadata"].get("deletionTimestamp")
        ]

    def _current(self, obj: Object, sets: list[Object]) -> Object | None:
        wanted = template_hash(obj["spec"]["template"])
        return next((s for s in sets if s["metadata"]["labels"].get(HASH) == wanted), None)

    def _make(self, obj: Object, sets: list[Object]) -> Object:
        """Create the ReplicaSet of the current template and give the deployment its revision."""
        spec = obj["spec"]
        label = template_hash(spec["template"])
        labels = (spec["template"]["metadata"].get("labels") or {}) | {HASH: label}
        selector = spec["selector"]
        selector = selector | {"matchLabels": (selector.get("matchLabels") or {}) | {HASH: label}}
        template = spec["template"] | {"metadata": spec["template"]["metadata"] | {"labels": labels}}
        meta = {
            "name": f"{name_of(obj)}-{label}", "labels": labels, "ownerReferences": [owner_reference(obj)],
            "annotations": {REVISION: str(self._next_revision(sets))},
        }  # fmt: skip
        body = {"metadata": meta, "spec": {"replicas": 0, "selector": selector, "template": template}}
        return self.registry.create(SETS, namespace_of(obj), body, CONTROLLER)

    def _next_revision(self, sets: list[Object]) -> int:
        return 1 + max((int(s["metadata"]["annotations"].get(REVISION, 0)) for s in sets), default=0)

    def _roll(self, obj: Object, current: Object, old: list[Object]) -> None:
        """Do as much of the update as the strategy allows now."""
        self._renumber(obj, current, old)
        wanted = obj["spec"].get("replicas", 1)
        strategy = obj["spec"]["strategy"]
        if strategy.get("type") == "Recreate":
            for found in old:
                self._scale(obj, found, 0)
            left = any(self.pods_of(found) for found in old)
            self._scale(obj, current, 0 if left else wanted)
            return
        rolling = strategy.get("rollingUpdate") or {}
        surge = share(rolling.get("maxSurge", "25%"), wanted, up=True)
        missing = share(rolling.get("maxUnavailable", "25%"), wanted, up=False)
        missing = missing or (0 if surge else 1)
        total = sum(s["spec"]["replicas"] for s in (current, *old))
        now = current["spec"]["replicas"]
        if now < wanted:
            self._scale(obj, current, min(wanted, now + max(0, wanted + surge - total)))
        elif now > wanted:
            self._scale(obj, current, wanted)
        available = sum(s.get("status", {}).get("availableReplicas", 0) for s in (current, *old))
        spare = available - (wanted - missing)
        for found in sorted(old, key=lambda s: s["metadata"]["creationTimestamp"]):
            count = found["spec"]["replicas"]
            unready = count - found.get("status", {}).get("availableReplicas", 0)
            drop = min(count, max(0, spare) + unready)
            spare -= max(0, drop - unready)
            if drop:
                self._scale(obj, found, count - drop)

    def _renumber(self, obj: Object, current: Object, old: list[Object]) -> None:
        """Give the current ReplicaSet the highest revision (a rollback brings an old one back), and the deployment its."""
        highest = max((int(s["metadata"]["annotations"].get(REVISION, 0)) for s in old), default=0)
        mine = int(current["metadata"]["annotations"].get(REVISION, 0))
        number = str(mine if mine > highest else highest + 1)
        for table, found in ((SETS, current), (self.table, obj)):

            def change(now: Object) -> Object:
                now["metadata"].setdefault("annotations", {})[REVISION] = number
                return now

            if (found["metadata"].get("annotations") or {}).get(REVISION) != number:
                self.registry.update(table, namespace_of(found), name_of(found), change, CONTROLLER)

    def _scale(self, obj: Object, found: Object, replicas: int) -> None:
        before = found["spec"]["replicas"]
        if before == replicas:
            return

        def change(now: Object) -> Object:
            now["spec"]["replicas"] = replicas
            return now

        self.registry.update(SETS, namespace_of(found), name_of(found), change, CONTROLLER)
        way = "up" if replicas > before else "down"
        message = f"Scaled {way} replica set {name_of(found)} from {before} to {replicas}"
        self.events.record(obj, "Normal", "ScalingReplicaSet", message, "deployment-controller")

    def _clean(self, obj: Object, current: Object) -> None:
        """Delete old, empty ReplicaSets beyond the history limit."""
        empty = [
            s for s in self._sets(obj)
            if name_of(s) != name_of(current) and not s["spec"]["replicas"] and not s.get("status", {}).get("replicas")
        ]  # fmt: skip
        empty.sort(key=lambda s: int(s["metadata"]["annotations"].get(REVISION, 0)))
        for found in empty[: max(0, len(empty) - obj["spec"].get("revisionHistoryLimit", 10))]:
            self.registry.delete(SETS, namespace_of(found), name_of(found))

    def _report(self, obj: Object, sets: list[Object], current: str | None) -> None:
        def total(field: str) -> int:
            return sum(s.get("status", {}).get(field, 0) for s in sets)

        fresh = self.registry.store.peek(self.table, namespace_of(obj), name_of(obj))
        if fresh is None:
            return
        updated = sum(s.get("status", {}).get("replicas", 0) for s in sets if name_of(s) == current)
        wanted, available = fresh["spec"].get("replicas", 1), total("availableReplicas")
        rolling = fresh["spec"]["strategy"].get("rollingUpdate") or {}
        missing = share(rolling.get("maxUnavailable", 0), wanted, up=False)
        finished = updated == wanted == available == total("replicas")
        old = fresh.get("status") or {}
        self.report(
            fresh, observedGeneration=fresh["metadata"].get("generation", 1), replicas=total("replicas"),
            updatedReplicas=updated, readyReplicas=total("readyReplicas"), availableReplicas=available,
            unavailableReplicas=max(0, max(wanted, total("replicas")) - available),
            conditions=_conditions(old, available >= wanted - missing, finished, current or ""),
        )  # fmt: skip


def _conditions(old: Object, available: bool, finished: bool, current: str) -> list[Object]:
    if available:
        first = ("Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    else:
        text = "Deployment does not have minimum availability."
        first = ("Available", "False", "MinimumReplicasUnavailable", text)
    progress = ("NewReplicaSetAvailable", f'ReplicaSet "{current}" has successfully progressed.')
    if not finished:
        progress = ("ReplicaSetUpdated", f'ReplicaSet "{current}" is progressing.')
    return [_condition(old, *first), _condition(old, "Progressing", "True", *progress)]


def _condition(old: Object, kind: str, value: str, reason: str, message: str) -> Object:
    known: Object = next((c for c in old.get("conditions") or [] if c["type"] == kind), {})
    now = clock.now()
    same = known.get("status") == value
    if same and (known.get("reason"), known.get("message")) == (reason, message):
        return known
    since = known["lastTransitionTime"] if same else now
    return {
        "type": kind,
        "status": value,
        "lastUpdateTime": now,
        "lastTransitionTime": since,
        "reason": reason,
        "message": message,
    }
