"""Other tunnels doing the same job: measured by a program outside this project, which builds and runs them beside ours.

The program is called as `PROGRAM run -s SYSTEM... -r ROUNDS -d SECONDS -o FILE` and keeps what it has built in `$BENCH_HOME/bin`.
It runs every system once a round, so that whatever else the machine does hits all alike, and writes a JSON object that holds
for each system its rounds (see tests/bench/figures.py for what is in them). Ours is started by `$CLUSTER_TUNNEL`.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tests.bench.figures import OURS, YARDSTICKS
from tests.bench.processes import BenchFailed, clean_environment

ALWAYS: Final = frozenset({"load", "upstream"})
NEEDED: Final = {
    "direct": {"front"},
    "chisel": {"front", "back", "chisel"},
    "frp": {"front", "back", "frps", "frpc"},
    "konnectivity": {"front", "back", "konnectivity-server", "konnectivity-agent"},
    "remotedialer": {"front", "back"},
}
"""The files without which a system cannot run."""

_FOLDERS: Final = re.compile(r"(?<![\w/:.])/(?:[\w.-]+/)+(?=[\w.-])")


def bench_home() -> Path:
    """Return where the outside program keeps what it has built."""
    given = os.environ.get("BENCH_HOME")
    return Path(given) if given else Path.home() / ".cache/cluster-tunnel-bench"


def built(home: Path) -> list[str]:
    """Return the systems that can be run, ours among them.

    Raises:
        BenchFailed: nothing was built.
    """
    files = {path.name for path in (home / "bin").iterdir()} if (home / "bin").is_dir() else set()
    if not files >= ALWAYS:
        raise BenchFailed(
            f"no peer is built in {home / 'bin'}: run the program of --peers with `build` first"
        )
    return [*(name for name, needed in NEEDED.items() if files >= needed), OURS]


def chosen(wanted: Sequence[str], home: Path) -> list[str]:
    """Return the systems to measure: those asked for, or all that are built.

    Raises:
        BenchFailed: one that was asked for is not built, or does not exist.
    """
    known = built(home)
    for name in wanted:
        if name not in (*known, *YARDSTICKS):
            hint = "is not built" if name in NEEDED else "is none of " + ", ".join([*NEEDED, OURS])
            raise BenchFailed(f"--systems: {name} {hint}")
    return list(wanted) or known


def record(
    program: Path, systems: Sequence[str], rounds: int, seconds: float, output: Path
) -> dict[str, list[dict[str, Any]]]:
    """Run the program and return what it measured.

    Args:
        program: the outside one.
        systems: to be measured beside each other.
        rounds: how often.
        seconds: how long each figure of requests is measured.
        output: where it writes after each system, so that a run which is broken off is not lost.

    Raises:
        BenchFailed: it failed; what it had to say went to standard error.
    """
    command = [
        sys.executable,
        program,
        "run",
        "-s",
        *systems,
        "-r",
        rounds,
        "-d",
        f"{seconds:g}",
        "-o",
        output,
    ]
    ours = Path(sys.executable).with_name("cluster-tunnel")
    done = subprocess.run(
        [str(word) for word in command],
        env=clean_environment() | {"CLUSTER_TUNNEL": str(ours)},
        stdout=subprocess.DEVNULL,
    )
    if done.returncode or not output.is_file():
        raise BenchFailed(f"{program.name} ended with exit code {done.returncode}")
    found: dict[str, list[dict[str, Any]]] = json.loads(output.read_text())
    for figures in [figures for rounds in found.values() for each in rounds for figures in each.values()]:
        if isinstance(figures, dict) and "error" in figures:
            figures["error"] = without_folders(str(figures["error"]))
    return found


def without_folders(text: str) -> str:
    """Return a text, such as an error that names a program, in which files of this machine have only their names."""
    return _FOLDERS.sub("", text)
