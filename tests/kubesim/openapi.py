"""OpenAPI documents made from the schema: version 3 as JSON per group, version 2 as the protobuf kubectl asks for."""

import hashlib
import json
from functools import cache
from typing import Any, Final

from tests.kubesim import protobuf, schema
from tests.kubesim.resources import RESOURCES, Resource
from tests.kubesim.schema import Shape, Struct

Json = dict[str, Any]

_REF: Final = "#/components/schemas/"
_SCALARS: Final[dict[str, Json]] = {
    "string": {"type": "string"},
    "bytes": {"type": "string", "format": "byte"},
    "int": {"type": "integer", "format": "int32"},
    "int64": {"type": "integer", "format": "int64"},
    "number": {"type": "number", "format": "double"},
    "bool": {"type": "boolean"},
    "time": {"type": "string", "format": "date-time"},
    "microtime": {"type": "string", "format": "date-time"},
    "quantity": {"type": "string"},
    "intstr": {"type": "string", "format": "int-or-string"},
    "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
}
_WORDS: Final = {
    "apiVersion": "The version of the schema this object is written in.",
    "kind": "The resource this object stands for, in CamelCase.",
    "metadata": "Standard object's metadata.",
    "spec": "The desired state of the object.",
    "status": "The observed state of the object; read-only.",
    "containers": "The containers of the pod; there is at least one, and they cannot be added or removed later.",
    "replicas": "How many pods are wanted.",
    "selector": "Which pods belong to this object.",
    "template": "The pods that will be created.",
}


def index() -> Json:
    """Return `/openapi/v3`."""
    paths = {}
    for name in ("api/v1", *dict.fromkeys(f"apis/{r.api_version}" for r in RESOURCES if r.group)):
        digest = hashlib.sha256(_serialized(name)).hexdigest().upper()
        paths[name] = {"serverRelativeURL": f"/openapi/v3/{name}?hash={digest}"}
    return {"paths": paths}


def document(name: str) -> bytes | None:
    """Return `/openapi/v3/NAME` serialized, or None where there is no such document."""
    known = ("api/v1", *(f"apis/{r.api_version}" for r in RESOURCES if r.group))
    return _serialized(name) if name in known else None


@cache
def _serialized(name: str) -> bytes:
    api_version = name.removeprefix("apis/").removeprefix("api/")
    rows = [r for r in RESOURCES if r.api_version == api_version]
    used: dict[str, Json] = {}
    paths: Json = {}
    for res in rows:
        _add_kind(used, res)
        paths |= _paths(name, res)
    info = {"title": "Kubernetes", "version": "v1.34.4"}
    whole = {"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": used}}
    return json.dumps(whole, separators=(",", ":")).encode()


def _full_name(res: Resource) -> str:
    struct = schema.struct_of(res.group, res.version, res.kind)
    return struct.full_name if struct else f"io.k8s.api.{res.group.split('.')[0]}.{res.version}.{res.kind}"


def _add_kind(used: dict[str, Json], res: Resource) -> None:
    shape = schema.shape_of(res.group, res.version, res.kind)
    struct = schema.find(shape.struct, shape.package)
    entry = _struct(used, struct)
    gvk = {"group": res.group, "kind": res.kind, "version": res.version}
    full_name = _full_name(res)
    used[full_name] = entry | {"description": _title(res.kind), "x-kubernetes-group-version-kind": [gvk]}
    for listed in ("DeleteOptions", "Patch"):
        used.setdefault(
            f"{schema.META}.{listed}", {"type": "object", "description": f"{listed} of a request."}
        )
    if res.stored:
        items = {"type": "array", "items": {"$ref": _REF + full_name}}
        meta = {"$ref": _REF + f"{schema.META}.ListMeta"}
        _reference(used, schema.find("ListMeta", schema.META))
        texts = {"type": "string"}
        used[full_name + "List"] = {
            "type": "object",
            "description": f"{res.kind}List is a list of {res.kind}.",
            "required": ["items"],
            "properties": {"apiVersion": texts, "items": items, "kind": texts, "metadata": meta},
            "x-kubernetes-group-version-kind": [gvk | {"kind": res.kind + "List"}],
        }


