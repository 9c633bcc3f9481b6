"""How many instructions a small GET takes each side: a figure that does not depend on what else the machine does.

    python -m tests.bench.instructions [--update] [--allocations]

Counts by valgrind's callgrind in two processes, of few requests and of many, and takes the difference, so that starting Python
does not count; the bench itself, which plays the other side, does. `ceiling.json` holds what is expected, by the build of
Python: the exit code is 1 where a figure is above it by more than the tolerance. --update writes what was found.
--allocations counts calls of malloc too, by memcheck and without Python's own allocator.
"""

import argparse
import asyncio
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.processes import BenchFailed, clean_environment
from tests.bench.request_path import prepared

CEILING: Final = Path(__file__).with_name("ceiling.json")
SIDES: Final = ("stub", "agent")

FEW: Final = 100
"""Behind the first requests, which fill caches."""
MANY: Final = 500


@dataclass(frozen=True, slots=True)
class Counter:
    """A way of counting.

    Attributes:
        what: is counted, for people.
        command: of valgrind.
        pattern: of the number in what it prints.
        variables: of the environment, beside the usual ones.
    """

    what: str
    command: tuple[str, ...]
    pattern: str
    variables: tuple[tuple[str, str], ...] = ()


INSTRUCTIONS: Final = Counter(
    "instructions", ("--tool=callgrind", "--callgrind-out-file=/dev/null"), r"Collected : ([\d,]+)"
)
ALLOCATIONS: Final = Counter(
    "allocations",
    ("--tool=memcheck", "--leak-check=no", "--undef-value-errors=no"),
    r"total heap usage: ([\d,]+) allocs",
    (("PYTHONMALLOC", "malloc"),),
)


def available() -> bool:
    """Whether valgrind is installed."""
    return shutil.which("valgrind") is not None


def python() -> str:
    """Return what the ceiling of this interpreter is filed under.

    Each build takes other instructions: 3.11.7 and a distribution's 3.11.2, by the same compiler with other flags, differ by 12 %.
    """
    _, date = platform.python_build()
    return f"{platform.python_implementation()} {platform.python_version()} of {' '.join(date.split())}"


def count(counter: Counter) -> dict[str, float]:
    """Return how many a request takes, by side.

    Raises:
        BenchFailed: valgrind is not there, or failed.
    """
    if not available():
        raise BenchFailed("valgrind is not installed")
    runs = [(side, requests) for side in SIDES for requests in (FEW, MANY)]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        found = dict(zip(runs, threads.map(lambda run: _count(counter, *run), runs), strict=True))
    return {side: (found[side, MANY] - found[side, FEW]) / (MANY - FEW) for side in SIDES}


def _count(counter: Counter, side: str, requests: int) -> int:
    command = ["valgrind", *counter.command, sys.executable, "-m", "tests.bench.instructions"]
    # Hashes decide how long a look into a dictionary takes; so they are the same in all runs.
    fixed = {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", **dict(counter.variables)}
    done = subprocess.run(
        [*command, "--run", side, str(requests)],
        env=clean_environment() | fixed,
        capture_output=True,
        text=True,
    )
    return parse(counter, done.stderr) if done.returncode == 0 else _failed(done.stderr)


def _failed(text: str) -> int:
    own = [line for line in text.splitlines() if not line.startswith("==")]
    raise BenchFailed(f"the counted process failed: {own[-1] if own else 'it wrote nothing'}")


def parse(counter: Counter, text: str) -> int:
    """Return the number in what valgrind printed. Raises BenchFailed where there is none."""
    found = re.search(counter.pattern, text)
    if found is None:
        raise BenchFailed(f"valgrind printed no number of {counter.what}")
    return int(found[1].replace(",", ""))


async def run(side: str, requests: int) -> None:
    """Take requests through a side: what the counted process does. It ends here, so that ending does not count."""
    async with prepared(side) as once:
        for _ in range(requests):
            once()
        os._exit(0)


# The ceiling -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What is expected.

    Attributes:
        tolerance_percent: how much more may be found.
        instructions: a request takes, by Python and side.
    """

    tolerance_percent: float
    instructions: dict[str, dict[str, float]]

    @classmethod
    def read(cls, path: Path = CEILING) -> "Ceiling":
        """Return what is written down."""
        content = json.loads(path.read_text())
        return cls(content["tolerance_percent"], content["instructions"])

    def exceeded(self, found: dict[str, float], by: str) -> list[str]:
        """Return which of the figures found are above the ceiling, in words; `by` is the Python."""
        above = []
        for side, expected in self.instructions.get(by, {}).items():
            if found[side] > expected * (1 + self.tolerance_percent / 100):
                more = found[side] / expected - 1
                above.append(
                    f"{side}: {found[side]:,.0f} instructions a request, {more:+.1%} of {expected:,.0f}"
                )
        return above

    def update(self, found: dict[str, float], by: str, path: Path = CEILING) -> None:
        """Write down what was found as what is expected."""
        known = self.instructions | {by: {side: int(round(value, -2)) for side, value in found.items()}}
        content = {"tolerance_percent": self.tolerance_percent, "instructions": known}
        path.write_text(json.dumps(content, indent=2) + "\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--update", action="store_true", help="write what was found to ceiling.json")
    parser.add_argument("--allocations", action="store_true", help="count calls of malloc as well")
    parser.add_argument("--run", nargs=2, metavar=("SIDE", "REQUESTS"), help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    options = arguments()
    if options.run:
        side, requests = options.run
        asyncio.run(run(side, int(requests)))
    ceiling = Ceiling.read()
    found = count(INSTRUCTIONS)
    for side, value in found.items():
        print(f"{side:<6} {value:>9,.0f} instructions a request")
    if options.allocations:
        for side, value in count(ALLOCATIONS).items():
            print(f"{side:<6} {value:>9,.1f} allocations a request")
    if options.update:
        ceiling.update(found, python())
        return 0
    if python() not in ceiling.instructions:
        print(f"{CEILING.name} has no ceiling for {python()}; --update writes one", file=sys.stderr)
    above = ceiling.exceeded(found, python())
    for line in above:
        print(f"above the ceiling: {line}", file=sys.stderr)
    return 1 if above else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchFailed as error:
        sys.exit(f"instructions: {error}")
