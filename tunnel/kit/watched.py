"""Files that are replaced while the process runs: tokens, certificates, rules.

A Kubernetes Secret changes by swapping a symbolic link two folders up, an editor renames, a script writes in place. Neither a
watch on the inode nor the time of change tells all three, so the content itself is read and compared: these files are small.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

MAX_BYTES: Final = 1024 * 1024
"""A Secret or ConfigMap holds at most this."""


class WatchedFiles:
    """A set of files that belong together, such as a certificate and its key.

    Args:
        paths: the files.
        interval_seconds: how often `check` looks at them at most.
    """

    def __init__(self, paths: Sequence[Path], interval_seconds: float) -> None:
        self._paths = tuple(paths)
        self._interval = interval_seconds
        self._next_check = float("-inf")
        self._accepted: tuple[bytes, ...] | None = None
        self.problem: str | None = None
        """Why the last look failed, naming the file; None where it did not."""
        self.missing = False
        """Whether it failed because the file is not there."""

    def check(self, now: float) -> tuple[bytes, ...] | None:
        """Return the files' contents if they are not the accepted ones, else None.

        Between two looks, and where a file cannot be read (see `problem`), None too: what was accepted stays in force.

        Args:
            now: seconds on a clock that never goes back.
        """
        if now < self._next_check:
            return None
        self._next_check = now + self._interval
        return self.look()

    def look(self) -> tuple[bytes, ...] | None:
        """As `check`, but now, whenever the last look was: somebody has reason to believe that the content changed."""
        try:
            contents = tuple(_read(path) for path in self._paths)
        except OSError as error:
            self.problem = f"{error.filename}: {error.strerror}"
            self.missing = isinstance(error, FileNotFoundError)
            return None
        self.problem, self.missing = None, False
        return None if contents == self._accepted else contents

    def accept(self, contents: tuple[bytes, ...]) -> None:
        """Hold `contents` for good, so that `check` is silent until they change.

        A caller that could not use them (the certificate is new and the key not yet) does not accept them, and gets them
        again at the next look.
        """
        self._accepted = contents


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise OSError(0, "is larger than 1 MiB", str(path))
    return data
