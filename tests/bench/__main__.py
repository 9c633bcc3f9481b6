"""The benchmark: `make bench`. Measures, and publishes what it measured in docs/.

    python -m tests.bench                                          ours alone, by users in Python
    python -m tests.bench --peers PATH/bench.py --rounds 5         beside the peers that the outside program has built
    python -m tests.bench --record bench.json                      measure and write nothing but the file
    python -m tests.bench --from bench.json more.json              publish what was recorded before

Rounds are interleaved: each runs everything once, so that whatever else the machine does hits all alike. The page keeps what is
written by hand around the generated part; the recording becomes docs/benchmarks/baseline.json, from which docs/performance.md
takes what it says of costs (tests/bench/performance.py).
"""

import argparse
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tests.bench import core, facts, peers, performance, request_path, whole_path
from tests.bench.figures import OURS
from tests.bench.installation import configuration, make_folder
from tests.bench.processes import ROOT, BenchFailed, allow_open_files
from tests.bench.publish import publish
from tests.bench.recording import Recording, read_all

OWN_LOAD: Final = "Python (tests/bench/load.py)"
PEERS_LOAD: Final = "the outside program's own"


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--peers", type=Path, metavar="PROGRAM", help="measure beside the peers this has built"
    )
    parser.add_argument("--systems", nargs="+", default=[], metavar="NAME", help="with --peers: only these")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="default 3")
    parser.add_argument("--seconds", type=float, default=3.0, metavar="N", help="for each figure of requests")
    parser.add_argument("--mib", type=int, default=1024, metavar="N", help="how much our own users download")
    parser.add_argument(
        "--record", type=Path, metavar="FILE", help="write what was measured there, and no page"
    )
    parser.add_argument(
        "--from", type=Path, nargs="+", dest="recorded", metavar="FILE", help="measure nothing: publish these"
    )
    parser.add_argument(
        "--docs", type=Path, default=ROOT / "docs", metavar="DIR", help="where the pages are (default docs)"
    )
    options = parser.parse_args(words)
    if options.recorded and (options.peers or options.record or options.systems):
        parser.error("--from measures nothing: it goes with --docs alone")
    if options.systems and not options.peers:
        parser.error("--systems goes with --peers")
    if options.rounds < 1 or options.seconds <= 0 or options.mib < 8:
        parser.error("--rounds must be 1 at least, --seconds above 0, --mib 8 at least")
    return options


def command(words: Sequence[str]) -> str:
    """Return how the benchmark was called, without the folders of whoever did."""
    shown = [Path(word).name if Path(word).is_absolute() else word for word in words]
    return shlex.join(["python", "-m", "tests.bench", *shown])


def measure(options: argparse.Namespace) -> Recording:
    """Measure everything.

    Raises:
        BenchFailed: something did not work.
    """
    recording = Recording(
        recorded=facts.now(),
        command=command(sys.argv[1:]),
        commit=facts.commit(),
        machine=facts.machine(),
        versions=facts.versions(),
        configuration=configuration(),
        callbacks=_callbacks(),
    )
    with tempfile.TemporaryDirectory() as name:
        if options.peers is not None:
            _measure_beside_peers(recording, options, Path(name))
        else:
            _measure_alone(recording, options, Path(name))
    return recording


def _measure_alone(recording: Recording, options: argparse.Namespace, folder: Path) -> None:
    make_folder(folder)
    recording.load = OWN_LOAD
    rounds: list[dict[str, Any]] = []
    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
        rounds.append(whole_path.measure(folder, whole_path.ALL, options.seconds, options.mib))
    recording.systems = {OURS: rounds}
    recording.own = [{test: each[test] for test in whole_path.OWN} for each in rounds]


def _measure_beside_peers(recording: Recording, options: argparse.Namespace, folder: Path) -> None:
    systems = peers.chosen(options.systems, peers.bench_home())
    print(f"measuring {', '.join(systems)}", file=sys.stderr, flush=True)
    recording.load = PEERS_LOAD
    recording.peer_versions = facts.peer_versions(options.peers)
    output = options.record.with_suffix(".peers.json") if options.record else folder / "peers.json"
    recording.systems = peers.record(options.peers, systems, options.rounds, options.seconds, output)
    make_folder(folder)
    for number in range(options.rounds):
        print(
            f"what only ours is measured by: round {number + 1} of {options.rounds}",
            file=sys.stderr,
            flush=True,
        )
        recording.own.append(whole_path.measure(folder, whole_path.OWN, options.seconds, options.mib))


def _callbacks() -> dict[str, float]:
    print("the core", file=sys.stderr, flush=True)
    found = core.measure(seconds=0.5)
    sides = request_path.run(requests=3000, rounds=5)
    return {f"callbacks of a GET, {side}, µs": value for side, value in sides.items()} | found


def completed(recording: Recording) -> Recording:
    """Return a recording with the facts of this machine and checkout where it has none: an outside program notes nothing."""
    if not recording.machine:
        recording.machine, recording.versions = facts.machine(), facts.versions()
        recording.commit, recording.configuration = facts.commit(), configuration()
        recording.command, recording.load = "recorded by the outside program", PEERS_LOAD
    return recording


def store(recording: Recording, options: argparse.Namespace) -> list[Path]:
    """Write the file or the pages that were asked for, and return what was written. Raises BenchFailed."""
    if options.record is not None:
        recording.write(options.record)
        return [options.record]
    written = publish(recording, options.docs)
    if not recording.own:
        print("performance.md stays as it is: nothing of ours alone was recorded", file=sys.stderr)
        return written
    return [*written, *performance.publish(recording, options.docs)]


def main() -> int:
    options = arguments()
    allow_open_files()
    try:
        recording = completed(read_all(options.recorded)) if options.recorded else measure(options)
        written = store(recording, options)
    except BenchFailed as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    for path in written:
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
