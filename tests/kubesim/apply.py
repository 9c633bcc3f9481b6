"""Field ownership: what `managedFields` says after a write, and server-side apply with its conflicts."""

import copy
import json
from dataclasses import dataclass
from typing import Any

from tests.kubesim import clock, fieldsets, status
from tests.kubesim.fieldsets import FieldSet, Path
from tests.kubesim.resources import Resource
from tests.kubesim.schema import ANY, Shape
from tests.kubesim.store import Object, name_of


@dataclass(frozen=True, slots=True)
class Manager:
    """Who writes: `fieldManager` of the query, or the first part of the User-Agent."""

    name: str
    operation: str = "Update"
    subresource: str = ""

    def key(self) -> tuple[str, str, str]:
        return self.name, self.operation, self.subresource


Owners = dict[tuple[str, str, str], FieldSet]


def _owners(obj: Object) -> Owners:
    entries = obj["metadata"].get("managedFields") or []
    return {
        (e.get("manager", ""), e["operation"], e.get("subresource", "")): fieldsets.decode(
            e.get("fieldsV1", {})
        )
        for e in entries
    }


def record_update(old: Object | None, new: Object, shape: Shape, manager: Manager, api_version: str) -> None:
    """Write into `new` who owns what after an update by `manager`: what it changed is its own now, what it removed
    nobody's."""
    if new["metadata"].get("managedFields") in ([], [{}]):
        new["metadata"].pop("managedFields")
        return
    # A writer may edit managedFields itself: kubectl moves what client-side apply owned over to server-side apply.
    owners = _owners(new if new["metadata"].get("managedFields") else old) if old else {}
    written, removed = fieldsets.changed(old or {"metadata": {}}, new, shape)
    for key, fields in owners.items():
        owners[key] = fields - removed if key == manager.key() else fields - removed - written
    if written:
        owners[manager.key()] = owners.get(manager.key(), frozenset()) | written
    _store_owners(old, new, owners, api_version)


def _store_owners(old: Object | None, new: Object, owners: Owners, api_version: str) -> None:
    before = {
        (e.get("manager", ""), e["operation"], e.get("subresource", "")): e
        for e in ((old or {}).get("metadata", {}).get("managedFields") or [])
    }
    entries = []
    for (name, operation, subresource), fields in owners.items():
        known = before.get((name, operation, subresource))
        if not fields:
            continue
        tree = fieldsets.encode(fields)
        time = known["time"] if known and known.get("fieldsV1") == tree else clock.now()
        entry = {"manager": name, "operation": operation, "apiVersion": api_version, "time": time,
                 "fieldsType": "FieldsV1", "fieldsV1": tree}  # fmt: skip
        entries.append(entry | ({"subresource": subresource} if subresource else {}))
    new["metadata"]["managedFields"] = sorted(entries, key=lambda e: (e["operation"], e["time"]))


def apply(
    live: Object | None, config: Object, shape: Shape, manager: Manager, *, resource: Resource, force: bool
) -> Object:
    """Return the object that server-side apply makes of `live` (None: there is none yet) and `config`.

    Raises:
        ApiError: 409 with one cause per field that another manager set to another value.
    """
    wanted = fieldsets.fields_of(config, shape)
    if live is None:
        created = copy.deepcopy(config)
        _store_owners(None, created, {manager.key(): wanted}, resource.api_version)
        return created
    owners = _owners(live)
    before = owners.pop(manager.key(), frozenset())
    clashes = _clashes(owners, wanted, live, config, shape)
    if clashes and not force:
        raise _conflict(clashes, resource, name_of(live))
    for other, path in clashes:
        owners[other] -= {path}
    merged: Object = merge(copy.deepcopy(live), config, shape)
    kept: FieldSet = frozenset().union(*owners.values(), wanted)
    # Whole items before what is in them: without its key an item could not be found.
    for path in sorted(before - kept, key=len):
        if not any(other[: len(path)] == path for other in kept) and not _is_key(path):
            _drop(merged, path, shape)
    owners[manager.key()] = wanted
    merged["metadata"].pop("managedFields", None)
    _store_owners(live, merged, owners, resource.api_version)
    return merged


