"""What several rounds say of a figure."""

import pytest

from tests.bench.figures import FIGURES, Figure, Spread, best_peer, failures, number, spread

SPEED = Figure("get16", "per_second", "requests/s", "more")
DELAY = Figure("get16", "p99_ms", "p99", "less")


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.456, "0.46"), (9.99, "9.99"), (12.34, "12.3"), (123.4, "123"), (12345.6, "12 346")],
)
def test_numbers_have_three_digits_that_mean_something(value: float, shown: str) -> None:
    assert number(value) == shown


def test_rounds_become_a_median_with_its_range() -> None:
    found = spread([{"get16": {"per_second": value}} for value in (30, 10, 20)], SPEED)
    assert found == Spread(20, 10, 30, 3)
    assert str(found) == "20.0 (10.0\N{EN DASH}30.0)"


def test_a_round_without_the_figure_does_not_count() -> None:
    rounds = [
        {"get16": {"per_second": 10}},
        {"get16": {"error": "late"}},
        {},
        {"get16": {"per_second": True}},
    ]
    found = spread(rounds, SPEED)
    assert found is not None
    assert (found.median, found.rounds, str(found)) == (10, 1, "10.0")
    assert spread(rounds, DELAY) is None


def test_the_best_peer_is_chosen_by_what_is_better_and_a_yardstick_is_no_peer() -> None:
    systems = {
        name: [{"get16": {"per_second": speed, "p99_ms": delay}}]
        for name, speed, delay in (
            ("cluster-tunnel", 9, 1),
            ("frp", 5, 7),
            ("chisel", 4, 6),
            ("direct", 99, 0.1),
        )
    }
    assert best_peer(systems, SPEED) == ("frp", 5)
    assert best_peer(systems, DELAY) == ("chisel", 6)
    assert best_peer({"cluster-tunnel": systems["frp"]}, SPEED) is None


def test_what_went_wrong_is_told_once_for_each_test() -> None:
    bad = {
        "get16": {"failures": 3, "first_failure": "status 502"},
        "get64": {"failures": 0},
        "up": {"error": "time-out"},
        "idle": {"failed_streams": 2},
        "end": {"alive": False},
    }
    assert failures([bad, bad]) == [
        "get16: 3 failed: status 502",
        "up: time-out",
        "idle: 2 failed",
        "end: a process of it had ended",
    ]


def test_every_figure_has_a_title_of_its_own() -> None:
    assert len({figure.title for figure in FIGURES}) == len(FIGURES)
