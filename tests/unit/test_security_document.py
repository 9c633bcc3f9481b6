"""docs/security.md names a test for each defence; a name that is no test would be a claim without proof."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()


def test_each_test_that_the_page_names_exists() -> None:
    named = set(re.findall(r"`(test_[a-z0-9_]+)`", PAGE))
    written = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"def (test_[a-z0-9_]+)\(", path.read_text())
    }
    assert len(named) > 30
    assert named - written == set()


def test_each_file_that_the_page_names_exists() -> None:
    named = re.findall(r"(tests/[a-z0-9_/.]+\.py)", PAGE)
    assert [path for path in named if not (ROOT / path).is_file()] == []


def test_each_row_of_a_threat_names_a_test() -> None:
    threats = PAGE[PAGE.index("## Threats") : PAGE.index("### From one stub to another")]
    rows = [line for line in threats.splitlines() if line.startswith("| ") and "---" not in line]
    rows = [row for row in rows if not row.startswith("| threat |")]
    assert len(rows) > 20
    assert [row for row in rows if "test" not in row.split("|")[3]] == []
