"""Kinds that make pods directly: ReplicaSet, DaemonSet, StatefulSet and Job."""

import copy
import hashlib
import json
from typing import Any, Final

from tests.kubesim import clock
from tests.kubesim.events import Events
from tests.kubesim.kubelet import NODE
from tests.kubesim.registry import CONTROLLER, Registry
from tests.kubesim.resources import Resource, resource
from tests.kubesim.selectors import labels_of, matches
from tests.kubesim.store import Object, name_of, namespace_of

PODS: Final = resource("pods")


def owner_reference(owner: Object) -> Object:
    """Return the reference that makes `owner` an object's controller."""
    return {
        "apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": name_of(owner),
        "uid": owner["metadata"]["uid"], "controller": True, "blockOwnerDeletion": True,
    }  # fmt: skip


def is_ready(pod: Object) -> bool:
    """Return whether a pod is Ready and not on its way out."""
    conditions = pod.get("status", {}).get("conditions") or []
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    return ready and not pod["metadata"].get("deletionTimestamp")


def is_active(pod: Object) -> bool:
    """Return whether a pod counts: not ended, not being deleted."""
    phase = pod.get("status", {}).get("phase")
    return phase not in ("Succeeded", "Failed") and not pod["metadata"].get("deletionTimestamp")


def template_hash(template: Any) -> str:
    """Return a short name of a template's content."""
    text = json.dumps(template, sort_keys=True)
    letters = "bcdfghjklmnpqrstvwxz2456789"
    digest = hashlib.sha256(text.encode()).digest()
    return "".join(letters[byte % len(letters)] for byte in digest[:10])


class PodController:
    """What all makers of pods share."""

    table: Resource

    def __init__(self, registry: Registry, events: Events) -> None:
        self.registry = registry
        self.events = events

    def reconcile(self) -> None:
        """Look at every object of the kind once."""
        for obj in self.registry.store.list(self.table):
            if not obj["metadata"].get("deletionTimestamp"):
                self.reconcile_one(obj)

    def reconcile_one(self, obj: Object) -> None:
        raise NotImplementedError

    def pods_of(self, owner: Object) -> list[Object]:
        """Return the pods that `owner` controls."""
        uid, namespace = owner["metadata"]["uid"], namespace_of(owner)
        return [
            pod
            for pod in self.registry.store.list(PODS, namespace)
            if any(
                o["uid"] == uid and o.get("controller") for o in pod["metadata"].get("ownerReferences") or []
            )
        ]

    def adopt(self, owner: Object) -> None:
        """Take over pods that match the selector and have no controller."""
        for pod in self.registry.store.list(PODS, namespace_of(owner)):
            owners = pod["metadata"].get("ownerReferences") or []
            if is_active(pod) and not owners and matches(owner["spec"]["selector"], labels_of(pod)):
                self._own(owner, pod)

    def _own(self, owner: Object, pod: Object) -> None:
        def change(current: Object) -> Object:
            current["metadata"]["ownerReferences"] = [owner_reference(owner)]
            return current

        self.registry.update(PODS, namespace_of(pod), name_of(pod), change, CONTROLLER)

    def make_pod(self, owner: Object, name: str = "", labels: dict[str, str] | None = None) -> Object:
        """Create one pod from the owner's template."""
        template = copy.deepcopy(owner["spec"]["template"])
        meta = {k: template.get("metadata", {}).get(k) for k in ("labels", "annotations")}
        meta = {k: v for k, v in meta.items() if v}
        meta["labels"] = (meta.get("labels") or {}) | (labels or {})
        meta["ownerReferences"] = [owner_reference(owner)]
        named = {"name": name} if name else {"generateName": name_of(owner) + "-"}
        pod = {"metadata": meta | named, "spec": template["spec"]}
        created = self.registry.create(PODS, namespace_of(owner), pod, CONTROLLER)
        source = f"{owner['kind'].lower()}-controller"
        self.events.record(owner, "Normal", "SuccessfulCreate", f"Created pod: {name_of(created)}", source)
        return created

    def drop_pod(self, owner: Object, pod: Object) -> None:
        """Delete one pod."""
        source = f"{owner['kind'].lower()}-controller"
        self.events.record(owner, "Normal", "SuccessfulDelete", f"Deleted pod: {name_of(pod)}", source)
        self.registry.delete(PODS, namespace_of(pod), name_of(pod))

    def report(self, obj: Object, **counts: object) -> None:
        """Write the object's status; counts of zero are left out, as the API leaves them out."""
        current = self.registry.store.peek(self.table, namespace_of(obj), name_of(obj))
        if current is None:
            return
        status = {k: v for k, v in counts.items() if v or k in _ALWAYS}
        self.registry.set_status(self.table, current, status)


_ALWAYS: Final = ("replicas", "desiredNumberScheduled", "currentNumberScheduled", "numberMisscheduled", "numberReady",
                  "ready")  # fmt: skip


class ReplicaSetController(PodController):
    """Keeps the number of pods."""

    table = resource("replicasets.apps")

    def reconcile_one(self, obj: Object) -> None:
        self.adopt(obj)
        pods = [pod for pod in self.pods_of(obj) if is_active(pod)]
        wanted = obj["spec"].get("replicas", 1)
        for _ in range(wanted - len(pods)):
            self.make_pod(obj)
        # The youngest and the unready go first.
        doomed = sorted(pods, key=lambda p: (is_ready(p), p["metadata"]["creationTimestamp"]))
        for pod in doomed[: max(0, len(pods) - wanted)]:
            self.drop_pod(obj, pod)
        pods = [pod for pod in self.pods_of(obj) if is_active(pod)]
        ready = sum(map(is_ready, pods))
        generation = obj["metadata"].get("generation", 1)
        self.report(
            obj, replicas=len(pods), fullyLabeledReplicas=len(pods), readyReplicas=ready, availableReplicas=ready,
            observedGeneration=generation,
        )  # fmt: skip


