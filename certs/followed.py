"""What is made from files and made again when they change: TLS contexts, authorities, the deny list."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Generic, TypeVar

from certs.errors import CertificateProblem
from tunnel.kit.watched import WatchedFiles

RELOAD_SECONDS: Final = 5.0
"""How old certificates and authorities may be that are used. A Secret takes up to a minute to arrive in a Pod anyway."""

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Followed(Generic[T]):
    """A value made from files. While what is in them now is wrong or incomplete (the certificate is new and its key not
    yet), the last value that was right stays in force, and each look tries again.

    Args:
        what: what log lines call it.
        paths: the files; one of them may appear later.
        make: reads them and returns the value; raises CertificateProblem.
        interval_seconds: how often they are looked at.

    Attributes:
        next_look: when it is time for another look, on the clock of `current`.

    Raises:
        CertificateProblem: they cannot be used now.
    """

    def __init__(
        self,
        what: str,
        paths: Sequence[Path],
        make: Callable[[], T],
        interval_seconds: float = RELOAD_SECONDS,
    ) -> None:
        self._what = what
        self._make = make
        self._files = WatchedFiles(paths, interval_seconds)
        self._interval = interval_seconds
        self.next_look = float("-inf")
        self._fault: str | None = None
        self._said: str | None = None
        # Looked at before they are read: what changes in between is found by the next look.
        contents = self._files.look()
        self._complete = contents is not None
        self._value = make()
        if contents is not None:
            self._files.accept(contents)

    @property
    def value(self) -> T:
        """What was in force at the last look."""
        return self._value

    @property
    def problem(self) -> str | None:
        """Why the files as they are now are not what is in force; None where they are."""
        # A file that was never there is not missed: `make` could do without it. One that is there and cannot be read is.
        return self._fault or (self._files.problem if self._complete or not self._files.missing else None)

    def current(self, now: float) -> T:
        """Return the value in force, after a look at the files if it is time for one.

        Args:
            now: seconds on a clock that never goes back.
        """
        if now >= self.next_look:
            self.next_look = now + self._interval
            self._look()
        return self._value

    def _look(self) -> None:
        contents = self._files.look()
        if contents is not None:
            self._replace(contents)
        problem = self.problem
        if problem != self._said:
            self._say(problem)

    def _replace(self, contents: tuple[bytes, ...]) -> None:
        self._complete = True
        try:
            self._value = self._make()
        except CertificateProblem as fault:
            self._fault = str(fault)
            return
        self._fault = None
        self._files.accept(contents)
        _log.info("changed files are in force", extra={"what": self._what})

    def _say(self, problem: str | None) -> None:
        self._said = problem
        if problem is not None:
            text = "changed files cannot be used; what was in force stays"
            _log.error(text, extra={"what": self._what, "reason": problem})
