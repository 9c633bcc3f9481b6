"""How the cost of one changes when there are many: it should not.

    python -m tests.bench.growth                 small numbers, a few minutes
    python -m tests.bench.growth --full          1 000 clusters, 10 000 watches, 2 000 uploads, 1 GiB answers
    python -m tests.bench.growth clusters storm  only these
    python -m tests.bench.growth --record FILE | --from FILE     measure now and publish later

Publishes a table and plots in docs/benchmarks.md, and docs/benchmarks/growth.json. The limits on what one user and one address may
have open are off, since here one user has it all; what else is set is shown there.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.bench import facts
from tests.bench.growth_page import publish
from tests.bench.installation import (
    Installation,
    installation,
    make_folder,
    stub_process,
    user_context,
    wait_until_answered,
)
from tests.bench.processes import (
    ROOT,
    BenchFailed,
    Side,
    Worker,
    allow_open_files,
    fitting,
    worker,
)
from tests.ports import free_port

Point = dict[str, float]

UNLIMITED: Final = (
    *("--max-connections", 100_000, "--max-connections-per-address", 0, "--max-connections-per-user", 0),
    *("--max-requests-per-user", 0, "--max-requests-per-cluster", 0, "--max-channels-per-cluster", 0),
)
MANY_CHANNELS: Final = ("--channels-limit", 20_000, "--upstream-connections", 20_000)

NUMBERS: Final[Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]] = {
    "clusters": ((10, 100), (10, 100, 1000)),
    "watches": ((100, 1000), (1000, 10_000)),
    "uploads": ((20, 200), (20, 200, 2000)),
    "answers": ((16, 128), (16, 128, 1024)),
    "storm": ((10, 100), (10, 100, 1000)),
}
"""How many of each: by default, and with --full. Of answers the size in MiB."""

UPLOAD_KIB: Final = 512
PER_CLUSTER: Final = 6
"""Open files of a stub for an agent: its session, its channels, and one of them being dialled."""
CLIENTS: Final = 16


@dataclass(frozen=True, slots=True)
class Growth:
    """What the measurements have in common.

    Attributes:
        folder: as `make_folder` leaves it.
        seconds: how long requests and idling are measured.
        allowed: open files of one process.
    """

    folder: Path
    seconds: float
    allowed: int


# Clusters ----------------------------------------------------------------------------------------


@contextmanager
def crowded_stub(growth: Growth) -> Iterator[tuple[Side, int, Worker]]:
    """Run a stub and the process of its agents until the block ends."""
    port = free_port()
    with stub_process(growth.folder, port, *UNLIMITED) as stub, worker("crowd", growth.folder, port) as crowd:
        _wait_for_the_first(growth, stub, port, crowd)
        yield stub, port, crowd


def _wait_for_the_first(growth: Growth, stub: Side, port: int, crowd: Worker) -> None:
    crowd.ask(do="connect", count=1)
    wait_until_answered(port, user_context(growth.folder), [stub], "/clusters/c0/api")


def clusters(growth: Growth, count: int) -> Point:
    """Measure what a connected cluster costs the stub, and what a request costs among so many."""
    count = fitting(count, PER_CLUSTER, growth.allowed, "clusters")
    with crowded_stub(growth) as (stub, port, crowd):
        memory, cpu = stub.resident_mib(), stub.cpu_seconds()
        dialled = crowd.ask(do="connect", count=count - 1)
        dialling = stub.cpu_seconds() - cpu
        resting = _resting_cores(stub, growth.seconds)
        grown = stub.resident_mib() - memory
        with worker("load", port, growth.folder, count) as users:
            users.ask(do="ask", count=count)  # an agent's first request lets it dial one more channel
            _resting_cores(stub, growth.seconds)
            cpu = stub.cpu_seconds()
            asked = users.ask(do="get", clients=CLIENTS, seconds=growth.seconds)
            spent = stub.cpu_seconds() - cpu - resting * growth.seconds
    _require_served(asked)
    return {
        "count": count,
        "stub_kib": grown * 1024 / (count - 1),
        "stub_idle_us_per_second": resting * 1e6 / count,
        "stub_connect_ms": dialling * 1e3 / (count - 1),
        "connect_seconds": dialled["seconds"],
        "stub_us_per_request": spent * 1e6 / asked["requests"],
        "per_second": asked["per_second"],
    }


def _resting_cores(side: Side, seconds: float) -> float:
    seconds = max(seconds, 5.0)  # a PING and a report come every five seconds
    before = side.cpu_seconds()
    time.sleep(seconds)
    return (side.cpu_seconds() - before) / seconds


def _require_served(asked: Mapping[str, Any]) -> None:
    if asked["failures"] or not asked["requests"]:
        raise BenchFailed(
            f"{asked['failures']} requests failed: {asked['first_failure'] or 'none was answered'}"
        )


def storm(growth: Growth, count: int) -> Point:
    """Measure how long it takes until all agents serve again that were cut off in one moment."""
    count = fitting(count, PER_CLUSTER, growth.allowed, "clusters")
    with crowded_stub(growth) as (stub, port, crowd):
        crowd.ask(do="connect", count=count - 1)
        crowd.ask(do="cut")
        _resting_cores(stub, growth.seconds)
        cpu = stub.cpu_seconds()
        back = crowd.ask(do="dial")
        spent = stub.cpu_seconds() - cpu
        with worker("load", port, growth.folder, count) as users:
            users.ask(do="ask", count=count)
    return {
        "count": count,
        "seconds": back["seconds"],
        "p50_seconds": back["p50_seconds"],
        "milliseconds_each": back["seconds"] * 1e3 / count,
        "stub_connect_ms": spent * 1e3 / count,
    }


# Streams -----------------------------------------------------------------------------------------


@contextmanager
def whole(growth: Growth) -> Iterator[tuple[Installation, Worker]]:
    """Run a whole tunnel and its users until the block ends."""
    with (
        installation(growth.folder, stub_flags=UNLIMITED, agent_flags=MANY_CHANNELS) as tunnel,
        worker("load", tunnel.port, growth.folder) as users,
    ):
        yield tunnel, users


def _sides(tunnel: Installation, what: Callable[[Side], float]) -> list[float]:
    return [what(side) for side in tunnel.sides]


def _each(before: Sequence[float], after: Sequence[float], key: str, scale: float) -> Point:
    names = ("stub", "agent")
    return {f"{name}_{key}": (b - a) * scale for name, a, b in zip(names, before, after, strict=True)}


def watches(growth: Growth, count: int) -> Point:
    """Measure what a silent watch costs each side."""
    count = fitting(count, 2, growth.allowed, "watches")
    with whole(growth) as (tunnel, users):
        memory, cpu = _sides(tunnel, Side.resident_mib), _sides(tunnel, Side.cpu_seconds)
        opened = users.ask(do="hold", kind="watch", count=count)
        after = _sides(tunnel, Side.cpu_seconds)
        resting = [_resting_cores(side, growth.seconds) for side in tunnel.sides]
        grown = _each(memory, _sides(tunnel, Side.resident_mib), "kib", 1024 / count)
    return {
        "count": count,
        **grown,
        **_each(cpu, after, "open_ms", 1e3 / count),
        **_each([0.0, 0.0], resting, "idle_us_per_second", 1e6 / count),
        "open_seconds": opened["seconds"],
    }


def uploads(growth: Growth, count: int) -> Point:
    """Measure what an upload costs each side while so many are under way."""
    count = fitting(count, 3, growth.allowed, "uploads")
    with whole(growth) as (tunnel, users):
        memory = _sides(tunnel, Side.resident_mib)
        users.ask(do="begin_uploads", count=count, kib=UPLOAD_KIB)
        grown = _each(memory, _sides(tunnel, Side.resident_mib), "kib", 1024 / count)
        cpu = _sides(tunnel, Side.cpu_seconds)  # behind the handshakes
        finished = users.ask(do="finish_uploads")
        spent = _each(cpu, _sides(tunnel, Side.cpu_seconds), "s_per_gb", 1e9 / finished["bytes"])
    return {
        "count": count,
        **grown,
        **spent,
        "mb_per_second": finished["bytes"] / 1e6 / finished["seconds"],
    }


def answers(growth: Growth, mib: int) -> Point:
    """Measure what a large answer costs each side."""
    with whole(growth) as (tunnel, users):
        users.ask(do="down", mib=4)
        memory, cpu = _sides(tunnel, Side.resident_mib), _sides(tunnel, Side.cpu_seconds)
        moved = users.ask(do="down", mib=mib)
        spent = _each(cpu, _sides(tunnel, Side.cpu_seconds), "s_per_gb", 1e9 / moved["bytes"])
        grown = _each(memory, _sides(tunnel, Side.resident_mib), "mib_grown", 1.0)
    return {"count": mib, **spent, **grown, "mb_per_second": moved["mb_per_second"]}


MEASURES: Final[Mapping[str, Callable[[Growth, int], Point]]] = {
    "clusters": clusters,
    "watches": watches,
    "uploads": uploads,
    "answers": answers,
    "storm": storm,
}


# The command -------------------------------------------------------------------------------------


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.growth",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "what", nargs="*", metavar="WHAT", help=f"some of {', '.join(MEASURES)}; default: all"
    )
    parser.add_argument("--full", action="store_true", help="with large numbers; half an hour")
    parser.add_argument("--seconds", type=float, default=3.0, metavar="N", help="for requests and idling")
    parser.add_argument(
        "--record", type=Path, metavar="FILE", help="write what was measured there, and no page"
    )
    parser.add_argument(
        "--from", type=Path, dest="recorded", metavar="FILE", help="measure nothing: publish this"
    )
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", metavar="DIR", help="where the pages are")
    options = parser.parse_args(words)
    if unknown := set(options.what) - set(MEASURES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known are {', '.join(MEASURES)}")
    if options.recorded and (options.what or options.full or options.record):
        parser.error("--from measures nothing: it goes with --docs alone")
    return options


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Measure everything that was asked for, each number in fresh processes.

    Raises:
        BenchFailed: something did not work.
    """
    points: dict[str, list[Point]] = {}
    for name in options.what or MEASURES:
        for number in NUMBERS[name][options.full]:
            print(f"{name}: {number}", file=sys.stderr, flush=True)
            with tempfile.TemporaryDirectory() as folder:
                make_folder(Path(folder))
                growth = Growth(Path(folder), options.seconds, allow_open_files())
                points.setdefault(name, []).append(MEASURES[name](growth, number))
    return {
        "recorded": facts.now(),
        "commit": facts.commit(),
        "machine": facts.machine(),
        "versions": facts.versions(),
        "flags": {"stub": " ".join(map(str, UNLIMITED)), "agent": " ".join(map(str, MANY_CHANNELS))},
        "points": points,
    }


def main() -> int:
    options = arguments()
    try:
        recording = json.loads(options.recorded.read_text()) if options.recorded else measure(options)
        if options.record is not None:
            options.record.write_text(json.dumps(recording, indent=1) + "\n")
            written = [options.record]
        else:
            written = publish(recording, options.docs)
    except (BenchFailed, OSError, ValueError) as error:
        print(f"growth: {error}", file=sys.stderr)
        return 1
    for path in written:
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
