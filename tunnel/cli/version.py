"""`cluster-tunnel version`."""

import argparse
import json
import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from typing import Final

from tunnel.cli.parser import examples

_LIBRARIES: Final = ("h2", "httptools", "uvloop")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.epilog = examples("cluster-tunnel version", "cluster-tunnel version -o json")
    parser.add_argument(
        "-o", "--output", choices=("text", "json"), default="text", help="how to show it (default text)"
    )


def run(options: argparse.Namespace) -> int:
    """Print the versions of this program and of what it runs on."""
    found = versions()
    if options.output == "json":
        print(json.dumps(found))
        return 0
    width = max(map(len, found))
    for name, value in found.items():
        print(f"{name:{width}}  {value}")
    return 0


def versions() -> dict[str, str]:
    """Return by name the versions that tell two installations apart."""
    from ssl import OPENSSL_VERSION  # 8 ms that --help need not take

    return {
        "cluster-tunnel": _installed("cluster-tunnel"),
        "python": platform.python_version(),
        "openssl": OPENSSL_VERSION.removeprefix("OpenSSL ").partition(" ")[0],
        "loop": "asyncio" if _installed("uvloop") == _ABSENT else "uvloop",
        **{name: _installed(name) for name in _LIBRARIES},
    }


_ABSENT: Final = "not installed"


def _installed(name: str) -> str:
    try:
        return installed(name)
    except PackageNotFoundError:
        return _ABSENT
