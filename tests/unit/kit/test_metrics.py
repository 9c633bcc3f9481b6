"""Metrics."""

import pytest

from tunnel.kit import metrics
from tunnel.kit.metrics import Metrics


def test_values_are_rendered_by_label() -> None:
    made = Metrics("stub")
    made.counters("requests", "Requests.", "cluster", "code").of("blue", "200").inc(2)
    made.gauges("sessions", "Sessions.").of().set(3)
    made.histograms("seconds", "Time.", "verb", buckets=(1.0,)).of("get").observe(0.5)
    text = made.render().decode()
    assert 'stub_requests_total{cluster="blue",code="200"} 2.0' in text
    assert "stub_sessions 3.0" in text
    assert 'stub_seconds_bucket{le="1.0",verb="get"} 1.0' in text


def test_the_same_labels_are_the_same_child() -> None:
    requests = Metrics("stub").counters("requests", "Requests.", "cluster")
    assert requests.of("blue") is requests.of("blue")


def test_labels_without_end_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "CHILDREN", 2)
    made = Metrics("stub")
    requests = made.counters("requests", "Requests.", "cluster")
    for cluster in ("a", "b", "c", "d", "a"):
        requests.of(cluster).inc()
    text = made.render().decode()
    assert 'stub_requests_total{cluster="a"} 2.0' in text
    assert 'stub_requests_total{cluster="other"} 2.0' in text
    assert 'cluster="d"' not in text


def test_two_registries_do_not_meet() -> None:
    for _ in range(2):
        Metrics("stub").counters("requests", "Requests.")
