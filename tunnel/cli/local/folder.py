"""The folder in which one `up` keeps its state, used by one process at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from certs.files import make_folder
from tunnel.kit.failures import CommandFailed

LOGS: Final = "logs"
PID_FILE: Final = "up.pid"


@contextmanager
def own_folder(path: Path) -> Iterator[None]:
    """Make the folder, and hold it for this process alone; only `up.pid` is removed from it afterwards.

    Raises:
        CommandFailed: it cannot be written, or another `up` runs in it.
    """
    make_folder(path)
    make_folder(path / LOGS)
    # A lock ends with its process, however that ends; the file only tells whose it is.
    descriptor = os.open(path / LOGS, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _lock(descriptor, path)
        (path / PID_FILE).write_text(f"{os.getpid()}\n")
        try:
            yield
        finally:
            (path / PID_FILE).unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CommandFailed(f"{path}: {_occupant(path / PID_FILE)}; end it, or give another --dir") from None


def _occupant(pid_file: Path) -> str:
    pid = pid_file.read_text().strip() if pid_file.exists() else "unknown"
    return f"'cluster-tunnel up' runs here already, as process {pid}"
