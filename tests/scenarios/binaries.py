"""Which kubectl binaries this machine has."""

import functools
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

_NAMES = re.compile(r"kubectl(\.\d+\.\d+)?$")
_NOT_FOUND = "no kubectl on PATH, so nothing was tried with it"


@dataclass(frozen=True, order=True)
class Binary:
    """One kubectl; ordered by version, the oldest first."""

    version: tuple[int, int, int]
    label: str
    path: Path

    def is_at_least(self, minor: int) -> bool:
        return self.version >= (1, minor, 0)

    @property
    def speaks_websocket_first(self) -> bool:
        """exec and attach try WebSocket before SPDY since 1.30; port-forward since 1.31."""
        return self.is_at_least(30)


@functools.cache
def find_binaries() -> tuple[Binary, ...]:
    """Every kubectl on PATH and beside the file that `kubectl` resolves to, one for each version."""
    found: dict[str, Binary] = {}
    for path in _candidates():
        binary = _ask_version(path)
        if binary is not None:
            found.setdefault(binary.label, binary)
    return tuple(sorted(found.values()))


def thorough_binaries() -> tuple[Binary, ...]:
    """The binaries that play every scenario: 1.29 (the oldest where it is missing) and the newest.

    1.29 speaks SPDY with all its protocols and the newest prefers WebSocket everywhere. What is older or lies between
    is one of the two on the wire and plays only what is marked for every version: each scenario of each of seven
    versions would take ten minutes.
    """
    plain = [binary for binary in find_binaries() if "-" not in binary.label]
    if not plain:
        return find_binaries()
    old = next((binary for binary in plain if binary.version[:2] == (1, 29)), plain[0])
    return tuple(dict.fromkeys((old, plain[-1])))


def newest() -> Binary | None:
    """The newest kubectl, for tests that one version answers as well as any other."""
    thorough = thorough_binaries()
    return thorough[-1] if thorough else None


def missing_reason() -> str | None:
    """Why nothing can be run here, or None."""
    return None if find_binaries() else _NOT_FOUND


def _candidates() -> list[Path]:
    folders = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    resolved = shutil.which("kubectl")
    if resolved:
        folders.append(Path(resolved).resolve().parent)
    files = (file.resolve() for folder in dict.fromkeys(folders) for file in sorted(folder.glob("kubectl*")))
    return [file for file in dict.fromkeys(files) if _NAMES.match(file.name) and os.access(file, os.X_OK)]


def _ask_version(path: Path) -> Binary | None:
    answer = subprocess.run([path, "version", "--client", "-o", "json"], capture_output=True, timeout=30)
    if answer.returncode:
        return None
    label = json.loads(answer.stdout)["clientVersion"]["gitVersion"].removeprefix("v")
    numbers = re.match(r"(\d+)\.(\d+)\.(\d+)", label)
    if numbers is None:
        return None
    major, minor, patch = (int(number) for number in numbers.groups())
    return Binary((major, minor, patch), label, path)
