"""A recording: what one or several runs measured, with what is needed to understand it; kept as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from tests.bench.processes import BenchFailed

Rounds = list[dict[str, dict[str, Any]]]


@dataclass(kw_only=True)
class Recording:
    """See the module.

    Attributes:
        recorded: when, in UTC.
        command: that made it.
        commit: of this project.
        load: who the users were.
        machine, versions, peer_versions: what it ran on.
        configuration: what `--print-config` shows for the stub and the agent that were measured.
        systems: rounds by system.
        own: rounds of what cluster-tunnel alone is measured by.
        callbacks: microseconds, frames and bytes a second of the core without connections.
    """

    recorded: str = ""
    command: str = ""
    commit: str = ""
    load: str = ""
    machine: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    peer_versions: dict[str, str] = field(default_factory=dict)
    configuration: dict[str, str] = field(default_factory=dict)
    systems: dict[str, Rounds] = field(default_factory=dict)
    own: Rounds = field(default_factory=list)
    callbacks: dict[str, float] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return what a file holds: a recording, or the bare rounds by system that an outside program has written.

        Raises:
            BenchFailed: it holds neither.
        """
        try:
            content = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise BenchFailed(f"{path}: {error}") from None
        known = {each.name for each in fields(cls)}
        if isinstance(content, dict) and content.keys() <= known:
            return cls(**content)
        if not isinstance(content, dict) or not all(_are_rounds(each) for each in content.values()):
            raise BenchFailed(f"{path}: neither a recording nor rounds by system")
        written = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        return cls(recorded=written.strftime("%Y-%m-%dT%H:%M:%SZ"), systems=content)

    def add(self, other: Self) -> None:
        """Take over the rounds of another recording, and the facts that this one lacks."""
        for name, rounds in other.systems.items():
            self.systems.setdefault(name, []).extend(rounds)
        self.own += other.own
        for each in fields(self):
            if not getattr(self, each.name):
                setattr(self, each.name, getattr(other, each.name))

    def write(self, path: Path) -> None:
        """Write it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")


def _are_rounds(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(each, dict) and all(isinstance(figures, dict) for figures in each.values())
        for each in value
    )


def read_all(paths: Sequence[Path]) -> Recording:
    """Return several recordings as one; the first one's facts count. Raises BenchFailed."""
    together = Recording.read(paths[0])
    for path in paths[1:]:
        together.add(Recording.read(path))
    return together
