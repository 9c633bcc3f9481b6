"""Adds up what the nodes of a cluster have, and what of it is left."""

from collections import Counter
from typing import Any, Final

from agent.facts.pods import CPU, MEMORY, Amounts, amounts, holds_its_node, mapping, mappings, requests_of
from tunnel.core import limits
from tunnel.core.wire.control import Capacity

MOST_RESOURCES: Final = 16
"""What a report names at most: cpu, memory, and the extended resources that come first by name."""


class Tally:
    """See the module. Every node is added before the first pod."""

    def __init__(self) -> None:
        self._total: Counter[str] = Counter()
        self._free: dict[str, Amounts] = {}
        self.nodes = 0

    def add_node(self, node: dict[str, Any]) -> None:
        """Count what pods may have on a node. One that is cordoned or not ready adds to the total, and nothing to what is
        available."""
        has = amounts(mapping(node.get("status")).get("allocatable"))
        self.nodes += 1
        self._total.update(has)
        name = mapping(node.get("metadata")).get("name")
        if isinstance(name, str) and _takes_pods(node):
            self._free[name] = has

    def add_pod(self, pod: dict[str, Any]) -> None:
        """Take off what a pod has reserved."""
        free = self._free.get(holds_its_node(pod) or "")
        if free is not None:
            for name, amount in requests_of(pod).items():
                if name in free:
                    free[name] -= amount

    def capacities(self, *, pods_known: bool) -> tuple[Capacity, ...]:
        """Return the sums; where the pods could not be read, only the totals."""
        extended = sorted(
            name
            for name in self._total
            if name not in (CPU, MEMORY) and name.isprintable() and len(name) <= limits.TEXT_CHARACTERS
        )
        names = [*(name for name in (CPU, MEMORY) if name in self._total), *extended]
        return tuple(self._capacity(name, pods_known) for name in names[:MOST_RESOURCES])

    def _capacity(self, name: str, pods_known: bool) -> Capacity:
        total = max(self._total[name], 0)
        if not pods_known:
            return Capacity(name, total)
        free = [max(has.get(name, 0), 0) for has in self._free.values()]
        return Capacity(name, total, sum(free), max(free, default=0))


def _takes_pods(node: dict[str, Any]) -> bool:
    if mapping(node.get("spec")).get("unschedulable") is True:
        return False
    conditions = mappings(mapping(node.get("status")).get("conditions"))
    return any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)
