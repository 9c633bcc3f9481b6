"""docs/watching.md lists each number and each field that a stub shows, and no other."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "watching.md").read_text()
SOURCES = [ROOT / "stub" / "measures.py", ROOT / "tunnel" / "aio" / "workers" / "admin.py"]


def rows(heading: str) -> set[str]:
    """What the first column of a section's table names."""
    section = PAGE[PAGE.index(heading) :].partition("\n## ")[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return {name for cell in cells for name in re.findall(r"`(\w+)", cell)}


def test_each_metric_is_listed() -> None:
    found: set[str] = set()
    for path in SOURCES:
        pattern = r"(Counter|Gauge|Histogram)MetricFamily\(\s*(?:PREFIX|self\._prefix) \+ \"(\w+)\""
        for kind, name in re.findall(pattern, path.read_text()):
            found.add(f"{name}_total" if kind == "Counter" else name)
    assert len(found) > 15
    assert rows("## Metrics") == found


def test_each_field_of_a_session_is_listed() -> None:
    shown = set(re.findall(r'^ +"(\w+)":', (ROOT / "stub" / "listing.py").read_text(), re.MULTILINE))
    assert len(shown) > 10
    assert rows("## Which agents are connected") == shown | {"worker"}
