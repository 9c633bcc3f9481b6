"""Create, update, patch and delete as the apiserver does them: what every kind has in common."""

import copy
import re
import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from tests.kubesim import apply, clock, defaults, schema, status
from tests.kubesim.apply import Manager
from tests.kubesim.resources import Resource, resource
from tests.kubesim.schema import Shape
from tests.kubesim.store import Object, Store, name_of

_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z")
_RBAC_NAME: Final = re.compile(r"[^/%]+\Z")
_SUFFIX: Final = "bcdfghjklmnpqrstvwxz2456789"


def suffix(length: int = 5) -> str:
    """Return random letters as the apiserver appends them to a generateName."""
    return "".join(secrets.choice(_SUFFIX) for _ in range(length))


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """What a write's query says besides the object."""

    manager: Manager
    dry_run: bool = False
    subresource: str = ""


CONTROLLER: Final = WriteOptions(Manager("kube-controller-manager"))
KUBELET: Final = WriteOptions(Manager("kubelet", subresource="status"), subresource="status")


class Registry:
    """All writes go through here; the store itself knows no rule."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def shape(self, res: Resource) -> Shape:
        """Return the type of a resource's objects."""
        return schema.shape_of(res.group, res.version, res.kind)

    def create(self, res: Resource, namespace: str, body: Object, options: WriteOptions) -> Object:
        """Store a new object and return it.

        Raises:
            ApiError: 409 it exists, 404 its namespace does not, 422 it is invalid, 400 it contradicts the path.
        """
        obj = self._prepared(res, namespace, body)
        self._check_namespace(res, namespace)
        meta = obj["metadata"]
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = meta["generateName"] + suffix()
        _check_name(res, meta.get("name", ""))
        meta |= {"uid": str(uuid.uuid4()), "creationTimestamp": clock.now()}
        for field in ("resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"):
            meta.pop(field, None)
        if res.has_status:
            obj.pop("status", None)
        self._finish(res, None, obj, options)
        return self._dry(obj) if options.dry_run else self.store.create(res, obj)

    def _finish(self, res: Resource, old: Object | None, obj: Object, options: WriteOptions) -> None:
        """Default, validate, count the generation and record the owners."""
        shape = self.shape(res)
        defaults.fill(res.kind, obj)
        defaults.check(res.kind, res.group, obj, old)
        _generation(res, old, obj)
        if options.manager.operation != "Apply":
            apply.record_update(old, obj, shape, options.manager, res.api_version)
        if old is None:
            defaults.admit(res.kind, obj)
        _put_in_order(obj)

    def update(
        self,
        res: Resource,
        namespace: str,
        name: str,
        change: Callable[[Object], Object],
        options: WriteOptions,
    ) -> Object:
        """Replace an object by what `change` makes of a copy of it, and return the result.

        Where the result carries a resourceVersion it must be the stored one. A finalized, deleted object goes away.

        Raises:
            ApiError: 404, 409 stale, 422 invalid.
        """
        old = self.store.get(res, namespace, name)
        body = change(copy.deepcopy(old))
        meta = body.get("metadata") or {}
        version, uid = meta.get("resourceVersion"), meta.get("uid")
        if version not in (None, "", old["metadata"]["resourceVersion"]):
            raise status.stale(res.plural, res.group, name)
        if uid not in (None, "", old["metadata"]["uid"]):
            why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {old['metadata']['uid']}"
            raise status.conflict(res.plural, res.group, name, why)
        obj = _confined(res, old, self._prepared(res, namespace, body, name), options.subresource)
        self._finish(res, old, obj, options)
        if options.dry_run:
            return self._dry(obj)
        if obj["metadata"].get("deletionTimestamp") and self._may_go(res, obj):
            self.store.update(res, obj)
            return self.store.remove(res, namespace, name)
        return self.store.update(res, obj)

    def set_status(self, res: Resource, obj: Object, new_status: Object) -> Object:
        """Write an object's status, as a controller or the kubelet does; anything else stays as it is now."""
        return self.update(
            res, obj["metadata"].get("namespace", ""), name_of(obj),
            lambda current: current | {"status": new_status}, KUBELET,
        )  # fmt: skip

    def delete(
        self, res: Resource, namespace: str, name: str, *, grace: int | None = None, dry_run: bool = False
    ) -> tuple[Object, bool]:
        """Delete an object, or mark it where finalizers or a grace period keep it.

        Args:
            grace: seconds a pod may take to stop; None is the pod's own.

        Returns:
            the object, and whether it is gone.

        Raises:
            ApiError: 404.
        """
        old = self.store.get(res, namespace, name)
        if dry_run:
            return old, True
        seconds = self._grace(res, old, grace)
        kept = old["metadata"].get("finalizers") if res.kind == "Pod" else not self._may_go(res, old)
        if not seconds and not kept:
            if (
                res.kind == "Pod"
                and old["spec"].get("nodeName")
                and not old["metadata"].get("deletionTimestamp")
            ):
                self._mark(res, old, 0)
            return self.store.remove(res, namespace, name), True
        return self._mark(res, old, seconds, grace), False

    def _mark(self, res: Resource, old: Object, seconds: int, grace: int | None = None) -> Object:
        """Note on an object that it is being deleted."""
        obj = copy.deepcopy(old)
        meta = obj["metadata"]
        if not meta.get("deletionTimestamp") or (
            grace is not None and grace < meta.get("deletionGracePeriodSeconds", 0)
        ):
            meta |= {"deletionTimestamp": clock.now(), "deletionGracePeriodSeconds": seconds}
            if res.kind == "Namespace":
                obj["status"] = {"phase": "Terminating"}
            if res.has_status and "generation" in meta:
                meta["generation"] += 1
        return self.store.update(res, obj)

    def _grace(self, res: Resource, obj: Object, grace: int | None) -> int:
        if res.kind != "Pod":
            return 0
        if not obj["spec"].get("nodeName") or obj.get("status", {}).get("phase") in ("Succeeded", "Failed"):
            return 0
        if grace is None:
            return int(obj["spec"].get("terminationGracePeriodSeconds", 30))
        return grace

    def _may_go(self, res: Resource, obj: Object) -> bool:
        if obj["metadata"].get("finalizers"):
            return False
        if res.kind == "Namespace":
            return not obj["spec"].get("finalizers")
        if res.kind == "Pod" and obj["metadata"].get("deletionTimestamp"):
            return not obj["metadata"].get("deletionGracePeriodSeconds")
        return True

    def _prepared(self, res: Resource, namespace: str, body: Object, name: str = "") -> Object:
        obj: Object = schema.prune(body, self.shape(res))
        obj["apiVersion"], obj["kind"] = res.api_version, res.kind
        meta = obj.setdefault("metadata", {})
        if res.namespaced:
            if meta.get("namespace") not in (None, "", namespace):
                text = "the namespace of the provided object does not match the namespace sent on the request"
                raise status.bad_request(text)
            meta["namespace"] = namespace
        elif meta.get("namespace"):
            meta.pop("namespace")
        if name and meta.setdefault("name", name) != name:
            text = f"the name of the object ({meta['name']}) does not match the name on the URL ({name})"
            raise status.bad_request(text)
        return obj

    def _check_namespace(self, res: Resource, namespace: str) -> None:
        if not res.namespaced:
            return
        found = self.store.get(resource("namespaces"), "", namespace)
        if found["metadata"].get("deletionTimestamp"):
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            raise status.forbidden(res.plural, res.group, "", why)

    def _dry(self, obj: Object) -> Object:
        obj["metadata"].setdefault("resourceVersion", "")
        if not obj["metadata"]["resourceVersion"]:
            obj["metadata"].pop("resourceVersion")
        return obj


