"""Label and field selectors as they stand in a query, or in an object's `selector`."""

import re
from collections.abc import Callable
from typing import Any, Final

from tests.kubesim import status
from tests.kubesim.store import Object

Predicate = Callable[[Object], bool]
Labels = dict[str, str]

_REQUIREMENT: Final = re.compile(
    r"\s*(?:(?P<not>!)\s*(?P<absent>[\w./-]+)"
    r"|(?P<key>[\w./-]+)\s*(?:(?P<op>==|!=|=|>|<)\s*(?P<value>[\w.-]*)"
    r"|\s(?P<set>in|notin)\s*\((?P<values>[^)]*)\))?)\s*(?:,|$)"
)


def labels_of(obj: Object) -> Labels:
    return obj["metadata"].get("labels") or {}


def parse_labels(text: str) -> Callable[[Labels], bool]:
    """Return the test that a label selector such as `app=web,tier in (a,b),!old` stands for.

    Raises:
        ApiError: 400, it is not a selector.
    """
    tests: list[Callable[[Labels], bool]] = []
    position = 0
    while position < len(text):
        match = _REQUIREMENT.match(text, position)
        if match is None or match.end() == position:
            raise status.bad_request(f"unable to parse requirement: found {text[position:]!r}")
        tests.append(_label_test(match))
        position = match.end()
    return lambda labels: all(test(labels) for test in tests)


def _label_test(match: re.Match[str]) -> Callable[[Labels], bool]:
    if match["not"]:
        absent = match["absent"]
        return lambda labels: absent not in labels
    key, operator, value = match["key"], match["op"] or match["set"], match["value"]
    if operator is None:
        return lambda labels: key in labels
    if operator in ("in", "notin"):
        values = frozenset(part.strip() for part in match["values"].split(","))
        if operator == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    if operator in (">", "<"):
        sign = 1 if operator == ">" else -1
        return lambda labels: labels.get(key, "").isdigit() and (int(labels[key]) - int(value)) * sign > 0
    if operator == "!=":
        return lambda labels: labels.get(key) != value
    return lambda labels: labels.get(key) == value


def matches(selector: dict[str, Any] | None, labels: Labels) -> bool:
    """Return whether a LabelSelector object selects these labels; an empty one selects everything."""
    if selector is None:
        return False
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_expression(rule, labels) for rule in selector.get("matchExpressions") or [])


def _expression(rule: dict[str, Any], labels: Labels) -> bool:
    key, values = rule["key"], rule.get("values") or []
    return {
        "In": labels.get(key) in values,
        "NotIn": labels.get(key) not in values,
        "Exists": key in labels,
        "DoesNotExist": key not in labels,
    }[rule["operator"]]


_FIELDS: Final = {
    "pods": ("spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName",
             "spec.hostNetwork", "status.phase", "status.podIP", "status.nominatedNodeName"),
    "events": ("involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
               "involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath",
               "reason", "reportingComponent", "source", "type"),
    "secrets": ("type",),
    "namespaces": ("status.phase",),
    "nodes": ("spec.unschedulable",),
    "jobs": ("status.successful",),
    "replicasets": ("status.replicas",),
    "services": ("spec.clusterIP", "spec.type"),
}  # fmt: skip


def parse_fields(text: str, plural: str) -> Predicate:
    """Return the test that a field selector such as `metadata.name=web` stands for.

    Raises:
        ApiError: 400, it is not a selector or names a field the resource is not selected by.
    """
    tests: list[Predicate] = []
    for term in filter(None, text.split(",")):
        match = re.fullmatch(r"([^=!]+)(!=|==?)(.*)", term)
        if match is None:
            raise status.bad_request(f"invalid selector: '{text}'; can't understand '{term}'")
        path, operator, value = match.groups()
        if path not in ("metadata.name", "metadata.namespace", *_FIELDS.get(plural, ())):
            raise status.bad_request(f"field label not supported: {path}")
        tests.append(_field_test(path, value, operator != "!="))
    return lambda obj: all(test(obj) for test in tests)


def _field_test(path: str, value: str, equal: bool) -> Predicate:
    return lambda obj: (field_text(obj, path) == value) is equal


def field_text(obj: Object, path: str) -> str:
    """Return a field as a field selector compares it: "" where it is absent."""
    value: Any = obj
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return str(value.get("component", ""))
    return "" if value is None else str(value)


def both(labels: str, fields: str, plural: str) -> Predicate:
    """Return the test of both selectors together."""
    by_label, by_field = parse_labels(labels), parse_fields(fields, plural)
    return lambda obj: by_label(labels_of(obj)) and by_field(obj)
