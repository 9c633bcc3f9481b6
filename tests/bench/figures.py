"""The figures of a benchmark: what each is called, which way is better, and what several rounds say of it."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

Round = Mapping[str, Mapping[str, Any]]
Systems = Mapping[str, Sequence[Round]]
Better = Literal["more", "less"]

OURS: Final = "cluster-tunnel"
YARDSTICKS: Final = ("bare", "direct")
"""No tunnels: the upstream itself, and one reverse proxy in front of it. They are shown and not counted among the peers."""

DASH: Final = "\N{EN DASH}"

NO_INNER_SIDE: Final = YARDSTICKS


@dataclass(frozen=True, slots=True)
class Figure:
    """One row.

    Attributes:
        test: under which a round has it.
        key: its name there.
        title: for people.
        better: which way.
    """

    test: str
    key: str
    title: str
    better: Better

    @property
    def inner(self) -> bool:
        """Whether it is of the cluster's side, which a yardstick does not have."""
        return self.key.startswith("inner_")


@dataclass(frozen=True, slots=True)
class Spread:
    """What the rounds say: the median, and between what it lies."""

    median: float
    least: float
    most: float
    rounds: int

    def __str__(self) -> str:
        middle = number(self.median)
        return middle if self.rounds < 2 else f"{middle} ({number(self.least)}{DASH}{number(self.most)})"


def number(value: float) -> str:
    """Return `value` with three digits that mean something."""
    if abs(value) >= 100:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


FIGURES: Final = (
    Figure("get16", "per_second", "GET, 16 clients, requests/s", "more"),
    Figure("get64", "per_second", "GET, 64 clients, requests/s", "more"),
    Figure("get1", "p50_ms", "GET, 1 client, p50, ms", "less"),
    Figure("get16", "p99_ms", "GET, 16 clients, p99, ms", "less"),
    Figure("get16", "public_us_per_request", "CPU a request, public side, µs", "less"),
    Figure("get16", "inner_us_per_request", "CPU a request, cluster side, µs", "less"),
    Figure("fresh8", "per_second", "a new connection for each request, 8 clients, requests/s", "more"),
    Figure("down", "mb_per_second", "download, MB/s", "more"),
    Figure("down", "public_cpu_s_per_gb", "CPU a GB down, public side, s", "less"),
    Figure("down", "inner_cpu_s_per_gb", "CPU a GB down, cluster side, s", "less"),
    Figure("up", "mb_per_second", "upload, MB/s", "more"),
    Figure("up", "public_cpu_s_per_gb", "CPU a GB up, public side, s", "less"),
    Figure("up", "inner_cpu_s_per_gb", "CPU a GB up, cluster side, s", "less"),
    Figure("get4_beside_4bulk", "p50_ms", "GET beside 4 downloads, p50, ms", "less"),
    Figure("get4_beside_4bulk", "p99_ms", "GET beside 4 downloads, p99, ms", "less"),
    Figure("get4_beside_4bulk", "beside_mb_per_second", "those 4 downloads, MB/s", "more"),
    Figure("get4_beside_10stalled", "per_second", "GET beside 10 stalled downloads, requests/s", "more"),
    Figure("get4_beside_10stalled", "p99_ms", "GET beside 10 stalled downloads, p99, ms", "less"),
    Figure("get4_beside_50follow", "p99_ms", "GET beside 50 `logs -f`, p99, ms", "less"),
    Figure("idle", "public_kib_per_stream", "memory of an idle watch, public side, KiB", "less"),
    Figure("idle", "inner_kib_per_stream", "memory of an idle watch, cluster side, KiB", "less"),
    Figure("rest", "public_rss", "memory at rest, public side, MiB", "less"),
    Figure("rest", "inner_rss", "memory at rest, cluster side, MiB", "less"),
)
"""What every system is measured by."""

OWN_FIGURES: Final = (
    Figure("get4", "p99_ms", "GET, 4 clients, p99, ms", "less"),
    Figure("get4_beside_10stopped", "p99_ms", "GET beside 10 `logs -f` that nobody reads, p99, ms", "less"),
    Figure("stalled", "public_kib_per_stream", "growth of a stalled download, public side, KiB", "less"),
    Figure("stalled", "inner_kib_per_stream", "growth of a stalled download, cluster side, KiB", "less"),
    Figure("audited", "public_us_per_request", "CPU a request with an audit log, public side, µs", "less"),
    Figure("audited", "inner_us_per_request", "CPU a request with an audit log, cluster side, µs", "less"),
    Figure("distance", "up_mb_per_second", "upload over 100 ms round trip, MB/s", "more"),
    Figure("distance", "get_beside_up_p50_ms", "GET beside that upload, p50, ms", "less"),
    Figure("distance", "get_beside_up_p99_ms", "GET beside that upload, p99, ms", "less"),
    Figure("distance", "burst_p99_ms", "burst of 100 GETs after idling, over 100 ms, p99, ms", "less"),
    Figure("distance", "first_burst_p99_ms", "the first such burst of an agent's life, p99, ms", "less"),
)
"""What cluster-tunnel alone is measured by, with users in Python."""


def spread(rounds: Sequence[Round], figure: Figure) -> Spread | None:
    """Return what `rounds` say, or None where no round has the figure."""
    found = [each.get(figure.test, {}).get(figure.key) for each in rounds]
    values = [value for value in found if isinstance(value, int | float) and not isinstance(value, bool)]
    if not values:
        return None
    return Spread(statistics.median(values), min(values), max(values), len(values))


def peers(systems: Systems) -> list[str]:
    """Return the names of the systems that do the same job as ours."""
    return [name for name in systems if name != OURS and name not in YARDSTICKS]


def best_peer(systems: Systems, figure: Figure) -> tuple[str, float] | None:
    """Return the peer whose median is best, and that; None where none has the figure."""
    found = {name: spread(systems[name], figure) for name in peers(systems)}
    medians = {name: each.median for name, each in found.items() if each is not None}
    if not medians:
        return None
    choose = max if figure.better == "more" else min
    name = choose(medians, key=lambda each: medians[each])
    return name, medians[name]


def failures(rounds: Sequence[Round]) -> list[str]:
    """Return what went wrong in the rounds of a system, each test once."""
    found: dict[str, str] = {}
    for each in rounds:
        for test, figures in each.items():
            if "error" in figures:
                found.setdefault(test, str(figures["error"]))
            elif figures.get("failures") or figures.get("failed_streams"):
                count = figures.get("failures") or figures.get("failed_streams")
                reason = figures.get("first_failure") or ""
                found.setdefault(test, f"{count} failed{f': {reason}' if reason else ''}")
            elif figures.get("alive") is False:
                found.setdefault(test, "a process of it had ended")
    return [f"{test}: {reason}" for test, reason in found.items()]
