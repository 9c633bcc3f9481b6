"""Recordings that never were: rounds whose figures a test knows."""

from typing import Any

from tests.bench.figures import OURS
from tests.bench.recording import Recording

SIDES = ("public", "inner")


def both(key: str, value: float) -> dict[str, float]:
    """The same figure on both sides."""
    return {f"{side}_{key}": value for side in SIDES}


def a_round(requests: float = 1000.0) -> dict[str, dict[str, Any]]:
    """A round of a system, in which a busy GET takes 100 µs of each side and a GB 2 s."""
    return {
        "rest": both("rss", 50.0),
        "get1": {"p50_ms": 0.5, **both("us_per_request", 180.0)},
        "get16": {"per_second": requests, "p99_ms": 6.0, "failures": 0, **both("us_per_request", 120.0)},
        "get64": {"per_second": requests * 2, **both("us_per_request", 100.0)},
        "fresh8": {"per_second": 300.0, **both("us_per_request", 2100.0)},
        "down": {"mb_per_second": 400.0, **both("cpu_s_per_gb", 2.0)},
        "up": {"mb_per_second": 300.0, **both("cpu_s_per_gb", 3.0)},
        "idle": both("kib_per_stream", 64.0),
        "end": {"alive": True},
    }


def an_own_round() -> dict[str, dict[str, Any]]:
    """What ours alone is measured by: asleep, everything costs twice as much."""
    paced = both("us_per_request", 200.0) | both("us_per_connection", 4200.0)
    return {
        "stalled": both("kib_per_stream", 256.0),
        "paced": paced | both("s_per_gb_down", 4.0) | both("s_per_gb_up", 6.0),
    }


def a_recording(rounds: int = 1, **systems: list[dict[str, dict[str, Any]]]) -> Recording:
    """One of ours, beside other systems."""
    return Recording(
        recorded="2026-01-02T03:04:05Z",
        command="python -m tests.bench",
        commit="0123456789ab",
        load="nobody",
        machine={"processor": "abacus", "cores": "2"},
        versions={"CPython": "3.11.7"},
        configuration={"stub": "listen: 127.0.0.1:8443\n"},
        systems={OURS: [a_round() for _ in range(rounds)], **systems},
        own=[an_own_round() for _ in range(rounds)],
        callbacks={"callbacks of a GET": 75.0},
    )
