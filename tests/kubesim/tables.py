"""Server-side printing: the columns of `kubectl get`, with the real names, types and priorities.

A resource's columns are written as one line: `Name` in the words of the API, `*` behind what only `-o wide` shows,
`:type` where it is not a string.
"""

from collections.abc import Callable
from typing import Any, Final

from tests.kubesim import cells
from tests.kubesim.resources import Resource
from tests.kubesim.store import Object

_COLUMNS: Final = {
    "configmaps": "Name, Data, Age",
    "endpoints": "Name, Endpoints, Age",
    "events": "Last Seen, Type, Reason, Object, Subobject*, Source*, Message, First Seen*, Count*, Name*",
    "namespaces": "Name, Status, Age",
    "nodes": "Name, Status, Roles, Age, Version, Internal-IP*, External-IP*, OS-Image*, Kernel-Version*, "
    "Container-Runtime*",
    "pods": "Name, Ready, Status, Restarts, Age, IP*, Node*, Nominated Node*, Readiness Gates*",
    "secrets": "Name, Type, Data, Age",
    "serviceaccounts": "Name, Secrets, Age",
    "services": "Name, Type, Cluster-IP, External-IP, Port(s), Age, Selector*",
    "controllerrevisions": "Name, Controller, Revision, Age",
    "daemonsets": "Name, Desired:integer, Current:integer, Ready:integer, Up-to-date:integer, Available:integer, "
    "Node Selector, Age, Containers*, Images*, Selector*",
    "deployments": "Name, Ready, Up-to-date, Available, Age, Containers*, Images*, Selector*",
    "replicasets": "Name, Desired:integer, Current:integer, Ready:integer, Age, Containers*, Images*, Selector*",
    "statefulsets": "Name, Ready, Age, Containers*, Images*",
    "cronjobs": "Name, Schedule, Timezone, Suspend:boolean, Active:integer, Last Schedule, Age, Containers*, Images*, "
    "Selector*",
    "jobs": "Name, Status, Completions, Duration, Age, Containers*, Images*, Selector*",
    "leases": "Name, Holder, Age",
    "endpointslices": "Name, AddressType, Ports, Endpoints, Age",
    "networkpolicies": "Name, Pod-Selector, Age",
    "poddisruptionbudgets": "Name, Min Available, Max Unavailable, Allowed Disruptions:integer, Age",
    "clusterrolebindings": "Name, Role, Age, Users*, Groups*, ServiceAccounts*",
    "rolebindings": "Name, Role, Age, Users*, Groups*, ServiceAccounts*",
    "priorityclasses": "Name, Value:integer, Global-Default:boolean, Age, PreemptionPolicy",
    "storageclasses": "Name, Provisioner, ReclaimPolicy, VolumeBindingMode, AllowVolumeExpansion, Age",
}
_DEFAULT: Final = "Name, Created At:date"
_ROWS: Final[dict[str, Callable[[Object], list[Any]]]] = {
    name: getattr(cells, f"{name}_cells") for name in _COLUMNS
}


def columns(res: Resource) -> list[dict[str, Any]]:
    """Return the column definitions of a resource."""
    found = []
    for text in _COLUMNS.get(res.plural, _DEFAULT).split(", "):
        name, _, kind = text.partition(":")
        column = {
            "name": name.rstrip("*"),
            "type": kind or "string",
            "format": "name" if name == "Name" else "",
            "description": f"{name.rstrip('*')} of the object.",
            "priority": 1 if name.endswith("*") else 0,
        }
        found.append(column)
    return found


def row(res: Resource, obj: Object, include: str = "Metadata") -> dict[str, Any]:
    """Return an object's row; `include` is the query's includeObject (None, Metadata or Object)."""
    make = _ROWS.get(res.plural, cells.default_cells)
    entry: dict[str, Any] = {"cells": make(obj)}
    if include == "Object":
        entry["object"] = obj
    elif include != "None":
        entry["object"] = partial(obj)
    return entry


def partial(obj: Object) -> Object:
    """Return an object's PartialObjectMetadata."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": obj["metadata"],
    }


def table(
    res: Resource, objects: list[Object], meta: Object, include: str = "Metadata", headed: bool = True
) -> Object:
    """Return a Table; all but the first of a watch have no column definitions (`headed` false)."""
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": meta,
        "columnDefinitions": columns(res) if headed else None,
        "rows": [row(res, obj, include) for obj in objects],
    }
