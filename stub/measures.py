"""What the stub counts, for Prometheus.

Requests are tallied in plain numbers and turned into metrics when somebody asks: three counters and a histogram of
prometheus_client cost 10 µs a request, which is a tenth of what a request costs the stub.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from stub.agents.registry import Registry
from stub.front.exchange import Exchange
from stub.leadership import Contender, Leadership
from stub.recording.recorder import Recorder
from stub.recording.recording import RecordingTally
from stub.slots import SlotBoard
from tunnel.aio.admittance import TurnedAway
from tunnel.aio.listen import Listener

PREFIX: Final = "cluster_tunnel_stub_"

SECONDS: Final = (0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0, 600.0)
"""Bounds of the buckets: a small GET takes milliseconds, a watch half an hour."""


class ClusterTally:
    """The numbers of one cluster. How many there are is bounded: only clusters with an agent get one."""

    __slots__ = ("codes", "received_bytes", "retried", "seconds", "sent_bytes", "spent")

    def __init__(self) -> None:
        self.codes: Counter[int] = Counter()
        self.sent_bytes = 0
        self.received_bytes = 0
        self.retried = 0
        self.spent = [0] * (len(SECONDS) + 1)
        self.seconds = 0.0


class StubMeasures(Collector):
    """A ledger that counts.

    Args:
        registry: how many agents there are is asked of it, when the numbers are read.
    """

    def __init__(self, registry: Registry) -> None:
        self._agents = registry
        self.leadership: Leadership | None = None
        """Asked likewise of the lease; None where there is none."""
        self.has_parent = False
        """Whether another process takes part in the election, and tells of it."""
        self.slots: SlotBoard | None = None
        """Asked likewise which cluster each slot stands for."""
        self.recorder: Recorder | None = None
        """Asked likewise what became of recordings; None where nothing is recorded."""
        self._clusters: dict[str, ClusterTally] = {}
        self.listeners: list[Listener] = []
        """Asked likewise how many connections they turned away."""
        self._failed_handshakes = 0
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def exchange_completed(self, exchange: Exchange, reason: str) -> None:
        """Count an exchange that is over."""
        link = exchange.link
        # Requests that never had an agent are one line: their cluster's name is the client's invention.
        cluster = link.cluster if link is not None else ""
        tally = self._clusters.get(cluster)
        if tally is None:
            tally = self._clusters[cluster] = ClusterTally()
        seconds = exchange.seconds()
        tally.codes[exchange.status] += 1
        tally.sent_bytes += exchange.sent_bytes
        tally.received_bytes += exchange.received_bytes
        tally.seconds += seconds
        tally.spent[bisect_left(SECONDS, seconds)] += 1
        tally.retried += exchange.retried

    def handshake_failed(self) -> None:
        """Count a TLS handshake that failed."""
        self._failed_handshakes += 1

    def render(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Turn the tallies into metrics."""
        yield from self._request_metrics()
        agents = GaugeMetricFamily(PREFIX + "agents", "Agents connected, by cluster.", labels=["cluster"])
        for cluster, entry in self._agents.clusters.items():
            agents.add_metric([cluster], len(entry.agents))
        yield agents
        yield CounterMetricFamily(
            PREFIX + "failed_handshakes", "TLS handshakes that failed.", value=self._failed_handshakes
        )
        yield self._turned_away()
        if not self.has_parent:
            yield from election_metrics(self.leadership)
        if self.slots is not None:
            yield from _slot_metrics(self.slots)
        if self.recorder is not None:
            yield from _recording_metrics(self.recorder.tally)

    def _turned_away(self) -> Metric:
        turned_away = CounterMetricFamily(
            PREFIX + "turned_away_connections",
            "Connections without a TLS handshake because there were too many; they are among those that failed.",
            labels=["reason"],
        )
        for reason in TurnedAway:
            count = sum(listener.turned_away[reason] for listener in self.listeners)
            turned_away.add_metric([reason.name.lower()], count)
        return turned_away

    def _request_metrics(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            PREFIX + "requests", "Requests answered, by cluster and status.", labels=["cluster", "code"]
        )
        sent = CounterMetricFamily(PREFIX + "sent_bytes", "Bytes sent to users.", labels=["cluster"])
        received = CounterMetricFamily(
            PREFIX + "received_bytes", "Bytes received from users.", labels=["cluster"]
        )
        retried = CounterMetricFamily(
            PREFIX + "retried_requests", "Requests asked of a second agent.", labels=["cluster"]
        )
        seconds = HistogramMetricFamily(
            PREFIX + "request_seconds",
            "From a request's head to the end of its answer; watches and pipes are long.",
            labels=["cluster"],
        )
        for cluster, tally in self._clusters.items():
            for code, count in tally.codes.items():
                requests.add_metric([cluster, str(code)], count)
            sent.add_metric([cluster], tally.sent_bytes)
            received.add_metric([cluster], tally.received_bytes)
            retried.add_metric([cluster], tally.retried)
            seconds.add_metric([cluster], _buckets(tally), sum_value=tally.seconds)
        yield from (requests, sent, received, retried, seconds)


def election_metrics(leadership: Contender | None) -> Iterator[Metric]:
    """Return what there is to say of a stub's part in the election.

    Args:
        leadership: None for a stub without a lease, which is always active.
    """
    active = leadership is None or leadership.active
    yield GaugeMetricFamily(PREFIX + "active", "Whether this stub is the active one.", value=active)
    if leadership is None:
        return
    elector = leadership.elector
    yield CounterMetricFamily(
        PREFIX + "takeovers", "How often this stub became the active one.", value=leadership.takeovers
    )
    yield CounterMetricFamily(
        PREFIX + "lease_losses",
        "How often this stub lost the lease, other than by handing it over.",
        value=leadership.losses,
    )
    yield GaugeMetricFamily(
        PREFIX + "lease_epoch",
        "How often the lease has changed hands, as this stub last saw it.",
        value=elector.record.transitions if elector.record else 0,
    )
    yield GaugeMetricFamily(
        PREFIX + "lease_store_failing",
        "Whether the store of the lease gives this stub no answer.",
        value=elector.failing_since is not None,
    )


def _slot_metrics(slots: SlotBoard) -> Iterator[Metric]:
    holders = GaugeMetricFamily(
        PREFIX + "slot_holder", "Which cluster a slot stands for.", labels=["slot", "cluster"]
    )
    switches = CounterMetricFamily(
        PREFIX + "slot_switches", "Moves of a slot to another cluster.", labels=["slot"]
    )
    for slot in slots:
        for cluster in slot.clusters:
            holders.add_metric([slot.name, cluster], cluster == slot.holder)
        switches.add_metric([slot.name], slot.switches)
    yield from (holders, switches)


def _recording_metrics(tally: RecordingTally) -> Iterator[Metric]:
    yield CounterMetricFamily(
        PREFIX + "recordings", "Execs and attaches that were recorded.", value=tally.started
    )
    yield CounterMetricFamily(
        PREFIX + "faulty_recordings",
        "Recordings that lack something, and those that were required and not to be had.",
        value=tally.faulty,
    )
    yield CounterMetricFamily(
        PREFIX + "unrecorded_bytes",
        "Not recorded because it came faster than it could be written.",
        value=tally.dropped_bytes,
    )


def _buckets(tally: ClusterTally) -> list[tuple[str, float]]:
    """Prometheus' buckets count everything up to their bound."""
    total, buckets = 0, []
    for bound, count in zip([*map(str, SECONDS), "+Inf"], tally.spent, strict=True):
        total += count
        buckets.append((bound, float(total)))
    return buckets
