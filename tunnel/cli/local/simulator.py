"""Where the simulator is, and what says that it is up."""

from importlib.util import find_spec
from pathlib import Path
from typing import Final

from tunnel.kit.failures import CommandFailed, UsageError

ROOT: Final = Path(__file__).parents[3]
"""The folder that holds the packages: the checkout, or where they are installed."""

READY: Final = "kubesim: ready "
"""What the simulator writes, with its kubeconfig's path, when it answers."""

_NEEDS: Final = ("h11", "websockets")


def check_simulator(root: Path = ROOT) -> None:
    """Raise if the simulator cannot be started from `root`.

    Raises:
        UsageError: this is not a checkout: the simulator is part of the tests, which are not installed.
        CommandFailed: a package it needs is missing.
    """
    if not (root / "tests" / "kubesim" / "__main__.py").is_file():
        raise UsageError(
            "--simulator needs a checkout of the project, and this is none: give --kubeconfig FILE"
        )
    missing = [name for name in _NEEDS if find_spec(name) is None]
    if missing:
        raise CommandFailed(
            f"the simulator needs {' and '.join(missing)}: run 'make venv', or pip install -e '.[simulator]'"
        )


def simulator_arguments(folder: Path) -> list[str]:
    """Return how the simulator is started, keeping its state in `folder`."""
    return ["-m", "tests.kubesim", "--dir", str(folder), "--listen", "127.0.0.1:0"]


def announced_kubeconfig(line: str) -> Path | None:
    """Return the kubeconfig's path if `line` says that the simulator is up."""
    return Path(line.removeprefix(READY)) if line.startswith(READY) else None
