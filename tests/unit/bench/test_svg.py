"""The plots: they are well-formed, and their lengths and heights are true."""

from xml.etree import ElementTree

import pytest

from tests.bench.figures import Spread
from tests.bench.svg import LEFT, Line, bars, lines

NAME = "{http://www.w3.org/2000/svg}"


def parsed(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text)


def drawn_bars(root: ElementTree.Element) -> list[float]:
    return [
        float(each.attrib["width"]) for each in root.iter(f"{NAME}rect") if each.attrib.get("x") == f"{LEFT}"
    ]


def texts(root: ElementTree.Element) -> list[str]:
    return [each.text or "" for each in root.iter(f"{NAME}text")]


def points(root: ElementTree.Element) -> list[list[tuple[float, float]]]:
    found = []
    for line in root.iter(f"{NAME}polyline"):
        pairs = (pair.split(",") for pair in line.attrib["points"].split())
        found.append([(float(x), float(y)) for x, y in pairs])
    return found


def test_bars_are_as_long_as_their_medians() -> None:
    groups = {"GET": {"ours": Spread(100, 90, 110, 3), "theirs": Spread(50, 50, 50, 3)}}
    ours, theirs = drawn_bars(parsed(bars("requests/s", groups, "more")))
    assert ours == pytest.approx(2 * theirs, abs=0.2)


def test_bars_say_which_way_is_better_and_show_ranges_of_several_rounds_only() -> None:
    once = parsed(bars("t", {"g": {"a": Spread(1, 1, 1, 1)}}, "less"))
    often = parsed(bars("t", {"g": {"a": Spread(2, 1, 3, 3)}}, "less"))
    assert "less is better" in texts(once)
    assert [len(list(root.iter(f"{NAME}line"))) for root in (once, often)] == [0, 1]


def test_names_are_text_whatever_is_in_them() -> None:
    root = parsed(bars("a < b & c", {"<g>": {"<&>": Spread(0, 0, 0, 1)}}, "more"))
    assert {"a < b & c", "<g>", "<&>"} <= set(texts(root))


def test_what_is_flat_looks_flat_and_each_decade_is_as_wide_as_the_other() -> None:
    (line,) = points(parsed(lines("KiB", "clusters", [Line("stub", [(10, 5), (100, 5), (1000, 5)])])))
    (x1, y1), (x2, y2), (x3, y3) = line
    assert y1 == y2 == y3
    assert x2 - x1 == pytest.approx(x3 - x2, abs=0.2)


def test_twice_as_much_is_twice_as_high() -> None:
    (line,) = points(parsed(lines("KiB", "n", [Line("stub", [(1, 0), (10, 40), (100, 80)])])))
    (_, zero), (_, half), (_, whole) = line
    assert zero - whole == pytest.approx(2 * (zero - half), abs=0.2)


def test_one_point_and_nothing_but_zeros_can_be_drawn() -> None:
    root = parsed(lines("KiB", "n", [Line("a", [(10, 0)]), Line("b", [(10, 0)])]))
    assert len(points(root)) == 2
    assert {"a", "b", "10"} <= set(texts(root))
