"""As much of JSON Schema as the project's schemas use, and a complaint about any more."""

import re
from typing import Any

TYPES = {"object": dict, "array": list, "string": str, "boolean": bool}
NOTES = {"$schema", "$id", "$defs", "title", "description", "default", "examples"}
KNOWN = {
    "type",
    "enum",
    "pattern",
    "items",
    "minItems",
    "maxItems",
    "properties",
    "additionalProperties",
    "required",
    "anyOf",
    "$ref",
    "propertyNames",
}


def problems(schema: dict[str, Any], value: Any, root: dict[str, Any] | None = None) -> list[str]:
    """What of `value` the schema forbids."""
    root = root or schema
    assert set(schema) <= KNOWN | NOTES, set(schema) - KNOWN - NOTES
    if "$ref" in schema:
        return problems(root["$defs"][schema["$ref"].removeprefix("#/$defs/")], value, root)
    if "type" in schema and not isinstance(value, TYPES[schema["type"]]):
        return [f"{value!r} is no {schema['type']}"]
    choices = schema.get("anyOf")
    fits = choices is None or any(not problems(each, value, root) for each in choices)
    found = [] if fits else ["none of anyOf"]
    match value:
        case dict():
            return found + _object(schema, value, root)
        case list():
            return found + _array(schema, value, root)
        case str():
            return found + _string(schema, value)
    return found


def _string(schema: dict[str, Any], value: str) -> list[str]:
    # Python's `$` matches before a last line feed, JSON Schema's does not.
    pattern = schema.get("pattern", "").removesuffix("$") + r"\Z" if "pattern" in schema else ""
    fits = value in schema.get("enum", [value]) and re.search(pattern, value)
    return [] if fits else [f"{value!r} does not fit"]


def _array(schema: dict[str, Any], value: list[Any], root: dict[str, Any]) -> list[str]:
    short = len(value) < schema.get("minItems", 0) or len(value) > schema.get("maxItems", len(value))
    return (["too short or long"] if short else []) + [
        problem for each in value for problem in problems(schema.get("items", {}), each, root)
    ]


def _object(schema: dict[str, Any], value: dict[str, Any], root: dict[str, Any]) -> list[str]:
    found = [f"{key} is missing" for key in schema.get("required", []) if key not in value]
    known = schema.get("properties", {})
    rest = schema.get("additionalProperties", True)
    for key, each in value.items():
        if key in known:
            found += problems(known[key], each, root)
        elif rest is False:
            found.append(f"{key} is unknown")
        elif isinstance(rest, dict):
            found += problems(rest, each, root) + problems(schema.get("propertyNames", {}), key, root)
    return found