def _put_in_order(obj: Object) -> None:
    """Have `kind` and `apiVersion` first, as the apiserver writes them."""
    first = {key: obj[key] for key in ("kind", "apiVersion", "metadata", "spec") if key in obj}
    rest = {key: value for key, value in obj.items() if key not in first}
    obj.clear()
    obj.update(first | rest)


def _check_name(res: Resource, name: str) -> None:
    if not name:
        cause = ("metadata.name", "FieldValueRequired", "Required value: name or generateName is required")
        raise status.invalid(res.kind, res.group, "", [cause])
    pattern = _RBAC_NAME if res.group == "rbac.authorization.k8s.io" else _NAME
    if len(name) > 253 or not pattern.match(name):
        rule = (
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must"
            " start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is"
            r" '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
        )
        cause = ("metadata.name", "FieldValueInvalid", f'Invalid value: "{name}": {rule}')
        raise status.invalid(res.kind, res.group, name, [cause])


def _confined(res: Resource, old: Object, new: Object, subresource: str) -> Object:
    """Return `new` without what this endpoint may not change."""
    meta, before = new["metadata"], old["metadata"]
    for field in (
        "uid",
        "creationTimestamp",
        "generation",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ):
        meta.pop(field, None)
        if field in before:
            meta[field] = before[field]
    meta["resourceVersion"] = before["resourceVersion"]
    if subresource == "status":
        kept = {k: v for k, v in copy.deepcopy(old).items() if k != "status"}
        return kept | ({"status": new["status"]} if "status" in new else {})
    if subresource == "ephemeralcontainers":
        kept = copy.deepcopy(old)
        kept["spec"]["ephemeralContainers"] = new["spec"].get("ephemeralContainers", [])
        return kept
    if res.has_status:
        new.pop("status", None)
        if "status" in old:
            new["status"] = copy.deepcopy(old["status"])
    return new


_COUNTED: Final = frozenset(
    {"Pod", "Deployment", "ReplicaSet", "DaemonSet", "StatefulSet", "Job", "CronJob", "PodDisruptionBudget", "Ingress",
     "NetworkPolicy"}
)  # fmt: skip


def _generation(res: Resource, old: Object | None, obj: Object) -> None:
    if res.kind not in _COUNTED:
        return
    if old is None:
        obj["metadata"]["generation"] = 1
    elif _spec(obj) != _spec(old):
        obj["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1


def _spec(obj: Object) -> dict[str, Any]:
    return {k: v for k, v in obj.items() if k not in ("metadata", "status")}