def _clashes(
    owners: Owners, wanted: FieldSet, live: Object, config: Object, shape: Shape
) -> list[tuple[tuple[str, str, str], Path]]:
    found = []
    for other, fields in owners.items():
        for path in sorted(fields & wanted):
            mine, theirs = fieldsets.lookup(config, path, shape), fieldsets.lookup(live, path, shape)
            container = isinstance(mine, dict) and not fieldsets.shape_at(shape, path).is_atomic
            if mine != theirs and not container:
                found.append((other, path))
    return found


def _conflict(
    clashes: list[tuple[tuple[str, str, str], Path]], resource: Resource, name: str
) -> status.ApiError:
    causes, lines = [], []
    for (manager, operation, subresource), path in clashes:
        using = "" if operation == "Apply" else f" using {resource.api_version}"
        behind = f' with subresource "{subresource}"' if subresource else ""
        message = f'conflict with "{manager}"{behind}{using}'
        causes.append({"reason": "FieldManagerConflict", "message": message, "field": _readable(path)})
        lines.append(f"{message}: {_readable(path)}")
    plural = "conflict" if len(lines) == 1 else "conflicts"
    text = lines[0] if len(lines) == 1 else "conflicts with " + ", ".join(lines)
    message = f"Apply failed with {len(lines)} {plural}: {text}"
    return status.ApiError(409, "Conflict", message, {"causes": causes})


def _readable(path: Path) -> str:
    """Return a path as conflicts name it: `.spec.containers[name="web"].image`."""
    text = ""
    for element in path:
        kind, _, name = element.partition(":")
        if kind == "f":
            text += f".{name}"
        elif kind == "k":
            text += "[" + ",".join(f"{k}={json.dumps(v)}" for k, v in json.loads(name).items()) + "]"
        else:
            text += f"[={name}]"
    return text


def merge(live: Any, config: Any, shape: Shape) -> Any:
    """Return `live` with all that `config` says laid over it."""
    if shape.form == "list" and not shape.is_atomic and isinstance(config, list):
        return _merge_items(live if isinstance(live, list) else [], config, shape)
    if isinstance(config, dict) and not shape.is_atomic:
        result = dict(live) if isinstance(live, dict) else {}
        for key, value in config.items():
            result[key] = merge(result.get(key), value, shape.child(key))
        return result
    return copy.deepcopy(config)


def _merge_items(live: list[Any], config: list[Any], shape: Shape) -> list[Any]:
    result = list(live)
    places = {fieldsets.element_of(item, shape): i for i, item in enumerate(result)}
    for item in config:
        place = places.get(fieldsets.element_of(item, shape))
        if place is None:
            result.append(copy.deepcopy(item))
        elif shape.keys:
            result[place] = merge(result[place], item, shape.item or ANY)
    return result


def _is_key(path: Path) -> bool:
    """Return whether a field tells its list item apart; it stays as long as the item does."""
    if len(path) < 2 or not path[-2].startswith("k:"):
        return False
    return path[-1].removeprefix("f:") in json.loads(path[-2][2:])


def _drop(obj: Object, path: Path, shape: Shape) -> None:
    """Remove one field or list item; nothing happens where it is gone with what it was in."""
    parent = fieldsets.lookup(obj, path[:-1], shape) if len(path) > 1 else obj
    kind, _, name = path[-1].partition(":")
    if kind == "f" and isinstance(parent, dict):
        parent.pop(name, None)
    elif isinstance(parent, list):
        inner = fieldsets.shape_at(shape, path[:-1])
        parent[:] = [item for item in parent if fieldsets.element_of(item, inner) != path[-1]]
