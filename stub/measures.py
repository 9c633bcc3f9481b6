"""What the stub counts, for Prometheus."""

from prometheus_client import Gauge

from stub.agents.registry import Registry
from stub.front.exchange import Exchange
from tunnel.kit.metrics import Metrics


class StubMeasures:
    """A ledger that counts.

    Args:
        registry: how many agents there are is asked of it, when the numbers are read.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._metrics = Metrics("cluster_tunnel_stub")
        declare = self._metrics
        self._requests = declare.counters(
            "requests", "Requests answered, by cluster and status.", "cluster", "code"
        )
        self._sent = declare.counters("sent_bytes", "Bytes sent to users, by cluster.", "cluster")
        self._received = declare.counters("received_bytes", "Bytes received from users.", "cluster")
        self._seconds = declare.histograms(
            "request_seconds",
            "From a request's head to the end of its answer, by cluster; watches and pipes are long.",
            "cluster",
            buckets=(0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0, 600.0),
        )
        self._agents = declare.gauges("agents", "Agents connected, by cluster.", "cluster")
        self._handshakes = declare.counters("failed_handshakes", "TLS handshakes that failed.").of()

    def exchange_completed(self, exchange: Exchange, reason: str) -> None:
        """Count an exchange that is over."""
        cluster = exchange.admitted.cluster if exchange.admitted and exchange.link else ""
        self._requests.of(cluster, str(exchange.status)).inc()
        self._sent.of(cluster).inc(exchange.sent_bytes)
        self._received.of(cluster).inc(exchange.received_bytes)
        self._seconds.of(cluster).observe(exchange.seconds())

    def handshake_failed(self) -> None:
        """Count a TLS handshake that failed."""
        self._handshakes.inc()

    def render(self) -> bytes:
        """Return everything in Prometheus' text format."""
        for cluster, entry in self._registry.clusters.items():
            gauge: Gauge = self._agents.of(cluster)
            gauge.set(len(entry.agents))
        return self._metrics.render()
