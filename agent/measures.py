"""What the agent counts, for Prometheus: asked of its sessions when the numbers are read."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from agent.dialer import Agent

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
        sessions = [link for link in self._agent.links if link.stub is not None]
        upstream = self._agent.upstream
        yield GaugeMetricFamily(PREFIX + "sessions", "Sessions with stubs.", value=len(sessions))
        yield GaugeMetricFamily(
            PREFIX + "in_flight",
            "Requests and pipes under way.",
            value=sum(link.in_flight for link in sessions),
        )
        yield GaugeMetricFamily(
            PREFIX + "channels_in_use",
            "Response channels that carry something.",
            value=sum(link.channels.in_use for link in sessions),
        )
        yield GaugeMetricFamily(
            PREFIX + "upstream_reachable",
            "1 where the apiserver could be connected to the last time it was tried.",
            value=float(upstream.reachable),
        )
        yield GaugeMetricFamily(
            PREFIX + "upstream_connect_seconds",
            "How long the last connection to the apiserver took to make.",
            value=upstream.dial_milliseconds / 1000,
        )
