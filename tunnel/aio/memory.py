"""Gives memory that a peak left behind back to the system.

A peak is what waits in buffers while a peer stands still, a few MiB for each that does. glibc keeps what was freed in case
there is another one, so a process would stay as large as its largest peak, and many processes as large as the sum of theirs.
"""

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tunnel.core.limits import MIB

EVERY_SECONDS: Final = 60.0
WORTH_BYTES: Final = 16 * MIB
"""Less than this above what the process began with is left alone: it would soon be taken again."""

_STATM: Final = Path("/proc/self/statm")

_log = logging.getLogger(__name__)

Trim = Callable[[int], int]


def resident_bytes() -> int | None:
    """Return the memory that this process has now, or None where the system does not tell."""
    try:
        pages = int(_STATM.read_text().split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def find_trim() -> Trim | None:
    """Return glibc's malloc_trim, or None where another library allocates."""
    import ctypes  # 0.8 MiB that a process without a peak does not need

    trim: Trim | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim


async def keep_returning(
    resident: Callable[[], int | None] = resident_bytes, find: Callable[[], Trim | None] = find_trim
) -> None:
    """Give back what is free, once a minute where the process has grown; ends where it cannot be done.

    It is done in a thread, for up to 5 ms (65 MiB in 20 000 pieces), in which the event loop waits at most for its next new buffer.

    Args:
        resident: tells how large the process is, in bytes.
        find: finds what gives memory back.
    """
    begun_with = resident()
    while begun_with is not None:
        await asyncio.sleep(EVERY_SECONDS)
        before = resident()
        if before is None or before - begun_with < WORTH_BYTES:
            continue
        trim = find()
        if trim is None:
            return
        await asyncio.to_thread(trim, 0)
        _log.debug(
            "returned memory", extra={"before_mib": before // MIB, "now_mib": (resident() or 0) // MIB}
        )
