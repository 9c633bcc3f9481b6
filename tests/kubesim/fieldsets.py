"""Sets of fields, as `managedFields` records them, and the changes of ownership that writes make.

A field is a path such as `("f:spec", 'k:{"name":"web"}', "f:image")`; the set also holds the paths of list
items, sets' values and map entries themselves.
"""

import json
from collections.abc import Iterable
from typing import Any

from tests.kubesim.schema import ANY, Shape
from tests.kubesim.store import Object

Path = tuple[str, ...]
FieldSet = frozenset[Path]

_UNOWNED = frozenset(
    {
        ("f:apiVersion",), ("f:kind",), ("f:metadata",),
        *(("f:metadata", f"f:{name}") for name in (
            "name", "namespace", "uid", "resourceVersion", "creationTimestamp", "generation", "selfLink",
            "managedFields", "deletionTimestamp", "deletionGracePeriodSeconds", "generateName")),
    }
)  # fmt: skip


def fields_of(obj: Object, shape: Shape) -> FieldSet:
    """Return every field that `obj` sets, except those that nobody owns (name, uid, ...)."""
    found: set[Path] = set()
    _collect(obj, shape, (), found)
    return frozenset(p for p in found if p not in _UNOWNED and p[:2] != ("f:metadata", "f:managedFields"))


def _collect(value: Any, shape: Shape, path: Path, found: set[Path]) -> None:
    if shape.form == "list" and not shape.is_atomic and isinstance(value, list):
        for item in value:
            inner = (*path, element_of(item, shape))
            found.add(inner)
            if shape.keys:
                _collect(item, shape.item or ANY, inner, found)
    elif isinstance(value, dict) and value and not shape.is_atomic:
        if shape.form == "map" or (path and path[-1].startswith("k:")):
            found.add(path)
        for key, item in value.items():
            _collect(item, shape.child(key), (*path, f"f:{key}"), found)
    elif path:
        found.add(path)


def element_of(item: Any, shape: Shape) -> str:
    """Return an item's path element: by its keys, or by its value in a set."""
    if not shape.keys:
        return "v:" + json.dumps(item)
    defaults = {"protocol": "TCP"}
    keys = {k: item.get(k, defaults.get(k)) for k in shape.keys}
    return "k:" + json.dumps({k: v for k, v in keys.items() if v is not None}, separators=(",", ":"))


def lookup(obj: Any, path: Path, shape: Shape) -> Any:
    """Return a field's value, or None where the object does not have it."""
    for element in path:
        kind, _, text = element.partition(":")
        if kind == "f":
            obj = obj.get(text) if isinstance(obj, dict) else None
            shape = shape.child(text)
        else:
            items = obj if isinstance(obj, list) else []
            obj = next((item for item in items if element_of(item, shape) == element), None)
            shape = shape.item or ANY
    return obj


def encode(fields: Iterable[Path]) -> Object:
    """Return the `fieldsV1` tree of a set."""
    fields = set(fields)
    tree: Object = {}
    for path in sorted(fields):
        node = tree
        for element in path:
            node = node.setdefault(element, {})
    for path in fields:
        node = tree
        for element in path:
            node = node[element]
        if node and "." not in node:
            node["."] = {}
    return _sorted(tree)


def _sorted(tree: Object) -> Object:
    return {key: _sorted(tree[key]) for key in sorted(tree, key=lambda k: (k != ".", k))}


def decode(tree: Object, path: Path = ()) -> FieldSet:
    """Return the set that a `fieldsV1` tree stands for."""
    found: set[Path] = set()
    for element, inner in tree.items():
        if element == ".":
            found.add(path)
        elif not inner:
            found.add((*path, element))
        else:
            found |= decode(inner, (*path, element))
    return frozenset(found)


def changed(old: Object, new: Object, shape: Shape) -> tuple[FieldSet, FieldSet]:
    """Return the fields that `new` adds or changes, and those that it no longer has."""
    before, after = fields_of(old, shape), fields_of(new, shape)
    written = {p for p in after if p not in before or _leaf_differs(old, new, p, shape)}
    return frozenset(written), before - after


def _leaf_differs(old: Object, new: Object, path: Path, shape: Shape) -> bool:
    one, other = lookup(old, path, shape), lookup(new, path, shape)
    if isinstance(one, dict) and isinstance(other, dict) and not shape_at(shape, path).is_atomic:
        return False
    return bool(one != other)


def shape_at(shape: Shape, path: Path) -> Shape:
    """Return the type of a field."""
    for element in path:
        kind, _, text = element.partition(":")
        shape = shape.child(text) if kind == "f" else shape.item or ANY
    return shape
