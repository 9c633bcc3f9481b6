"""Which cluster `make up` and `make e2e` use."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

READ = ("KUBECONFIG", "MAKE", "ARGS", "PYTEST_ARGS", "VENV")

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def make(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run make without its recipes' prerequisites; of what it reads the environment has only what is in `environ`."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(READ)}
    return subprocess.run(
        ["make", "-o", ".venv/.run", "-o", ".venv/.dev", *arguments],
        cwd=ROOT,
        env=inherited | environ,
        capture_output=True,
        text=True,
        timeout=30,
    )


def command(*arguments: str, **environ: str) -> str:
    return make("--dry-run", *arguments, **environ).stdout.splitlines()[-1].strip()


def test_up_uses_the_simulator() -> None:
    assert command("up") == "exec .venv/bin/cluster-tunnel up --simulator"


def test_up_uses_the_kubeconfig_on_makes_command_line() -> None:
    assert (
        command("up", "KUBECONFIG=/my config") == "exec .venv/bin/cluster-tunnel up --kubeconfig '/my config'"
    )


@pytest.mark.parametrize("flags", [(), ("-e",)])
def test_up_never_uses_the_kubeconfig_of_the_environment(flags: tuple[str, ...]) -> None:
    assert command(*flags, "up", KUBECONFIG="/env") == "exec .venv/bin/cluster-tunnel up --simulator"


def test_up_passes_further_flags_on() -> None:
    assert command("up", "ARGS=--agents 2") == "exec .venv/bin/cluster-tunnel up --simulator --agents 2"


def test_e2e_uses_the_kubeconfig_on_makes_command_line() -> None:
    assert command("e2e", "KUBECONFIG=/x") == ".venv/bin/pytest tests/e2e -n 3 --kubeconfig '/x'"


def test_e2e_never_uses_the_kubeconfig_of_the_environment() -> None:
    done = make("e2e", KUBECONFIG="/env")
    assert done.returncode == 2
    assert "make e2e: name the cluster: make e2e KUBECONFIG=FILE" in done.stderr


def test_without_a_python_make_says_what_is_missing(tmp_path: Path) -> None:
    done = make("venv", "PYTHON=", f"VENV={tmp_path / 'venv'}")
    assert done.returncode == 2
    assert "Python 3.11 or newer with its venv module is needed" in done.stderr


def test_help_has_a_line_for_every_target() -> None:
    text = (ROOT / "Makefile").read_text()
    targets = next(line for line in text.splitlines() if line.startswith(".PHONY:")).split()[1:]
    shown = [line.split()[0] for line in make("help").stdout.splitlines()]
    assert sorted(shown) == sorted(targets)
