"""Errors that Python can raise nowhere, of a destructor or a callback of OpenSSL's, as log lines.

By itself Python prints them with a traceback to standard error, past the log's level and format, and holds up the thread where
nobody reads that. A peer can provoke some: a server name that is not ASCII fails in a thread for handshakes.
"""

import logging
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import PurePath
from types import FunctionType, MethodType, TracebackType
from typing import TYPE_CHECKING, Final

from tunnel.kit.bucket import Buckets

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

LINES_PER_SECOND: Final = 0.1
BURST_LINES: Final = 5
"""So many at once; then one in ten seconds says how many were left out."""

_log = logging.getLogger(__name__)


class UnraisableHook:
    """A `sys.unraisablehook`. It may be called in any thread, and between any two steps of one, so it holds no lock.

    Args:
        before: the hook that it replaces.
        clock: returns seconds, and never goes back.

    Attributes:
        before: as given.
    """

    def __init__(
        self, before: "Callable[[UnraisableHookArgs], object]", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.before = before
        self._clock = clock
        self._lines = Buckets(LINES_PER_SECOND, BURST_LINES)
        self._silenced = 0

    def __call__(self, error: "UnraisableHookArgs") -> None:
        if self._lines.take("", self._clock()):
            self._silenced += 1
            return
        reason = traceback.format_exception_only(error.exc_type, error.exc_value)[-1].strip()
        extra = {"where": _where(error.object, error.exc_traceback), "reason": reason}
        if self._silenced:
            extra["silenced"] = str(self._silenced)
            self._silenced = 0
        _log.warning("an error could be raised nowhere", extra=extra)


def install() -> None:
    """Log them from now on."""
    uninstall()
    sys.unraisablehook = UnraisableHook(sys.unraisablehook)


def uninstall() -> None:
    """Put back the hook that was there before `install`, if any."""
    if isinstance(sys.unraisablehook, UnraisableHook):
        sys.unraisablehook = sys.unraisablehook.before


def _where(thing: object, trace: TracebackType | None) -> str:
    """Name `thing` without calling anything of its own, which may be half gone, and the place in the source."""
    named = thing if isinstance(thing, FunctionType | MethodType) else type(thing)
    if trace is None:
        return named.__qualname__
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f"{named.__qualname__} {PurePath(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
