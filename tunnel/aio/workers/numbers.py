"""The numbers of all workers as one page for Prometheus: each of them with the label `worker`, for sums to be made by who reads it.

prometheus_client has a multi-process mode of its own, which keeps a file per process in a folder, wants the folder cleaned before
each start, and knows nothing of numbers that are gathered when they are asked for, as these are.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

Content = list[list[Any]]
"""Metrics as they travel: name, documentation, type, and samples of name, labels and value."""


def content_of(metrics: Iterable[Metric]) -> Content:
    """Return what a worker tells of its numbers."""
    return [
        [
            metric.name,
            metric.documentation,
            metric.type,
            [[sample.name, sample.labels, sample.value] for sample in metric.samples],
        ]
        for metric in metrics
    ]


def merge(contents: Mapping[int, Content]) -> Iterator[Metric]:
    """Return the numbers of all workers, by their number, in the order in which the first worker has them."""
    merged: dict[str, Metric] = {}
    for worker, content in contents.items():
        for name, documentation, kind, samples in content:
            metric = merged.setdefault(name, Metric(name, documentation, kind))
            for sample, labels, value in samples:
                metric.add_sample(sample, {**labels, "worker": str(worker)}, value)
    yield from merged.values()


class Page(Collector):
    """What one answer shows.

    Args:
        own: the supervisor's numbers.
        contents: the workers', by their number.
    """

    def __init__(self, own: Iterable[Metric], contents: Mapping[int, Content]) -> None:
        self._own = list(own)
        self._contents = contents

    def collect(self) -> Iterator[Metric]:
        """Return all of them."""
        yield from self._own
        yield from merge(self._contents)

    def render(self) -> bytes:
        """Return everything in Prometheus' text format."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return generate_latest(registry)
