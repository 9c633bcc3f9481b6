"""Where the search begins: the inputs that a target names itself, and those kept from earlier searches."""

import base64
import hashlib
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
KEPT: Final = HERE / "corpus"
"""One text file for each target, one input in base64 on each line."""


def targets() -> list[str]:
    """Return the names of all targets."""
    return sorted(path.stem.removeprefix("fuzz_") for path in HERE.glob("fuzz_*.py"))


def inputs(target: str) -> Iterator[bytes]:
    """Yield the inputs that a search for `target` begins with."""
    yield from import_module(f"tests.fuzz.fuzz_{target}").SEEDS
    kept = KEPT / f"{target}.txt"
    if kept.exists():
        yield from map(base64.b64decode, kept.read_text().split())


def fill(folder: Path, target: str) -> None:
    """Add those inputs to a folder, named as libFuzzer names its own."""
    folder.mkdir(parents=True, exist_ok=True)
    for each in inputs(target):
        # Not for secrecy: libFuzzer calls an input by its SHA-1, so the same one is not there twice.
        (folder / hashlib.sha1(each).hexdigest()).write_bytes(each)


def keep(target: str, found: Iterable[bytes]) -> None:
    """Replace what is kept of earlier searches."""
    KEPT.mkdir(exist_ok=True)
    lines = sorted((base64.b64encode(each).decode() for each in found), key=lambda line: (len(line), line))
    (KEPT / f"{target}.txt").write_text("".join(f"{line}\n" for line in lines))
