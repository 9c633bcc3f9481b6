"""Processes under measurement, and processes that measure: started, watched and ended together."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

PAGE: Final = os.sysconf("SC_PAGE_SIZE")
ROOT: Final = Path(__file__).parents[2]

FOREIGN: Final = ("CTUN_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY")
"""Variables that would change what is measured."""


class BenchFailed(Exception):
    """Something that was to be measured did not work; the text says what and where to look."""


def clean_environment() -> dict[str, str]:
    """Return this process's environment without what would change a child's settings."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith(FOREIGN) and name != "PYTHONPATH"
    } | {"PYTHONPATH": str(ROOT)}


class Side:
    """A process under measurement, with its children.

    Args:
        name: what messages call it.
        process: the running one.
        log: what it wrote.
    """

    def __init__(self, name: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.name = name
        self.process = process
        self.log = log

    def cpu_seconds(self) -> float:
        """Return the CPU time used so far, of threads that still run."""
        return sum(_nanoseconds(pid) for pid in self._family()) / 1e9

    def resident_mib(self) -> float:
        """Return the resident memory."""
        return sum(_pages(pid) for pid in self._family()) * PAGE / 2**20

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self.process.poll() is None

    def _family(self) -> list[int]:
        found = [self.process.pid]
        for pid in found:
            children = Path(f"/proc/{pid}/task/{pid}/children")
            found += map(int, children.read_text().split() if children.exists() else ())
        return found


def _nanoseconds(pid: int) -> int:
    """Not by /proc/PID/stat, which counts in ticks of 10 ms: a few of them are all that a light load takes."""
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat"))


def _pages(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1])


@contextmanager
def side(name: str, folder: Path, *command: object) -> Iterator[Side]:
    """Run a process under measurement until the block ends; what it writes goes to a log in `folder`."""
    log = folder / f"{name}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(word) for word in command], cwd=folder, stdout=output, stderr=output, env=clean_environment()
        )
    try:
        yield Side(name, process, log)
    finally:
        _end(process)


class Worker:
    """A process of this folder that measures: it takes commands and gives results, both lines of JSON.

    Args:
        module: of this folder.
        arguments: on its command line.
    """

    def __init__(self, module: str, *arguments: object) -> None:
        self._module = module
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"tests.bench.{module}", *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=clean_environment(),
        )

    def ask(self, **command: object) -> dict[str, Any]:
        """Send a command and wait for its result.

        Raises:
            BenchFailed: the worker reports an error, or ended.
        """
        self.send(**command)
        return self.result()

    def send(self, **command: object) -> None:
        """Send a command whose result is not waited for. Raises BenchFailed."""
        try:
            _pipe(self._process.stdin).write(json.dumps(command) + "\n")
            _pipe(self._process.stdin).flush()
        except BrokenPipeError:
            raise BenchFailed(f"{self._module} has ended; see what it wrote above") from None

    def result(self) -> dict[str, Any]:
        """Wait for the next result. Raises BenchFailed."""
        line = _pipe(self._process.stdout).readline()
        if not line:
            raise BenchFailed(f"{self._module} ended; see what it wrote above")
        result: dict[str, Any] = json.loads(line)
        if "error" in result:
            raise BenchFailed(f"{self._module}: {result['error']}")
        return result

    def first_line(self) -> str:
        """Return the first line that the worker writes by itself."""
        return _pipe(self._process.stdout).readline().strip()

    def end(self) -> None:
        """End the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            _pipe(pipe).close()
        _end(self._process)


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


@contextmanager
def worker(module: str, *arguments: object) -> Iterator[Worker]:
    """Run a worker until the block ends."""
    running = Worker(module, *arguments)
    try:
        yield running
    finally:
        running.end()


def _end(process: "subprocess.Popen[Any]") -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


# Open files ------------------------------------------------------------------------------------


def allow_open_files() -> int:
    """Raise this process's limit on open files, which children inherit, as far as it may; return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def fitting(wanted: int, each: int, allowed: int, what: str, spare: int = 200) -> int:
    """Return how many of `wanted` fit into `allowed` open files of one process, and say so where it is fewer.

    Args:
        each: open files that one takes in the process that needs most.
        what: what is counted, for the message.
        spare: open files for everything else.
    """
    most = (allowed - spare) // each
    if most >= wanted:
        return wanted
    print(
        f"{wanted} {what} need {wanted * each + spare} open files in one process and {allowed} are allowed (ulimit -Hn): "
        f"measuring {most}",
        file=sys.stderr,
        flush=True,
    )
    return most
