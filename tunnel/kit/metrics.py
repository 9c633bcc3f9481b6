"""Prometheus metrics with a fixed set of labels and a bound on their values.

A lookup by `.labels()` costs three times an increment, so children are kept; and a label whose values come from outside must
not grow a process without end, so that beyond a bound all further values are counted together.
"""

from typing import TYPE_CHECKING, Final, Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from collections.abc import Callable

CHILDREN: Final = 1000
"""Combinations of labels of one metric: some hundred clusters times a few codes. The rest is counted as `other`."""

M = TypeVar("M", Counter, Gauge, Histogram)


class Family(Generic[M]):
    """The metrics of one name, by the values of their labels.

    Args:
        metric: the metric as declared.
        labels: the names of its labels.
    """

    def __init__(self, metric: M, labels: tuple[str, ...]) -> None:
        self._make: Callable[..., M] = metric.labels
        self._other = ("other",) * len(labels)
        self._children: dict[tuple[str, ...], M] = {} if labels else {(): metric}

    def of(self, *values: str) -> M:
        """Return the metric for these label values, in the order the family was declared with."""
        child = self._children.get(values)
        return child if child is not None else self._add(values)

    def _add(self, values: tuple[str, ...]) -> M:
        if len(self._children) >= CHILDREN:
            return self._make(*self._other)
        child = self._children[values] = self._make(*values)
        return child


class Metrics:
    """The metrics of one process; each has its own registry, so that two in one test do not meet.

    Args:
        prefix: the first word of every name.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._registry = CollectorRegistry()

    def counters(self, name: str, help: str, *labels: str) -> Family[Counter]:
        """Declare `<prefix>_<name>_total`, which only grows."""
        return Family(Counter(f"{self._prefix}_{name}", help, labels, registry=self._registry), labels)

    def gauges(self, name: str, help: str, *labels: str) -> Family[Gauge]:
        """Declare `<prefix>_<name>`, which goes up and down."""
        return Family(Gauge(f"{self._prefix}_{name}", help, labels, registry=self._registry), labels)

    def histograms(self, name: str, help: str, *labels: str, buckets: tuple[float, ...]) -> Family[Histogram]:
        """Declare `<prefix>_<name>`, which sorts values into `buckets`, given by their upper bounds."""
        metric = Histogram(f"{self._prefix}_{name}", help, labels, registry=self._registry, buckets=buckets)
        return Family(metric, labels)

    def render(self) -> bytes:
        """Return all values in Prometheus' text format; takes about 0.1 ms per histogram."""
        return generate_latest(self._registry)
