"""Pages of which a part is generated: it stands between two comments, and what is written by hand around them stays."""

import re
from collections.abc import Sequence
from pathlib import Path

from tests.bench.processes import BenchFailed


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def put(page: Path, section: str, text: str) -> None:
    """Replace what stands between `<!-- SECTION: begin ... -->` and `<!-- SECTION: end -->`.

    Raises:
        BenchFailed: the page has no such comments, or more than one pair.
    """
    content = page.read_text() if page.is_file() else ""
    pattern = re.compile(rf"(<!-- {section}: begin\b[^\n]*-->\n).*?(<!-- {section}: end -->)", re.DOTALL)
    changed, count = pattern.subn(lambda found: f"{found[1]}\n{text.strip()}\n\n{found[2]}", content)
    if count != 1:
        raise BenchFailed(
            f"{page}: the comments `<!-- {section}: begin -->` and `<!-- {section}: end -->` are needed once, and are there "
            f"{count} times"
        )
    page.write_text(changed)