def _title(kind: str) -> str:
    return f"{kind} as the simulated API stores it."


def _struct(used: dict[str, Json], struct: Struct) -> Json:
    properties = {name: _property(used, name, shape) for name, shape in struct.fields.items()}
    entry: Json = {"type": "object", "description": _title(struct.name), "properties": properties}
    if struct.required:
        entry["required"] = struct.required
    if struct.atomic:
        entry["x-kubernetes-map-type"] = "atomic"
    return entry


def _property(used: dict[str, Json], name: str, shape: Shape) -> Json:
    entry = _type(used, shape)
    if "$ref" in entry:
        # As the real documents do: a reference may not have siblings, so it stands in an allOf of one.
        entry = {"allOf": [entry], "default": {}}
    entry["description"] = _WORDS.get(name, f"{name} of the object.")
    return entry | _extensions(shape)


def _extensions(shape: Shape) -> Json:
    found: Json = {}
    if shape.form == "list":
        found["x-kubernetes-list-type"] = "map" if shape.keys else "set" if shape.is_set else "atomic"
        if shape.keys:
            found["x-kubernetes-list-map-keys"] = list(shape.keys)
        if shape.patch_key:
            found["x-kubernetes-patch-merge-key"] = shape.patch_key
    elif shape.form == "map" and shape.atomic:
        found["x-kubernetes-map-type"] = "atomic"
    strategies = ["merge"] if shape.patch_key or shape.is_set else []
    strategies += ["retainKeys"] if shape.retain else []
    if strategies:
        found["x-kubernetes-patch-strategy"] = ",".join(strategies)
    return found


def _type(used: dict[str, Json], shape: Shape) -> Json:
    if shape.form == "struct":
        return _reference(used, schema.find(shape.struct, shape.package))
    if shape.item is None:
        return dict(_SCALARS[shape.scalar])
    inner = _type(used, shape.item)
    if "$ref" in inner:
        inner = {"allOf": [inner], "default": {}}
    if shape.form == "list":
        return {"type": "array", "items": inner}
    return {"type": "object", "additionalProperties": inner}


def _reference(used: dict[str, Json], struct: Struct) -> Json:
    if struct.full_name not in used:
        used[struct.full_name] = {}  # a type may contain itself
        used[struct.full_name] = _struct(used, struct)
    return {"$ref": _REF + struct.full_name}


def _paths(name: str, res: Resource) -> Json:
    base = f"/{name}/namespaces/{{namespace}}/{res.plural}" if res.namespaced else f"/{name}/{res.plural}"
    gvk = {"group": res.group, "version": res.version, "kind": res.kind}

    def operation(action: str, *parameters: str) -> Json:
        fields = [
            {"name": p, "in": "query", "schema": {"type": "string", "uniqueItems": True}} for p in parameters
        ]
        return {
            "parameters": fields,
            "responses": {"200": {"description": "OK"}},
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": gvk,
        }

    write = ("dryRun", "fieldManager", "fieldValidation")
    found: Json = {base: {"post": operation("post", *write)}}
    if res.stored:
        found[base]["get"] = operation("list", "fieldSelector", "labelSelector", "limit", "watch")
        found[base + "/{name}"] = {
            "get": operation("get"),
            "put": operation("put", *write),
            "patch": operation("patch", *write, "force"),
            "delete": operation("delete", "dryRun", "gracePeriodSeconds", "propagationPolicy"),
        }
    return found


@cache
def version_two() -> bytes:
    """Return `/openapi/v2` in its protobuf form."""
    definitions: dict[str, Json] = {}
    paths: Json = {}
    for res in RESOURCES:
        _add_kind(definitions, res)
        paths |= _paths("api/v1" if not res.group else f"apis/{res.api_version}", res)
    return protobuf.openapi_v2("v1.34.4", definitions, paths)
