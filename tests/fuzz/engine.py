"""Runs a target under atheris, which is installed by hand: `pip install atheris`, then
`python -m tests.fuzz.fuzz_frames -max_total_time=600 CORPUS_FOLDER`."""

import sys
from collections.abc import Callable
from importlib import import_module


def main(one_input: Callable[[bytes], None]) -> None:
    """Feed `one_input` until it fails or the time given on the command line is over."""
    try:
        atheris = import_module("atheris")
    except ImportError:
        sys.exit("atheris is not installed; tests/unit/core/test_fuzz_targets.py runs the targets without it")
    atheris.instrument_all()
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
