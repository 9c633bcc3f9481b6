"""The simulator as a process of its own."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.scenarios.processes import running

_READY = "kubesim: ready "


@contextlib.contextmanager
def running_simulator(folder: Path) -> Iterator[Path]:
    """A simulated cluster for as long as the block lasts; the value is its kubeconfig."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tests.kubesim", "--dir", folder, "--listen", "127.0.0.1:0"]
    with running([str(part) for part in command]) as simulator:
        try:
            said = simulator.wait_for(lambda line: line.startswith(_READY), seconds=30)[0]
            yield Path(said.text.removeprefix(_READY))
        finally:
            # pytest shows what was printed only where a test failed.
            print(simulator.stderr[-4000:])
