"""Takes each defence out of a copy of the tree and runs the tests that must notice:

    python -m tests.mutations [WORD...]

Prints a line for each and exits with 1 where a defence was missed by nobody. A temporary folder holds the copy; nothing here is
changed.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.mutations.mutation import Mutation
from tests.mutations.rows import MUTATIONS

ROOT: Final = Path(__file__).parents[2]
COPIED: Final = ("tunnel", "agent", "stub", "certs", "tests", "docs", "charts")
SECONDS: Final = 300


class Outcome(Enum):
    """What came of taking a defence out."""

    CAUGHT = "caught"
    SURVIVED = "SURVIVED"
    BROKEN = "BROKEN"
    """The tests could not be run, so they say nothing."""


def copy_tree(to: Path) -> None:
    """Copy what the tests need."""
    for folder in COPIED:
        shutil.copytree(ROOT / folder, to / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy2(path, to / path.name)


def try_out(mutation: Mutation, tree: Path) -> Outcome:
    """Run a mutation's tests in a copy of the tree, which is left as it was."""
    before = {path: (tree / path).read_text() for path, _, _ in mutation.edits}
    for path, text, instead in mutation.edits:
        (tree / path).write_text((tree / path).read_text().replace(text, instead))
    try:
        return _outcome(mutation.tests, tree)
    finally:
        for path, whole in before.items():
            (tree / path).write_text(whole)


def _outcome(tests: Sequence[str], tree: Path) -> Outcome:
    # Without byte code: a file that is changed twice within a second may look unchanged.
    environment = os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests],
            cwd=tree,
            env=environment,
            capture_output=True,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        return Outcome.BROKEN  # a test in which the loop never comes back, on a busy machine
    return {0: Outcome.SURVIVED, 1: Outcome.CAUGHT}.get(done.returncode, Outcome.BROKEN)


def chosen(words: Sequence[str]) -> list[Mutation]:
    """Return the mutations whose threats hold one of the words; all of them where there are none."""
    return [each for each in MUTATIONS if not words or any(word in each.threat for word in words)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", metavar="WORD", help="only threats whose names hold one of these")
    words = parser.parse_args(arguments).words
    if not chosen(words):
        parser.error(f"no threat's name holds any of: {', '.join(words)}")
    missed = 0
    with TemporaryDirectory() as folder:
        tree = Path(folder)
        copy_tree(tree)
        for each in chosen(words):
            began = time.monotonic()
            outcome = try_out(each, tree)
            missed += outcome is not Outcome.CAUGHT
            print(f"{outcome.value:<9} {time.monotonic() - began:5.1f} s  {each.threat}", flush=True)
    print(f"{missed} of {len(chosen(words))} were not caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
