"""Searches for inputs that break a target, one target after the other:

    python -m tests.fuzz.run --seconds 600 [--corpus FOLDER] [TARGET...]

Prints a line for each target and exits with 1 where one failed; the input that did it is in FOLDER/failures. What was searched
before is in FOLDER and is gone on from; `--totals` sums up all searches there, and `--keep` puts the shortest of what they
found into tests/fuzz/corpus, which `make test` feeds to every target.
"""

import argparse
import json
import re
import resource
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from tests.fuzz import corpus

INPUT_BYTES: Final = 4096
MEMORY_MIB: Final = 1024
INPUT_SECONDS: Final = 10
"""An input that takes more memory or time than this is a failure; the slowest honest one takes 20 ms."""

ENDED_EARLY: Final = frozenset({72, 130})
"""What the engine exits with after SIGTERM, which libFuzzer hears, and SIGINT, which Python hears."""

KEPT_INPUTS: Final = 30
KEPT_BYTES: Final = 600

_LINE: Final = "{:<24}" + "{:>12}" * 6 + "  {}"
HEAD: Final = _LINE.format(
    "target", "seconds", "executions", "per second", "inputs", "bytes", "edges", "outcome"
)

_DONE: Final = re.compile(r"^Done (\d+) runs in", re.MULTILINE)
_STEP: Final = re.compile(r"^#(\d+)\s.*?cov: (\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Search:
    """What came of searching with one target.

    Attributes:
        seconds: of CPU, so that what else the machine did meanwhile is not counted as searched.
        edges: of the code, that some input has reached.
        failed: whether the invariant was broken, or a limit passed. A search that was ended early has not failed.
    """

    target: str
    seconds: float
    executions: int
    inputs: int
    bytes: int
    edges: int
    failed: bool


def search(target: str, folder: Path, seconds: int) -> Search:
    """Search for `seconds` with one target, from what is in `folder` on."""
    home, failures = folder / target, folder / "failures"
    corpus.fill(home, target)
    failures.mkdir(exist_ok=True)
    before = _children_seconds()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.fuzz.engine", target),
            *(f"-max_total_time={seconds}", f"-max_len={INPUT_BYTES}", f"-timeout={INPUT_SECONDS}"),
            *(f"-rss_limit_mb={MEMORY_MIB}", f"-artifact_prefix={failures}/{target}-", str(home)),
        ],
        capture_output=True,
        text=True,
        errors="replace",
    )
    spent = _children_seconds() - before
    (folder / f"{target}.log").write_text(done.stdout + done.stderr)
    return _searched(target, home, spent, done)


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _searched(target: str, home: Path, spent: float, done: "subprocess.CompletedProcess[str]") -> Search:
    steps = _STEP.findall(done.stderr)
    runs = _DONE.findall(done.stderr) or [number for number, _ in steps[-1:]] or ["0"]
    found = [path.stat().st_size for path in home.iterdir()]
    return Search(
        target,
        round(spent, 1),
        int(runs[-1]),
        len(found),
        sum(found),
        max((int(edges) for _, edges in steps), default=0),
        failed=done.returncode not in {0, *ENDED_EARLY},
    )


def row(each: Search) -> str:
    """Return the line of one search, which stands below `HEAD`."""
    rate = each.executions / each.seconds if each.seconds else 0.0
    numbers = (each.seconds, each.executions, rate, each.inputs, each.bytes, each.edges)
    shown = (f"{number:,.0f}".replace(",", " ") for number in numbers)
    return _LINE.format(each.target, *shown, "FAILED" if each.failed else "held")


def totals(searches: Iterable[Search]) -> list[Search]:
    """Return one search for each target: times and executions in sum, all else as it was last."""
    summed: dict[str, Search] = {}
    for each in searches:
        before = summed.get(each.target)
        if before is not None:
            each = replace(  # noqa: PLW2901 the sum so far
                each, seconds=before.seconds + each.seconds, executions=before.executions + each.executions
            )
        summed[each.target] = each
    return [summed[target] for target in sorted(summed)]


def shortest(target: str, folder: Path) -> list[bytes]:
    """Return few of the inputs in `folder`: each reached something new when it was found, so the shortest tell the most."""
    found = sorted(
        (path.read_bytes() for path in (folder / target).iterdir()), key=lambda each: (len(each), each)
    )
    return [each for each in found if len(each) <= KEPT_BYTES][:KEPT_INPUTS]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = _parse(arguments)
    chosen, folder = options.targets or corpus.targets(), Path(options.corpus)
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "searches.jsonl"
    if options.keep:
        for target in chosen:
            corpus.keep(target, shortest(target, folder))
        return 0
    if options.totals:
        print(HEAD)
        lines = log.read_text().splitlines() if log.exists() else []
        for each in totals(Search(**json.loads(line)) for line in lines):
            print(row(each))
        return 0
    if find_spec("atheris") is None:
        print("atheris is not installed: pip install atheris", file=sys.stderr)
        return 2
    print(HEAD, flush=True)
    return 1 if any([_report(search(target, folder, options.seconds), log) for target in chosen]) else 0


def _report(each: Search, log: Path) -> bool:
    print(row(each), flush=True)
    with log.open("a") as lines:
        lines.write(json.dumps(asdict(each)) + "\n")
    return each.failed


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz.run", description=(__doc__ or "").splitlines()[0]
    )
    known = corpus.targets()
    parser.add_argument(
        "targets", nargs="*", metavar="TARGET", help=f"one of {', '.join(known)}; default: all"
    )
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default: %(default)s)")
    parser.add_argument(
        "--corpus", default=".fuzz", help="the folder of what was found (default: %(default)s)"
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--totals", action="store_true", help="sum up all searches in that folder, and end")
    what.add_argument(
        "--keep", action="store_true", help="put small inputs of it into tests/fuzz/corpus, and end"
    )
    options = parser.parse_args(arguments)
    if unknown := sorted({*options.targets} - {*known}):
        parser.error(f"{unknown[0]} is no target: there are {', '.join(known)}")
    if options.seconds < 1:
        parser.error("--seconds must be 1 or more")
    return options


if __name__ == "__main__":
    sys.exit(main())
