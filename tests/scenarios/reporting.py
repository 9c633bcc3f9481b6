"""What scenarios measured, shown at the end of a run."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

_PREFIX = "measured: "

Record = Callable[[str, object], None]


def record_measurements(measured: Mapping[str, float], path: str, record_property: Record) -> None:
    """Keep what was measured on this path with the test's report, whichever process runs the test."""
    for name, value in measured.items():
        record_property(f"{_PREFIX}{name}; {path}", value)


def write_measurements(terminal: Any, folder: str) -> None:
    """Print lowest, median and highest of what the tests of this folder measured."""
    values = defaultdict(list)
    for report in (report for reports in terminal.stats.values() for report in reports):
        if getattr(report, "when", "") == "call" and report.nodeid.startswith(folder):
            for name, value in report.user_properties:
                if name.startswith(_PREFIX):
                    values[name.removeprefix(_PREFIX)].append(value)
    if values:
        terminal.section(f"measured in {folder}")
    for name in sorted(values):
        ordered = sorted(values[name])
        low, middle, high = ordered[0], ordered[len(ordered) // 2], ordered[-1]
        terminal.line(f"{name}: {middle:.1f} ({low:.1f} to {high:.1f}, {len(ordered)} runs)")
