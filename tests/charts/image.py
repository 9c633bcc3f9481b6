"""What an image has to hold, as a folder, where there is no Docker to build the Dockerfile: `python -m tests.charts.image FOLDER`.

On top of any base with the same Python it runs as `python3 -m tunnel` with FOLDER/lib on PYTHONPATH.
"""

import argparse
import compileall
import py_compile
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def fill(folder: Path) -> None:
    """Put the package and what it depends on, in the versions of the lock file, into `folder`/lib."""
    with tempfile.TemporaryDirectory() as work:
        versions = Path(work, "versions.txt")
        versions.write_text("\n".join(locked_versions()))
        _pip("wheel", "--no-deps", "--wheel-dir", work, str(ROOT))
        (wheel,) = Path(work).glob("*.whl")
        _pip("install", "--no-compile", "--target", str(folder / "lib"), "-c", str(versions), str(wheel))
    # As in the Dockerfile: whoever writes the layer may set all times to 1970.
    unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
    compileall.compile_dir(folder / "lib", quiet=1, workers=0, invalidation_mode=unchecked)


def locked_versions() -> list[str]:
    """The lock file's packages as NAME==VERSION, without hashes and markers."""
    return re.findall(r"^[A-Za-z0-9._-]+==[^ ;\\]+", (ROOT / "requirements.lock").read_text(), re.MULTILINE)


def _pip(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", arguments[0], "--quiet", *arguments[1:]], check=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="is made, and FOLDER/lib in it")
    fill(parser.parse_args().folder)
