"""Generated parts of pages, among what is written by hand."""

from pathlib import Path

import pytest

from tests.bench.pages import put, table
from tests.bench.processes import BenchFailed

PAGE = "# Title\n\n<!-- figures: begin (made by x) -->\n\nold\n\n<!-- figures: end -->\n\n## By hand\n"


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "page.md"
    path.write_text(PAGE)
    return path


def test_a_new_run_replaces_its_own_part_and_keeps_the_rest(page: Path) -> None:
    put(page, "figures", "new\\1\n")
    assert page.read_text() == PAGE.replace("old", "new\\1")
    put(page, "figures", "old")
    assert page.read_text() == PAGE


@pytest.mark.parametrize("text", ["", PAGE.replace("figures", "growth"), PAGE + PAGE])
def test_a_page_without_one_place_for_it_is_left_alone(page: Path, text: str) -> None:
    page.write_text(text)
    with pytest.raises(BenchFailed, match="figures: begin"):
        put(page, "figures", "new")
    assert page.read_text() == text


def test_a_missing_page_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(BenchFailed, match=r"none\.md"):
        put(tmp_path / "none.md", "figures", "new")


def test_a_table_has_a_line_below_its_header() -> None:
    assert table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"
