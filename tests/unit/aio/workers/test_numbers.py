"""The numbers of all workers on one page."""

import json

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from tunnel.aio.workers.numbers import Content, Page, content_of


def told(*metrics: Metric) -> Content:
    """What arrives of them at the supervisor."""
    content: Content = json.loads(json.dumps(content_of(metrics)))
    return content


def requests(count: float) -> Metric:
    family = CounterMetricFamily("requests", "Requests answered.", labels=["cluster"])
    family.add_metric(["blue"], count)
    return family


def test_each_number_says_which_worker_counted_it_and_no_kind_gets_lost() -> None:
    page = Page([], {0: told(requests(3)), 1: told(requests(4))}).render().decode()
    assert page.splitlines() == [
        "# HELP requests_total Requests answered.",
        "# TYPE requests_total counter",
        'requests_total{cluster="blue",worker="0"} 3.0',
        'requests_total{cluster="blue",worker="1"} 4.0',
    ]


def test_a_histogram_stays_one() -> None:
    seconds = HistogramMetricFamily("seconds", "Time.", labels=["cluster"])
    seconds.add_metric(["blue"], [("0.1", 2.0), ("+Inf", 3.0)], sum_value=1.5)
    page = Page([], {1: told(seconds)}).render().decode()
    assert 'seconds_bucket{cluster="blue",le="+Inf",worker="1"} 3.0' in page
    assert 'seconds_sum{cluster="blue",worker="1"} 1.5' in page
    assert "# TYPE seconds histogram" in page


def test_the_supervisors_own_numbers_are_no_workers() -> None:
    page = (
        Page([GaugeMetricFamily("epoch", "Of the lease.", value=7)], {0: told(requests(1))}).render().decode()
    )
    assert "epoch 7.0" in page.splitlines()


def test_a_worker_that_knows_other_metrics_adds_them() -> None:
    contents = {0: told(requests(1)), 1: told(GaugeMetricFamily("agents", "Agents.", value=2))}
    page = Page([], contents).render().decode()
    assert 'requests_total{cluster="blue",worker="0"} 1.0' in page
    assert 'agents{worker="1"} 2.0' in page
