"""Asking a running stub or agent through its control socket."""

import argparse
import json
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from tunnel.kit.failures import CommandFailed, UsageError

SILENT_SECONDS: Final = 10.0
"""A process that says nothing for this long, beyond the time that it was given, hangs."""


def add_control(parser: argparse.ArgumentParser) -> None:
    """Add the flag that says which process is asked.

    The configuration file of the process is not read: it holds what only the process understands.
    """
    parser.add_argument(
        "--control",
        type=Path,
        metavar="PATH",
        default=os.environ.get("CTUN_CONTROL") or None,
        help="the control socket of the stub or agent: what it was given as --control (CTUN_CONTROL)",
    )


def control_of(options: argparse.Namespace) -> Path:
    """Return the path of the socket.

    Raises:
        UsageError: it was not given.
    """
    if options.control is None:
        raise UsageError("--control is missing: give the path that the stub or agent was given as --control")
    return Path(options.control).expanduser()


def ask(
    path: Path,
    request: Mapping[str, object],
    on_report: Callable[[Mapping[str, Any]], None],
    *,
    work_seconds: float = 0.0,
) -> Mapping[str, Any]:
    """Return what the process that listens on `path` answers.

    Args:
        path: of its control socket.
        request: what is wanted.
        on_report: hears how it goes.
        work_seconds: how long the process is silent when all is well.

    Raises:
        CommandFailed: nobody listens there, the process refuses, or it ended without an answer.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(SILENT_SECONDS + work_seconds)
            connection.connect(str(path))
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as lines:
                for line in lines:
                    answer = json.loads(line)
                    if "done" in answer:
                        done: Mapping[str, Any] = answer["done"]
                        return done
                    if "error" in answer:
                        raise CommandFailed(f"--control {path}: {answer['error']}")
                    on_report(answer["report"])
    except OSError as error:
        raise CommandFailed(f"--control {path}: {_explained(error)}") from None
    raise CommandFailed(f"--control {path}: the process ended without an answer; its log may say why")


def _explained(error: OSError) -> str:
    match error:
        case FileNotFoundError():
            return "there is no such socket; is the stub or agent running, with this --control?"
        case ConnectionRefusedError():
            return "nobody listens there any more: the process that did has ended"
        case PermissionError():
            return "only the user that runs the stub or agent may ask it"
        case TimeoutError():
            return "the process does not answer"
        case _:
            return error.strerror or str(error)
