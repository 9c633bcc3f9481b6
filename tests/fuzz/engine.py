"""Runs one target under atheris, which is installed by hand: `pip install atheris`, then

    python -m tests.fuzz.engine frames -max_total_time=600 CORPUS_FOLDER

`python -m tests.fuzz.run` does that for each target in turn; flags that begin with one `-` are libFuzzer's.
"""

import logging
import sys
from importlib import import_module

INSTRUMENTED = ["tunnel", "agent", "stub", "certs", "h2", "hpack", "hyperframe"]
"""Packages whose branches guide the search: ours, and what takes a stranger's bytes in Python."""


def main() -> None:
    """Feed the target named first on the command line until it fails, or the time given there is over."""
    name, *flags = sys.argv[1:]
    try:
        atheris = import_module("atheris")
    except ImportError:
        sys.exit("atheris is not installed; tests/unit/test_fuzz_targets.py runs the targets without it")
    with atheris.instrument_imports(include=INSTRUMENTED):
        target = import_module(f"tests.fuzz.fuzz_{name}")
    logging.disable()  # what is refused is logged, and that is most of what a search sends
    atheris.Setup([name, *flags], target.one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
