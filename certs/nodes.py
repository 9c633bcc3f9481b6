"""A kubeconfig as YAML nodes, to change some entries and leave the others spelt as they are.

Python values would not do: `"007"`, `1e3`, `0o17` and `on` mean different things to different parsers, and what was read by
one rule would be written by another.
"""

import re
from typing import Any, Final

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from certs.errors import CertificateProblem
from certs.sections import yaml_reason

_TAG: Final = "tag:yaml.org,2002:"
_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9@._:/+=-]{2,}\Z")
_NOT_PLAIN: Final = frozenset({"yes", "off", "true", "false", "null"})
"""Words that some parser takes for something else than a text; shorter ones are quoted for their length."""


def parse_kubeconfig(content: bytes, name: str) -> MappingNode | None:
    """Return the root of a kubeconfig, or None where the file is empty.

    Raises:
        CertificateProblem: it is something else; the text begins with `name`.
    """
    try:
        root = yaml.compose(content, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        raise CertificateProblem(f"{name}: is not YAML and stays as it is: {yaml_reason(error)}") from None
    if root is None:
        return None
    kind = get(root, "kind") if isinstance(root, MappingNode) else None
    if not isinstance(root, MappingNode) or (kind is not None and kind.value != "Config"):
        raise CertificateProblem(f"{name}: is not a kubeconfig and stays as it is")
    return root


def serialize(root: MappingNode) -> str:
    """Return the text of a document; the width keeps long values in one line."""
    text: str = yaml.serialize(root, Dumper=yaml.SafeDumper, allow_unicode=True, width=2**20)
    return text


def get(node: MappingNode, key: str) -> Node | None:
    """Return the value under a key."""
    return next((value for name, value in node.value if name.value == key), None)


def put(node: MappingNode, key: str, value: Node) -> None:
    """Set the value under a key, in its old place where it had one."""
    for index, (name, _) in enumerate(node.value):
        if name.value == key:
            node.value[index] = (name, value)
            return
    node.value.append((scalar(key), value))


def entries(root: MappingNode, key: str, name: str) -> list[MappingNode]:
    """Return the named entries under a key, none where it is absent.

    Raises:
        CertificateProblem: it is no list of mappings; the text begins with `name`.
    """
    node = get(root, key)
    if node is None or (isinstance(node, ScalarNode) and node.tag == f"{_TAG}null"):
        return []
    if not isinstance(node, SequenceNode) or not all(isinstance(item, MappingNode) for item in node.value):
        raise CertificateProblem(
            f"{name}: is not a kubeconfig and stays as it is: {key} is no list of mappings"
        )
    items: list[MappingNode] = node.value
    return items


def find(items: list[MappingNode], wanted: str) -> MappingNode | None:
    """Return the entry whose name is `wanted`, or None."""
    return next((item for item in items if name_of(item) == wanted), None)


def name_of(item: MappingNode) -> str:
    """Return an entry's name, empty where it has none."""
    name = get(item, "name")
    return str(name.value) if isinstance(name, ScalarNode) else ""


def put_entry(root: MappingNode, key: str, entry: str, value: MappingNode, name: str) -> None:
    """Set what the entry called `entry` of the list `key` (`clusters`) holds under its own word (`cluster`)."""
    inner = key.removesuffix("s")
    items = entries(root, key, name)
    item = find(items, entry)
    pair = {inner: value, "name": entry}  # in kubectl's order, which is the alphabet's
    if item is not None:
        put(item, inner, value)
    elif items:
        items.append(mapping(dict(sorted(pair.items()))))
    else:
        put(root, key, _node([dict(sorted(pair.items()))]))


def mapping(values: dict[str, Any]) -> MappingNode:
    """Return a mapping whose values are texts, booleans, nodes, mappings or lists."""
    pairs = [(scalar(key), _node(item)) for key, item in values.items()]
    return MappingNode(f"{_TAG}map", pairs, flow_style=False)


def scalar(text: str) -> ScalarNode:
    """Return a text, quoted wherever any parser could take it for something else."""
    plain = _PLAIN.match(text) and text.lower() not in _NOT_PLAIN
    return ScalarNode(f"{_TAG}str", text, style=None if plain else '"')


def _node(value: Any) -> Node:
    if isinstance(value, bool):
        return ScalarNode(f"{_TAG}bool", str(value).lower())
    if isinstance(value, dict):
        return mapping(value)
    if isinstance(value, list):
        return SequenceNode(f"{_TAG}seq", [_node(item) for item in value], flow_style=False)
    return value if isinstance(value, Node) else scalar(value)
