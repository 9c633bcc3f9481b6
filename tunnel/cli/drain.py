"""`cluster-tunnel drain`: makes a running stub or agent take no new requests, and waits until it has ended what runs."""

import argparse
import time
from collections.abc import Mapping
from typing import Any, Final

from tunnel.cli.asking import add_control, ask, control_of
from tunnel.cli.parser import examples
from tunnel.kit.failures import CommandFailed

_EXAMPLE: Final = "cluster-tunnel drain --control /run/cluster-tunnel/stub.sock"
_MEANING: Final = """\
It does what SIGTERM does (see --drain-grace of the stub and the agent) and ends when the process has drained. Exit codes: 0
everything ended by itself, 1 something was broken off at the end of the grace.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.description = "Make a running stub or agent take no new requests, and wait until it has ended."
    parser.epilog = f"{examples(_EXAMPLE)}\n\n{_MEANING}"
    add_control(parser)


def run(options: argparse.Namespace) -> int:
    """Drain, and print how it goes.

    Raises:
        UsageError: no socket is given.
        CommandFailed: nobody listens there, or something had to be broken off.
    """
    progress = _Progress()
    began = time.monotonic()
    done = ask(control_of(options), {"command": "drain"}, progress.hear)
    seconds = time.monotonic() - began
    if done["running"]:
        raise CommandFailed(f"after {seconds:.1f} s {_counted(done['running'])} had to be broken off")
    print(f"drained in {seconds:.1f} s")
    return 0


class _Progress:
    """Prints what has changed."""

    def __init__(self) -> None:
        self._last = -1

    def hear(self, report: Mapping[str, Any]) -> None:
        running = int(report["running"])
        if running != self._last:
            self._last = running
            print(f"draining: {_counted(running)} still open", flush=True)


def _counted(running: int) -> str:
    return f"{running} connection{'' if running == 1 else 's'}"
