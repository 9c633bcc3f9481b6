"""The whole path over real processes: one round of every figure, with users in Python and nothing else on the machine.

    python -m tests.bench.whole_path [--seconds N] [TEST...]

Prints what a round recorded as JSON. The figures have the names that the outside program of `--peers` gives them
(tests/bench/peers.py), so that one page shows either.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.bench.installation import Installation, installation, make_folder
from tests.bench.processes import BenchFailed, Worker, allow_open_files, worker
from tests.ports import free_port

Figures = dict[str, Any]
Round = dict[str, Figures]

SIDES: Final = ("public", "inner")

GETS: Final[Mapping[str, tuple[int, bool, str, int]]] = {
    "get1": (1, False, "", 0),
    "get16": (16, False, "", 0),
    "get64": (64, False, "", 0),
    "get4": (4, False, "", 0),
    "fresh8": (8, True, "", 0),
    "get4_beside_4bulk": (4, False, "bulk", 4),
    "get4_beside_10stalled": (4, False, "stalled", 10),
    "get4_beside_50follow": (4, False, "follow", 50),
    "get4_beside_10stopped": (4, False, "stopped", 10),
}
"""Clients, a connection for each request, and which streams run beside them."""

AT_REST: Final = 0.02
"""Cores that two processes take which have nothing to do."""
SETTLING: Final = 50

IDLE_WATCHES: Final = 1000
STALLED: Final = 100
NOTHING: Final = {"requests": 0.0, "connections": 0.0, "down": 0.0, "up": 0.0}
PACED: Final = {
    "requests": ({"requests": 100.0}, "us_per_request", 1e6),
    "connections": ({"requests": 10.0, "connections": 10.0}, "us_per_connection", 1e6),
    "down": ({"down": 20.0}, "s_per_gb_down", 1e3),
    "up": ({"up": 20.0}, "s_per_gb_up", 1e3),
}
"""By what is counted: a light load of it alone, and the unit of what one costs."""

MIXED: Final = {"requests": 400.0, "connections": 20.0, "down": 40.0, "up": 20.0}
MIXED_WATCHES: Final = 200
ROUND_TRIP_MILLISECONDS: Final = 100.0
BURST: Final = 100


@dataclass(frozen=True, slots=True)
class Bench:
    """A running tunnel and those who use it.

    Attributes:
        tunnel: what is measured.
        users: ask.
        others: hold streams meanwhile, in a process of their own.
        seconds: how long a figure of requests is measured.
        mib: how much is downloaded; half of it is uploaded.
    """

    tunnel: Installation
    users: Worker
    others: Worker
    seconds: float
    mib: int

    def cpu(self) -> list[float]:
        """Return the CPU seconds of both sides."""
        return [each.cpu_seconds() for each in self.tunnel.sides]

    def resident(self) -> list[float]:
        """Return the resident MiB of both sides."""
        return [each.resident_mib() for each in self.tunnel.sides]

    def settle(self) -> None:
        """Wait until both sides are at rest, for some seconds at most: streams that were just released end one by one."""
        for _ in range(SETTLING):
            before = sum(self.cpu())
            time.sleep(0.2)
            if sum(self.cpu()) - before < 0.2 * AT_REST:
                return


def _spent(before: Sequence[float], after: Sequence[float], unit: str, scale: float) -> Figures:
    return {f"{name}_{unit}": (b - a) * scale for name, a, b in zip(SIDES, before, after, strict=True)}


def _rest(bench: Bench) -> Figures:
    return dict(zip((f"{name}_rss" for name in SIDES), bench.resident(), strict=True))


def _get(bench: Bench, name: str) -> Figures:
    clients, fresh, kind, count = GETS[name]
    if kind:
        bench.others.ask(do="hold", kind=kind, count=count)
    before = bench.cpu()
    figures = bench.users.ask(do="get", clients=clients, seconds=bench.seconds, fresh=fresh)
    figures |= _spent(before, bench.cpu(), "us_per_request", 1e6 / max(figures["requests"], 1))
    if kind:
        figures["beside_mb_per_second"] = bench.others.ask(do="release")["mb_per_second"]
    return figures


def _transfer(bench: Bench, name: str) -> Figures:
    before = bench.cpu()
    figures = bench.users.ask(do=name, mib=bench.mib if name == "down" else bench.mib // 2)
    return figures | _spent(before, bench.cpu(), "cpu_s_per_gb", 1e9 / figures["bytes"])


def _held(bench: Bench, kind: str, count: int) -> Figures:
    before = bench.resident()
    figures = bench.others.ask(do="hold", kind=kind, count=count)
    bench.settle()  # what nobody reads still fills buffers
    figures |= _spent(before, bench.resident(), "kib_per_stream", 1024 / count)
    bench.others.ask(do="release")
    return figures


def _idle(bench: Bench, name: str) -> Figures:
    return _held(bench, "watch", IDLE_WATCHES)


def _stalled(bench: Bench, name: str) -> Figures:
    return _held(bench, "stalled", STALLED)


def _paced(bench: Bench, name: str) -> Figures:
    """Measure what things cost a process that is asleep when they come."""
    found: Figures = {}
    for what, (load, unit, scale) in PACED.items():
        before = bench.cpu()
        figures = bench.users.ask(do="mixed", seconds=bench.seconds, **NOTHING | load)
        each = scale / (figures[what] * figures["seconds"])
        found |= _spent(before, bench.cpu(), unit, each)
    return found


def _mixed(bench: Bench, name: str) -> Figures:
    """Measure what the cost model has to predict."""
    memory = bench.resident()
    bench.others.ask(do="hold", kind="watch", count=MIXED_WATCHES)
    grown = _spent(memory, bench.resident(), "mib_grown", 1.0)
    before = bench.cpu()
    figures = bench.users.ask(do="mixed", seconds=2 * bench.seconds, **MIXED)
    figures |= _spent(before, bench.cpu(), "cores", 1 / figures["seconds"])
    bench.others.ask(do="release")
    return figures | grown | {"watches": MIXED_WATCHES}


TESTS: Final[Mapping[str, Callable[[Bench, str], Figures]]] = {
    **dict.fromkeys(GETS, _get),
    "down": _transfer,
    "up": _transfer,
    "idle": _idle,
    "stalled": _stalled,
    "paced": _paced,
    "mixed": _mixed,
}
DISTANCE: Final = "distance"
AUDITED: Final = "audited"
OWN: Final = ("get4", "get4_beside_10stopped", "stalled", "paced", "mixed", AUDITED, DISTANCE)
"""What the outside program does not measure."""
ALL: Final = (*TESTS, AUDITED, DISTANCE)


def measure(folder: Path, tests: Sequence[str], seconds: float, mib: int) -> Round:
    """Return one round.

    Args:
        folder: as `make_folder` leaves it.
        tests: of ALL.
        seconds, mib: see `Bench`.

    Raises:
        BenchFailed: something did not work.
    """
    results: Round = {}
    near = [name for name in TESTS if name in tests]
    if near:
        with installation(folder) as tunnel, users_of(tunnel, seconds, mib) as bench:
            results["rest"] = _rest(bench)
            for name in near:
                bench.settle()
                results[name] = TESTS[name](bench, name)
                print(f"    {name}", file=sys.stderr, flush=True)
            results["end"] = _rest(bench) | {"alive": all(each.alive for each in tunnel.sides)}
    if AUDITED in tests:
        results[AUDITED] = _audited(folder, seconds, mib)
    if DISTANCE in tests:
        results[DISTANCE] = _distance(folder, seconds, mib)
    return results


@contextmanager
def users_of(tunnel: Installation, seconds: float, mib: int) -> Any:
    """Start the users of a tunnel until the block ends."""
    with (
        worker("load", tunnel.port, tunnel.folder) as users,
        worker("load", tunnel.port, tunnel.folder) as others,
    ):
        yield Bench(tunnel, users, others, seconds, mib)


def _audited(folder: Path, seconds: float, mib: int) -> Figures:
    """Measure requests with an audit log at both ends, which is off unless it is asked for."""
    flags = (("--audit", f"{name}-audit.log") for name in ("stub", "agent"))
    with (
        installation(folder, stub_flags=next(flags), agent_flags=next(flags)) as tunnel,
        users_of(tunnel, seconds, mib) as bench,
    ):
        return _get(bench, "get16")


def _distance(folder: Path, seconds: float, mib: int) -> Figures:
    """Measure through a relay between agent and stub that adds a round trip."""
    port = free_port()
    with worker("relay", port, ROUND_TRIP_MILLISECONDS) as relay:
        agent_port = int(relay.first_line())
        with (
            installation(folder, port, agent_port=agent_port) as tunnel,
            users_of(tunnel, seconds, mib) as bench,
        ):
            first, again = (bench.users.ask(do="burst", count=BURST) for _ in range(2))
            return {
                "up_mb_per_second": bench.users.ask(do="up", mib=mib // 4)["mb_per_second"],
                "burst_p99_ms": again["p99_ms"],
                "first_burst_p99_ms": first["p99_ms"],
                **_beside_an_upload(bench),
            }


def _beside_an_upload(bench: Bench) -> Figures:
    with worker("load", bench.tunnel.port, bench.tunnel.folder) as uploading:
        uploading.send(do="up", mib=bench.mib)
        beside = bench.users.ask(do="get", clients=4, seconds=bench.seconds)
        return {"get_beside_up_p50_ms": beside["p50_ms"], "get_beside_up_p99_ms": beside["p99_ms"]}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tests", nargs="*", metavar="TEST", help=f"some of {', '.join(ALL)}; default: all")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each figure of requests")
    parser.add_argument("--mib", type=int, default=1024, help="how much to download")
    options = parser.parse_args()
    if unknown := set(options.tests) - set(ALL):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    allow_open_files()
    try:
        with tempfile.TemporaryDirectory() as name:
            make_folder(Path(name))
            found = measure(Path(name), options.tests or ALL, options.seconds, options.mib)
    except BenchFailed as error:
        print(f"whole_path: {error}", file=sys.stderr)
        return 1
    print(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
