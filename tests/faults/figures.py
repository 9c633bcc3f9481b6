"""What was measured, as numbers that can be kept."""

import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tests.faults.losses import Killed, Vanished
from tests.faults.rollouts import Ending, Rollout
from tests.faults.takeovers import Frozen, Takeover

ROOT: Final = Path(__file__).parents[2]
PRODUCT: Final = ("agent", "certs", "stub", "tunnel")

Run = dict[str, Any]
Runs = Mapping[str, Sequence[Run]]
"""The runs of each scenario; one that did not come to its end holds only `error`."""


def origin(command: str) -> dict[str, str]:
    """Return where and of what figures are: machine, commit, date and command."""
    model = next(
        (line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "?"
    )
    return {
        "command": command,
        "machine": f"{os.cpu_count()} x {model}, Linux {platform.release()}, CPython {platform.python_version()}",
        "commit": _commit(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def _commit() -> str:
    """Return the commit, and whether the product, which is what was measured, was another one than that."""
    head = _git("rev-parse", "--short=12", "HEAD") or "unknown"
    return f"{head}-dirty" if _git("status", "--porcelain", "--", *PRODUCT) else head


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.strip()


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def takeover_run(found: Takeover, miscounted: Sequence[str]) -> Run:
    """Return the figures of a take-over."""
    return {
        "silence_seconds": round(found.silence, 3),
        "follows_seconds": round(found.follows, 3),
        "answered_by_both": found.both,
        "redialled": found.redialled,
        "overlap": asdict(found.overlap),
        "requests": len(found.book.outcomes),
        "failed": len(found.book.failed),
        "tried_again": found.book.retried,
        "slowest_seconds": round(found.book.slowest, 3),
        "miscounted": len(miscounted),
    }


def frozen_run(found: Frozen) -> Run:
    """Return the figures of a stub that stood still."""
    return {
        "statuses": [found.waiting.status, found.next.status],
        "overlap": asdict(found.overlap),
    }


def rollout_run(found: Rollout, miscounted: Sequence[str]) -> Run:
    """Return the figures of a rollout."""
    return {
        "seconds": round(found.seconds, 1),
        "requests": len(found.book.outcomes),
        "failed": len(found.book.failed),
        "tried_again": found.book.retried,
        "slowest_seconds": round(found.book.slowest, 3),
        "miscounted": len(miscounted),
    }


def endings_run(endings: Sequence[Ending]) -> Run:
    """Return how streams ended."""
    return {"endings": [{**asdict(ending), "seconds": round(ending.seconds, 2)} for ending in endings]}


def killed_run(found: Killed) -> Run:
    """Return the figures of an agent that was killed."""
    return {
        "out_seconds": round(found.out_seconds, 3),
        "gets": found.gets,
        "posts": found.posts,
        "tried_elsewhere": found.retried,
        "failed": len(found.failed),
        "failed_elsewhere": found.elsewhere,
        "miscounted": len(found.miscounted),
        "unlucky": len(found.unlucky),
    }


def vanished_run(found: Vanished, miscounted: Sequence[str]) -> Run:
    """Return the figures of an agent in a black hole."""
    return {
        "out_seconds": round(found.out_seconds, 2),
        "stuck": found.stuck,
        "unlucky": len(found.unlucky),
        "requests": len(found.book.outcomes),
        "failed": len(found.book.failed),
        "miscounted": len(miscounted),
    }
