"""What a run of the benchmark needs to be understood and repeated: the machine, the versions, the commit."""

import os
import platform
import re
import shutil
import ssl
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

from tests.bench.processes import ROOT

LIBRARIES: Final = ("uvloop", "h2", "httptools", "cryptography")
PEER_MODULES: Final = {
    "chisel": "github.com/jpillora/chisel",
    "frp": "github.com/fatedier/frp",
    "konnectivity": "sigs.k8s.io/apiserver-network-proxy",
    "remotedialer": "github.com/rancher/remotedialer",
}


def now() -> str:
    """Return the time in UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def machine() -> dict[str, str]:
    """Return what the figures depend on, without what would tell whose machine it is."""
    found = re.search(r"^model name\s*: (.*)$", _read("/proc/cpuinfo"), re.MULTILINE)
    memory = re.search(r"^MemTotal:\s*(\d+) kB$", _read("/proc/meminfo"), re.MULTILINE)
    return {
        "processor": found[1] if found else platform.machine(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{int(memory[1]) / 2**20:.0f} GiB" if memory else "unknown",
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
    }


def versions() -> dict[str, str]:
    """Return those of what we run on."""
    return {
        platform.python_implementation(): platform.python_version(),
        "OpenSSL": ssl.OPENSSL_VERSION.split()[1],
        **{name: version(name) for name in LIBRARIES},
    }


def peer_versions(program: Path) -> dict[str, str]:
    """Return the versions of the peers, from the go.mod beside the program that builds them, and that of Go.

    Args:
        program: the outside benchmark.
    """
    text = _read(program.with_name("go.mod"))
    found = {}
    for name, module in PEER_MODULES.items():
        required = re.search(rf"^\s*(?:require\s+)?{re.escape(module)}\s+v(\S+)", text, re.MULTILINE)
        if required:
            found[name] = required[1]
    if shutil.which("go"):
        answer = subprocess.run(["go", "version"], capture_output=True, text=True, cwd=program.parent)
        found |= {"Go": answer.stdout.split()[2].removeprefix("go")} if answer.returncode == 0 else {}
    return found


def commit() -> str:
    """Return the commit of this checkout, with a word where files differ from it."""
    head = _git("rev-parse", "--short=12", "HEAD")
    if not head:
        return "no commit"
    return f"{head} with changes" if _git("status", "--porcelain", "--untracked-files=no") else head


def _git(*words: str) -> str:
    if not shutil.which("git"):
        return ""
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.strip()


def _read(path: str | Path) -> str:
    found = Path(path)
    return found.read_text() if found.is_file() else ""
