"""JSON patch (RFC 6902), merge patch (RFC 7386) and the strategic merge patch of Kubernetes."""

import copy
from collections.abc import Callable
from typing import Any

from tests.kubesim import status
from tests.kubesim.schema import ANY, Shape


def merge_patch(target: Any, patch: Any) -> Any:
    """Return `target` with the merge patch applied: null removes, objects merge, all else replaces."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def json_patch(target: Any, operations: list[dict[str, Any]]) -> Any:
    """Return `target` with the operations applied, all or none.

    Raises:
        ApiError: 422 where a test fails or a path does not exist, 400 where an operation is malformed.
    """
    document = copy.deepcopy(target)
    for operation in operations:
        try:
            document = _operate(document, operation)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise _rejected() from error
    return document


def _rejected() -> status.ApiError:
    """Return the apiserver's answer to a JSON patch that does not apply; it keeps the reason to itself."""
    text = "the server rejected our request due to an error in our request"
    return status.ApiError(422, "Invalid", text, {})


def _operate(document: Any, operation: dict[str, Any]) -> Any:
    kind, path = operation["op"], _pointer(operation["path"])
    if kind == "test":
        if _lookup(document, path) != operation.get("value"):
            raise _rejected()
        return document
    if kind == "remove":
        return _change(document, path, _remove)
    if kind == "replace":
        _lookup(document, path)
        return _change(document, path, _set(operation["value"])) if path else operation["value"]
    value = (
        operation["value"] if kind == "add" else copy.deepcopy(_lookup(document, _pointer(operation["from"])))
    )
    if kind == "move":
        document = _change(document, _pointer(operation["from"]), _remove)
    elif kind not in ("add", "copy"):
        raise status.bad_request(f"unexpected kind: {kind}")
    return _change(document, path, _insert(value)) if path else value


def _pointer(text: str) -> list[str]:
    if text == "":
        return []
    if not text.startswith("/"):
        raise status.bad_request(f"{text!r} is not a JSON pointer")
    return [part.replace("~1", "/").replace("~0", "~") for part in text[1:].split("/")]


def _lookup(document: Any, path: list[str]) -> Any:
    for part in path:
        document = document[int(part)] if isinstance(document, list) else document[part]
    return document


def _change(document: Any, path: list[str], action: Callable[[Any, str], None]) -> Any:
    action(_lookup(document, path[:-1]), path[-1])
    return document


def _remove(parent: Any, last: str) -> None:
    del parent[int(last) if isinstance(parent, list) else last]


def _set(value: Any) -> Callable[[Any, str], None]:
    def action(parent: Any, last: str) -> None:
        parent[int(last) if isinstance(parent, list) else last] = value

    return action


def _insert(value: Any) -> Callable[[Any, str], None]:
    def action(parent: Any, last: str) -> None:
        if not isinstance(parent, list):
            parent[last] = value
        elif last == "-":
            parent.append(value)
        elif 0 <= int(last) <= len(parent):
            parent.insert(int(last), value)
        else:
            raise IndexError(last)

    return action


def strategic_merge(target: Any, patch: Any, shape: Shape) -> Any:
    """Return `target` with the strategic merge patch applied.

    Lists with a merge key are merged item by item, sets are united; `$patch`, `$retainKeys`,
    `$deleteFromPrimitiveList` and `$setElementOrder` are obeyed.

    Raises:
        ApiError: 400 where the patch's directives are malformed or an item lacks its merge key.
    """
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    directive = patch.get("$patch")
    if directive == "replace":
        return {k: v for k, v in patch.items() if k != "$patch"}
    if directive == "delete":
        return {}
    result = dict(target) if isinstance(target, dict) else {}
    retained = patch.get("$retainKeys")
    if retained is not None:
        result = {k: v for k, v in result.items() if k in retained}
    for key, value in patch.items():
        if not key.startswith("$"):
            _merge_field(result, key, value, shape.child(key), patch)
    for key, values in patch.items():
        if key.startswith("$deleteFromPrimitiveList/"):
            name = key.partition("/")[2]
            result[name] = [v for v in result.get(name, []) if v not in values]
    _reorder(result, patch, shape)
    return result


def _merge_field(result: dict[str, Any], key: str, value: Any, shape: Shape, patch: dict[str, Any]) -> None:
    if value is None:
        result.pop(key, None)
    elif isinstance(value, list):
        result[key] = _merge_list(result.get(key) or [], value, shape)
    else:
        result[key] = strategic_merge(result.get(key), value, shape)


def _merge_list(target: list[Any], patch: list[Any], shape: Shape) -> list[Any]:
    if shape.is_set:
        return target + [v for v in patch if v not in target]
    key = shape.patch_key
    if not key or any(isinstance(v, dict) and v == {"$patch": "replace"} for v in patch):
        return [copy.deepcopy(v) for v in patch if v != {"$patch": "replace"}]
    result = list(target)
    for item in patch:
        if not isinstance(item, dict) or key not in item:
            raise status.bad_request(f"map: {item} does not contain declared merge key: {key}")
        found = next((i for i, old in enumerate(result) if old.get(key) == item[key]), None)
        if item.get("$patch") == "delete":
            result = [old for old in result if old.get(key) != item[key]]
        elif found is None:
            result.append(strategic_merge({}, item, shape.item or ANY))
        else:
            result[found] = strategic_merge(result[found], item, shape.item or ANY)
    return result


def _reorder(result: dict[str, Any], patch: dict[str, Any], shape: Shape) -> None:
    """Put merged lists in the order that `$setElementOrder` names; what it does not name keeps its place behind."""
    for key, order in patch.items():
        if not key.startswith("$setElementOrder/"):
            continue
        name = key.partition("/")[2]
        merge_key = shape.child(name).patch_key
        ranks = [entry.get(merge_key) if isinstance(entry, dict) else entry for entry in order]
        items = result.get(name)
        if items:
            result[name] = sorted(items, key=lambda item: _rank(item, merge_key, ranks))


def _rank(item: Any, merge_key: str, ranks: list[Any]) -> int:
    value = item.get(merge_key) if isinstance(item, dict) else item
    return ranks.index(value) if value in ranks else len(ranks)
