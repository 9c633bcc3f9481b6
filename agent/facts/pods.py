"""What a pod asks for, as the scheduler counts it."""

from collections.abc import Iterator
from typing import Any, Final

from agent.facts.quantity import read_quantity

CPU: Final = "cpu"
MEMORY: Final = "memory"

MILLICORES: Final = 1000

Amounts = dict[str, int]
"""By resource: cpu in thousandths of a core, the rest in its own unit."""


def amounts(resources: object) -> Amounts:
    """Read a ResourceList; of what is neither cpu, memory nor extended (`vendor/thing`), and of what is no quantity, nothing."""
    found: Amounts = {}
    for name, text in mapping(resources).items():
        if name in (CPU, MEMORY) or "/" in name:
            try:
                found[name] = read_quantity(text, MILLICORES if name == CPU else 1)
            except ValueError:
                continue
    return found


def requests_of(pod: dict[str, Any]) -> Amounts:
    """Return what `pod` has reserved on its node: its containers together, or an init container that needs more, its overhead
    added (KEP-753 for init containers that stay, KEP-2837 for requests of the whole pod)."""
    spec = mapping(pod.get("spec"))
    running: Amounts = {}
    for container in mappings(spec.get("containers")):
        _add(running, _asked(container))
    staying: Amounts = {}
    starting: Amounts = {}
    for container in mappings(spec.get("initContainers")):
        asked = _asked(container)
        if container.get("restartPolicy") == "Always":
            _add(staying, asked)
            asked = staying
        else:
            asked = _sum(asked, staying)
        _raise_to(starting, asked)
    total = _sum(running, staying)
    _raise_to(total, starting)
    total.update(_asked(spec))
    return _sum(total, amounts(spec.get("overhead")))


def holds_its_node(pod: dict[str, Any]) -> str | None:
    """Return the node on which `pod` reserves something, or None."""
    if mapping(pod.get("status")).get("phase") in ("Succeeded", "Failed"):
        return None
    node = mapping(pod.get("spec")).get("nodeName")
    return node if isinstance(node, str) and node else None


def mapping(value: object) -> dict[str, Any]:
    """Return `value` if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def mappings(value: object) -> Iterator[dict[str, Any]]:
    """Return the JSON objects of a list."""
    return (item for item in value if isinstance(item, dict)) if isinstance(value, list) else iter(())


def _asked(of: dict[str, Any]) -> Amounts:
    return amounts(mapping(of.get("resources")).get("requests"))


def _add(to: Amounts, more: Amounts) -> None:
    for name, amount in more.items():
        to[name] = to.get(name, 0) + amount


def _sum(one: Amounts, other: Amounts) -> Amounts:
    found = dict(one)
    _add(found, other)
    return found


def _raise_to(found: Amounts, least: Amounts) -> None:
    for name, amount in least.items():
        found[name] = max(amount, found.get(name, 0))
