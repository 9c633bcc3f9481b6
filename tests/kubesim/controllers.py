"""The controllers: level-triggered, all in one loop; after every burst of changes each looks at what it owns."""

import asyncio
from collections.abc import Callable
from typing import Final

from tests.kubesim import deployments, services, workloads
from tests.kubesim.events import Events
from tests.kubesim.registry import CONTROLLER, Registry
from tests.kubesim.resources import RESOURCES, Resource, resource
from tests.kubesim.store import Change, Object, name_of, namespace_of

_WATCHED: Final = tuple(
    resource(name)
    for name in ("pods", "services", "nodes", "deployments.apps", "replicasets.apps", "daemonsets.apps",
                 "statefulsets.apps", "jobs.batch")
)  # fmt: skip
_NAMESPACES: Final = resource("namespaces")
_ORPHAN, _FOREGROUND = "orphan", "foregroundDeletion"


class Controllers:
    """Keeps workloads, endpoints and namespaces in the state that they ask for, and collects garbage."""

    def __init__(self, registry: Registry, events: Events, ca: str) -> None:
        self._registry = registry
        self._store = registry.store
        self._ca = ca
        self._reconcilers: tuple[Callable[[], None], ...] = (
            deployments.DeploymentController(registry, events).reconcile,
            workloads.ReplicaSetController(registry, events).reconcile,
            workloads.DaemonSetController(registry, events).reconcile,
            workloads.StatefulSetController(registry, events).reconcile,
            workloads.JobController(registry, events).reconcile,
            services.EndpointsController(registry).reconcile,
        )

    async def run(self) -> None:
        """Act on every change from now on; returns only by cancellation."""
        queue: asyncio.Queue[Change] = asyncio.Queue()
        stop = self._store.listen(queue.put_nowait)
        for namespace in self._store.list(_NAMESPACES):
            self._furnish(namespace)
        try:
            while True:
                changes = [await queue.get()]
                # One turn of the loop more, so that a burst is looked at once.
                await asyncio.sleep(0)
                while not queue.empty():
                    changes.append(queue.get_nowait())
                self._act(changes)
        finally:
            stop()

    def _act(self, changes: list[Change]) -> None:
        for change in changes:
            if change.resource is _NAMESPACES and change.kind == "ADDED":
                self._furnish(change.object)
            if change.kind == "DELETED":
                self._collect(change.object["metadata"]["uid"])
            elif change.object["metadata"].get("deletionTimestamp"):
                self._release(change.resource, change.object)
        if any(change.resource in _WATCHED for change in changes):
            for reconcile in self._reconcilers:
                reconcile()
        for namespace in self._store.list(_NAMESPACES):
            if namespace["metadata"].get("deletionTimestamp"):
                self._empty(name_of(namespace))

    def _furnish(self, namespace: Object) -> None:
        """Give a new namespace what every one has."""
        name = name_of(namespace)
        account, config = resource("serviceaccounts"), resource("configmaps")
        if self._store.peek(_NAMESPACES, "", name) is None or namespace["metadata"].get("deletionTimestamp"):
            return
        if self._store.peek(account, name, "default") is None:
            self._registry.create(account, name, {"metadata": {"name": "default"}}, CONTROLLER)
        if self._store.peek(config, name, "kube-root-ca.crt") is None:
            body = {"metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": self._ca}}
            self._registry.create(config, name, body, CONTROLLER)

    def _empty(self, name: str) -> None:
        """Delete what is in a terminating namespace, and the namespace once nothing is."""
        left = 0
        for res in RESOURCES:
            if not (res.stored and res.namespaced):
                continue
            for obj in self._store.list(res, name):
                gone = obj["metadata"].get("deletionTimestamp") is not None
                if not gone:
                    _, gone_now = self._registry.delete(res, name, name_of(obj))
                    left += not gone_now
                else:
                    left += 1
        if not left:

            def finalized(namespace: Object) -> Object:
                namespace["spec"]["finalizers"] = []
                return namespace

            self._registry.update(_NAMESPACES, "", name, finalized, CONTROLLER)

    def _dependents(self, uid: str) -> list[tuple[Resource, Object]]:
        return [
            (res, obj)
            for res in RESOURCES
            if res.stored
            for obj in self._store.list(res)
            if any(owner["uid"] == uid for owner in obj["metadata"].get("ownerReferences") or [])
        ]

    def _collect(self, uid: str) -> None:
        """Delete what an object that is gone owned."""
        for res, obj in self._dependents(uid):
            others = [o for o in obj["metadata"]["ownerReferences"] if o["uid"] != uid]
            if not others and not obj["metadata"].get("deletionTimestamp"):
                self._registry.delete(res, namespace_of(obj), name_of(obj))

    def _release(self, res: Resource, obj: Object) -> None:
        """Carry out the deletion policies that wait as finalizers: orphan the dependents, or delete them first."""
        finalizers = obj["metadata"].get("finalizers") or []
        if self._store.peek(res, namespace_of(obj), name_of(obj)) is None:
            return
        uid = obj["metadata"]["uid"]
        if _ORPHAN in finalizers:
            for dependent_res, dependent in self._dependents(uid):
                self._disown(dependent_res, dependent, uid)
            self._remove_finalizer(res, obj, _ORPHAN)
        elif _FOREGROUND in finalizers:
            self._collect(uid)
            if not self._dependents(uid):
                self._remove_finalizer(res, obj, _FOREGROUND)

    def _disown(self, res: Resource, obj: Object, uid: str) -> None:
        def change(current: Object) -> Object:
            owners = current["metadata"].get("ownerReferences") or []
            current["metadata"]["ownerReferences"] = [o for o in owners if o["uid"] != uid]
            return current

        self._registry.update(res, namespace_of(obj), name_of(obj), change, CONTROLLER)

    def _remove_finalizer(self, res: Resource, obj: Object, finalizer: str) -> None:
        def change(current: Object) -> Object:
            left = [f for f in current["metadata"].get("finalizers") or [] if f != finalizer]
            current["metadata"]["finalizers"] = left
            return current

        self._registry.update(res, namespace_of(obj), name_of(obj), change, CONTROLLER)
