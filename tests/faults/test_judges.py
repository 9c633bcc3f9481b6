"""What judges the runs: that it finds what it is there to find."""

from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.faults.chart import Line, Panel, nice_step, render
from tests.faults.holdings import Account, growth, leaks
from tests.faults.load import Book, Outcome
from tests.faults.overlaps import Written, find_overlap, written
from tests.faults.processes import Held
from tests.faults.tables import write_between_markers

SVG = "{http://www.w3.org/2000/svg}"
ONE, OTHER = "00000000-0000-0001", "00000000-0000-0002"


# Two stubs at once ---------------------------------------------------------------------------------


def line(process: str, number: int, at: str, reason: str = "") -> dict[str, object]:
    return {
        "auditID": f"{process}-{number:04}-000000000000",
        "requestReceivedTimestamp": f"2026-01-01T00:00:{at}Z",
        "annotations": {"reason": reason},
    }


def test_requests_of_one_stub_behind_another_are_no_overlap() -> None:
    found = find_overlap([Written(ONE, 1, 2), Written(ONE, 2, 3), Written(OTHER, 4, 5)])
    assert (found.requests, found.turns, found.proven, found.late_seconds) == (3, 1, 0, 0.0)


def test_a_request_that_was_only_late_on_its_way_proves_nothing() -> None:
    found = find_overlap([Written(ONE, 1, 2), Written(OTHER, 4, 5), Written(ONE, 3, 5.5)])
    assert (found.proven, found.late_seconds) == (0, 0.5)


def test_a_request_that_came_in_behind_the_next_stubs_first_one_proves_an_overlap() -> None:
    found = find_overlap([Written(ONE, 1, 2), Written(OTHER, 4, 5), Written(ONE, 6, 7)])
    assert found.proven == 1


def test_what_agents_refuse_for_its_epoch_is_counted_apart() -> None:
    found = find_overlap([Written(ONE, 1, 2), Written(OTHER, 4, 5), Written(ONE, 6, 7, fenced=True)])
    assert (found.proven, found.fenced) == (0, 1)


def test_the_logs_of_both_sides_say_between_which_moments_a_request_was_written() -> None:
    agents = [
        line(ONE, 2, "03.000000", "agent: this stub is no longer the active one"),
        line(ONE, 1, "02.000000"),
        line(ONE, 0, "00.500000"),
    ]
    early, late = written(agents, [line(ONE, 1, "01.750000")], since=1767225601.0)
    assert (early.process, early.before - early.after, early.fenced) == (ONE, 0.25, False)
    assert (late.before - late.after, late.fenced) == (0, True)


# Answers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("problem", "times", "fine"),
    [("", 1, True), ("", 0, False), ("", 2, False), ("502", 0, True), ("502", 1, True), ("502", 2, False)],
)
def test_a_write_is_counted_once_where_it_was_answered_and_at_most_once_where_not(
    problem: str, times: int, fine: bool
) -> None:
    book = Book([Outcome("POST", "/", "name", 0, 1, problem=problem)])
    assert (book.miscounted(Counter(name=times)) == []) is fine


# What is held --------------------------------------------------------------------------------------


def test_memory_that_rises_behind_the_warm_up_is_no_noise() -> None:
    wobbling = [(float(n), 60 + n % 2) for n in range(100)]
    assert growth(wobbling).rise < growth(wobbling).allowed
    rising = [(float(n), 60 + n % 2 + n / 10) for n in range(100)]
    assert growth(rising).rise > growth(rising).allowed
    settling = [(float(n), min(40.0 + n, 70)) for n in range(100)]
    assert growth(settling).rise < growth(settling).allowed


def test_descriptors_that_no_channel_explains_and_tasks_that_stay_are_leaks() -> None:
    before = Account(Held(0, 40, {"a": 3}), explained=20)
    assert leaks("x", before, Account(Held(0, 60, {"a": 4}), explained=39)) == []
    assert len(leaks("x", before, Account(Held(0, 60, {"a": 3}), explained=20))) == 1
    assert len(leaks("x", before, Account(Held(0, 40, {"a": 3, "b": 9}), explained=20))) == 1


# What is shown -------------------------------------------------------------------------------------


def test_a_chart_has_every_line_within_its_panel() -> None:
    page = ElementTree.fromstring(
        render([Panel("a & b", [Line("one", [(0, 0), (5, 100)]), Line("two", [(1, 50)])])], "minutes")
    )
    lines = page.findall(f"{SVG}polyline")
    assert len(lines) == 2
    points = [
        float(number)
        for each in lines
        for pair in each.attrib["points"].split()
        for number in pair.split(",")
    ]
    assert min(points) >= 0
    assert max(points) <= 860


@pytest.mark.parametrize(("span", "step"), [(1.0, 0.2), (6, 1), (7, 2), (130, 50), (0.05, 0.01)])
def test_ticks_are_round_numbers(span: float, step: float) -> None:
    assert nice_step(span) == pytest.approx(step)


def test_only_what_is_between_the_markers_is_written_anew(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- a -->\nold\n<!-- /a -->\nafter\n")
    write_between_markers(page, {"a": "new"})
    write_between_markers(page, {"a": "newer"})
    assert page.read_text() == "before\n<!-- a -->\n\nnewer\n\n<!-- /a -->\nafter\n"
    with pytest.raises(ValueError, match="<!-- b -->"):
        write_between_markers(page, {"b": ""})
