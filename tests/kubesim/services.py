"""Endpoints and EndpointSlices: which ready pods stand behind a service."""

from typing import Any, Final

from tests.kubesim.registry import CONTROLLER, Registry
from tests.kubesim.resources import Resource, resource
from tests.kubesim.selectors import labels_of, matches
from tests.kubesim.store import Object, name_of, namespace_of
from tests.kubesim.workloads import is_active, is_ready, owner_reference

SERVICES: Final = resource("services")
_PODS: Final = resource("pods")
_ENDPOINTS: Final = resource("endpoints")
_SLICES: Final = resource("endpointslices.discovery.k8s.io")


class EndpointsController:
    """Keeps both lists of every service that has a selector."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._store = registry.store

    def reconcile(self) -> None:
        """Look at every service once."""
        for service in self._store.list(SERVICES):
            if service["spec"].get("selector") and not service["metadata"].get("deletionTimestamp"):
                self._reconcile_one(service)
        for endpoints in self._store.list(_ENDPOINTS):
            where = (namespace_of(endpoints), name_of(endpoints))
            if self._store.peek(SERVICES, *where) is None:
                self._registry.delete(_ENDPOINTS, *where)

    def _reconcile_one(self, service: Object) -> None:
        pods = [
            pod
            for pod in self._store.list(_PODS, namespace_of(service))
            if matches({"matchLabels": service["spec"]["selector"]}, labels_of(pod))
            and is_active(pod)
            and pod.get("status", {}).get("podIP")
        ]
        subset: dict[str, Any] = {"ports": _ports(service, pods, unnamed=False)}
        for field, wanted in (("addresses", True), ("notReadyAddresses", False)):
            addresses = [_address(pod) for pod in pods if is_ready(pod) is wanted]
            if addresses:
                subset[field] = addresses
        subsets = [subset] if pods else []
        self._put(_ENDPOINTS, service, name_of(service), {"subsets": subsets})
        self._put(_SLICES, service, f"{name_of(service)}-kubesim", _slice(service, pods))

    def _put(self, res: Resource, service: Object, name: str, body: Object) -> None:
        """Create the object, or bring it up to date."""
        namespace = namespace_of(service)
        current = self._store.peek(res, namespace, name)
        if current is None:
            labels = dict(labels_of(service))
            if res is _SLICES:
                labels |= {
                    "kubernetes.io/service-name": name_of(service),
                    "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                }
            meta: Object = {"name": name, "labels": labels}
            if res is _SLICES:
                meta["ownerReferences"] = [owner_reference(service)]
            self._registry.create(res, namespace, {"metadata": meta} | body, CONTROLLER)
        elif any(current.get(key) != value for key, value in body.items()):
            self._registry.update(res, namespace, name, lambda old: old | body, CONTROLLER)


def _ports(service: Object, pods: list[Object], *, unnamed: bool) -> list[Object]:
    """Return the ports; slices always have a name, be it empty, and kubectl crashes without."""
    found = []
    for port in service["spec"].get("ports") or []:
        number = target_port(port.get("targetPort", port["port"]), pods[0] if pods else None)
        entry: Object = {"port": number, "protocol": port.get("protocol", "TCP")}
        named = {"name": port.get("name", "")} if port.get("name") or unnamed else {}
        found.append(named | entry)
    return found


def target_port(target: int | str, pod: Object | None) -> int:
    """Return the number of a target port, which may be a name that the pod's containers declare."""
    if isinstance(target, int):
        return target
    if target.isdigit():
        return int(target)
    containers = pod["spec"]["containers"] if pod else []
    named = {p.get("name"): p["containerPort"] for c in containers for p in c.get("ports") or []}
    return int(named.get(target, 0))


def _reference(pod: Object) -> Object:
    meta = pod["metadata"]
    return {"kind": "Pod", "namespace": meta["namespace"], "name": meta["name"], "uid": meta["uid"]}


def _address(pod: Object) -> Object:
    return {"ip": pod["status"]["podIP"], "nodeName": pod["spec"]["nodeName"], "targetRef": _reference(pod)}


def _slice(service: Object, pods: list[Object]) -> Object:
    endpoints = []
    for pod in pods:
        ready = is_ready(pod)
        state = {"ready": ready, "serving": ready, "terminating": False}
        addresses = [pod["status"]["podIP"]]
        node = pod["spec"]["nodeName"]
        endpoints.append(
            {"addresses": addresses, "conditions": state, "nodeName": node, "targetRef": _reference(pod)}
        )
    return {"addressType": "IPv4", "endpoints": endpoints, "ports": _ports(service, pods, unnamed=True)}