class DaemonSetController(PodController):
    """Keeps one pod on the one node."""

    table = resource("daemonsets.apps")

    def reconcile_one(self, obj: Object) -> None:
        generation = str(obj["metadata"].get("generation", 1))
        pods = [pod for pod in self.pods_of(obj) if is_active(pod)]
        label = "pod-template-generation"
        node = self.registry.store.peek(resource("nodes"), "", NODE) or {"metadata": {}}
        selector = obj["spec"]["template"]["spec"].get("nodeSelector") or {}
        fits = matches({"matchLabels": selector}, node["metadata"].get("labels") or {})
        template = obj["spec"]["template"]["spec"]["containers"]
        stale = [p for p in pods if _images(p["spec"]["containers"]) != _images(template)]
        for pod in stale if fits else pods:
            self.drop_pod(obj, pod)
        if fits and not pods:
            self.make_pod(obj, labels={label: generation})
        current = [pod for pod in self.pods_of(obj) if is_active(pod) and pod not in stale]
        ready = sum(map(is_ready, current))
        wanted = int(fits)
        self.report(
            obj, currentNumberScheduled=len(current), numberMisscheduled=0, desiredNumberScheduled=wanted,
            numberReady=ready, updatedNumberScheduled=len(current), numberAvailable=ready,
            observedGeneration=int(generation),
        )  # fmt: skip


def _images(containers: list[Object]) -> list[object]:
    """Return what makes two templates' containers different here."""
    return [(c["name"], c["image"], c.get("command"), c.get("args"), str(c.get("env"))) for c in containers]


class StatefulSetController(PodController):
    """Keeps numbered pods, one after the other."""

    table = resource("statefulsets.apps")

    def reconcile_one(self, obj: Object) -> None:
        pods = {name_of(pod): pod for pod in self.pods_of(obj)}
        wanted = obj["spec"].get("replicas", 1)
        names = [f"{name_of(obj)}-{i}" for i in range(wanted)]
        template = obj["spec"]["template"]["spec"]["containers"]
        revision = f"{name_of(obj)}-{_revision(template)}"
        self._keep(obj, pods, names, revision)
        current = [p for p in self.pods_of(obj) if is_active(p)]
        updated = [p for p in current if labels_of(p).get("controller-revision-hash") == revision]
        ready = sum(map(is_ready, current))
        self.report(
            obj, replicas=len(current), readyReplicas=ready, availableReplicas=ready, updatedReplicas=len(updated),
            currentReplicas=len(updated), currentRevision=revision, updateRevision=revision, collisionCount=0,
            observedGeneration=obj["metadata"].get("generation", 1),
        )  # fmt: skip

    def _keep(self, obj: Object, pods: dict[str, Object], names: list[str], revision: str) -> None:
        for name in sorted(set(pods) - set(names), reverse=True):
            if is_active(pods[name]):
                self.drop_pod(obj, pods[name])
                return
        for name in names:
            pod = pods.get(name)
            if pod is None:
                self.make_pod(
                    obj,
                    name,
                    {"controller-revision-hash": revision, "statefulset.kubernetes.io/pod-name": name},
                )
                return
            if not is_active(pod) or not is_ready(pod):
                return
        for name in reversed(names):
            if labels_of(pods[name]).get("controller-revision-hash") != revision:
                self.drop_pod(obj, pods[name])
                return


def _revision(template: list[Object]) -> str:
    return template_hash({"containers": template})


class JobController(PodController):
    """Runs pods until enough have succeeded, or too many have failed."""

    table = resource("jobs.batch")

    def reconcile_one(self, obj: Object) -> None:
        spec, status = obj["spec"], obj.get("status") or {}
        if any(c["type"] in ("Complete", "Failed") for c in status.get("conditions") or []):
            return
        pods = self.pods_of(obj)
        phases = [pod.get("status", {}).get("phase") for pod in pods]
        done, failed = phases.count("Succeeded"), phases.count("Failed")
        active = sum(map(is_active, pods))
        wanted = spec.get("completions", 1)
        if done < wanted and failed <= spec.get("backoffLimit", 6) and not spec.get("suspend"):
            for _ in range(min(spec.get("parallelism", 1), wanted - done) - active):
                self.make_pod(obj)
                active += 1
        started = status.get("startTime") or clock.now()
        new: dict[str, object] = {"startTime": started, "active": active, "succeeded": done, "failed": failed}
        new |= {"ready": sum(map(is_ready, pods)), "terminating": 0}
        new |= self._conclusion(obj, done >= wanted, failed > spec.get("backoffLimit", 6))
        self.report(obj, **new)

    def _conclusion(self, obj: Object, complete: bool, failed: bool) -> dict[str, object]:
        if not (complete or failed):
            return {}
        kinds = ("SuccessCriteriaMet", "Complete") if complete else ("FailureTarget", "Failed")
        reason = "CompletionsReached" if complete else "BackoffLimitExceeded"
        message = (
            "Reached expected number of succeeded pods"
            if complete
            else "Job has reached the specified backoff limit"
        )
        now = clock.now()
        conditions = [
            {
                "type": k,
                "status": "True",
                "lastProbeTime": now,
                "lastTransitionTime": now,
                "reason": reason,
                "message": message,
            }
            for k in kinds
        ]
        kind, event = ("Normal", "Completed") if complete else ("Warning", "BackoffLimitExceeded")
        self.events.record(obj, kind, event, "Job completed" if complete else message, "job-controller")
        return {"conditions": conditions} | ({"completionTime": now} if complete else {})
