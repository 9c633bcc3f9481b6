"""What the agent counts, for Prometheus: asked of its sessions when the numbers are read."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from agent.dialer import Agent
    from agent.dialling.roster import DialCounts
    from agent.facts.vitals import Vitals
    from agent.upstream.pool import UpstreamPool

PREFIX: Final = "cluster_tunnel_agent_"


class AgentMeasures(Collector):
    """The numbers of one agent.

    Args:
        agent: whose.
    """

    def __init__(self, agent: "Agent") -> None:
        self._agent = agent
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def render(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Look at the sessions as they are now."""
        roster = self._agent.roster
        sessions = self._agent.links
        yield _gauge("sessions", "Sessions with stubs.", len(roster.workers))
        yield _gauge(
            "stubs_missing", "Stubs that others have named and that have no session.", len(roster.missing)
        )
        yield _gauge("in_flight", "Requests and pipes under way.", sum(link.in_flight for link in sessions))
        yield _gauge(
            "channels_in_use",
            "Response channels that carry something.",
            sum(link.channels.in_use for link in sessions),
        )
        yield from _dials(roster.counts)
        yield from _upstream(self._agent.upstream, self._agent.vitals)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, text, value=value)


def _counter(name: str, text: str, label: str, values: Iterable[tuple[str, int]]) -> CounterMetricFamily:
    family = CounterMetricFamily(PREFIX + name, text, labels=[label])
    for value, count in values:
        family.add_metric([value], count)
    return family


def _dials(counts: "DialCounts") -> Iterator[Metric]:
    outcomes = [("filed", counts.filed), ("known", counts.known)]
    yield _counter(
        "sessions_dialled",
        "Sessions that a stub worker answered: filed where it had none, known and closed again where it had.",
        "outcome",
        outcomes,
    )
    yield _counter(
        "dial_failures",
        "Dials of a session that failed, by the step that did.",
        "step",
        sorted(counts.failed.items()),
    )
    yield CounterMetricFamily(
        PREFIX + "channels_misdirected",
        "Response channels that reached another stub than their session's.",
        value=counts.misdirected,
    )


def _upstream(upstream: "UpstreamPool", vitals: "Vitals") -> Iterator[Metric]:
    yield _gauge(
        "upstream_reachable",
        "1 where the apiserver answered the last time that it was asked or connected to, and is ready.",
        float(upstream.reachable),
    )
    yield _gauge(
        "upstream_connect_seconds",
        "How long the last connection to the apiserver took to make.",
        upstream.dial_milliseconds / 1000,
    )
    yield _gauge(
        "upstream_round_trip_seconds",
        "How long the apiserver took for its last answer to a probe.",
        vitals.milliseconds / 1000,
    )
