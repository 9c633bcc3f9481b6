"""What judges the runs: that it finds what it is there to find."""

import ssl
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.faults.chart import Line, Panel, nice_step, render
from tests.faults.fleet import Fleet, Plan
from tests.faults.holdings import MIB, Account, growth, leaks
from tests.faults.http import Answer, Broken
from tests.faults.load import Book, Client, Outcome, Wish, fulfil, get, post
from tests.faults.mischief import Mischief, Window
from tests.faults.overlaps import Written, find_overlap, written
from tests.faults.processes import Held
from tests.faults.streams import Log, Watch, WrongBytes
from tests.faults.tables import write_between_markers
from tests.faults.verdict import Verdict

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


class Told(Client):
    """A user who is given one answer, or one error."""

    def __init__(self, answer: Answer | Exception) -> None:
        super().__init__(lambda: 0, ssl.create_default_context())
        self._answer = answer

    async def ask_once(self, method: str, target: str, body: bytes = b"") -> Answer:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


READ, WRITE = get("a", 10), post("b")


@pytest.mark.parametrize(
    ("wish", "answer", "failed", "wrong"),
    [
        (READ, Answer(200, {}, READ.expected), False, False),
        (WRITE, Answer(201, {}, WRITE.expected), False, False),
        (READ, Answer(200, {}, READ.expected[:-1]), True, True),
        (READ, Answer(200, {}, get("c", 10).expected), True, True),
        (WRITE, Answer(200, {}, WRITE.expected), True, True),
        (READ, Answer(502, {}), True, False),
        (READ, Broken("the answer is cut"), True, False),
        (READ, ConnectionRefusedError(), True, False),
    ],
)
async def test_an_answer_that_is_neither_right_nor_visibly_a_failure_is_wrong(
    wish: Wish, answer: Answer | Exception, failed: bool, wrong: bool
) -> None:
    outcome = await fulfil(Told(answer), wish)
    assert (bool(outcome.problem), outcome.wrong) == (failed, wrong)


def test_a_stream_that_leaves_a_line_out_or_tells_one_twice_is_wrong() -> None:
    for second in (1, 3):
        stream = Watch(Told(Answer(200, {})))
        stream.check(stream.line(1))
        with pytest.raises(WrongBytes):
            stream.check(stream.line(second))


async def test_a_log_that_ends_cleanly_is_wrong_since_its_pod_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def read(self: Log, connection: object) -> None:
        """As to the end of a body."""

    monkeypatch.setattr(Log, "_read", read)
    with pytest.raises(WrongBytes):
        await Log(Told(Answer(200, {}))).follow(None)  # type: ignore[arg-type]


# The verdict of a soak -----------------------------------------------------------------------------

HELD = Account(Held(0, 40, {"a": 3}, 9000), explained=20)
MORE = Account(Held(0, 60, {"a": 3}, 9000), explained=20)


def excused(began: float, ended: float) -> str:
    return "kill a stub"


def unexcused(began: float, ended: float) -> None:
    """Nothing was done."""


def outcome(problem: str = "", wrong: bool = False, method: str = "GET") -> Outcome:
    return Outcome(method, "/", "", 0, 1, problem=problem, wrong=wrong)


@pytest.mark.parametrize(
    "find",
    [
        lambda verdict: verdict.judge_outcomes([outcome("wrong bytes", wrong=True)], excused),
        lambda verdict: verdict.judge_outcomes([outcome("502")], unexcused),
        lambda verdict: verdict.judge_writes(["b: created 2 times"]),
        lambda verdict: verdict.judge_recovery("kill a stub", "stub-0 has no agents"),
        lambda verdict: verdict.judge_leaks({"x": HELD}, {"x": MORE}),
    ],
    ids=["wrong bytes", "failed without a fault", "miscounted", "not recovered", "leaked"],
)
def test_each_thing_that_must_not_be_lets_a_soak_fail(find: Callable[[Verdict], None]) -> None:
    verdict = Verdict()
    find(verdict)
    assert len(verdict.faults) == 1
    assert verdict.exit_code == 1


def test_a_soak_passes_where_all_is_right_and_what_failed_has_its_cause() -> None:
    verdict = Verdict()
    verdict.judge_outcomes([outcome()], unexcused)
    verdict.judge_outcomes([outcome("502"), outcome("cut", method="log")], excused)
    verdict.judge_writes([])
    verdict.judge_leaks({"x": HELD}, {"x": HELD})
    assert verdict.exit_code == 0
    assert verdict.excused == {("kill a stub", "requests"): 1, ("kill a stub", "streams"): 1}


def test_a_failure_is_excused_only_beside_a_fault_that_can_be_noticed(tmp_path: Path) -> None:
    mischief = Mischief(Fleet(tmp_path, Plan()), seed=1)
    mischief.windows = [Window("kill a stub", 10, 20), Window("fill the disk", 30, 40)]
    assert mischief.excuse(19, 25) == "kill a stub"
    assert mischief.excuse(5, 50) == "kill a stub"
    assert mischief.excuse(25, 26) is None
    assert mischief.excuse(31, 39) is None


# What is held --------------------------------------------------------------------------------------


def test_growth_is_what_rises_behind_the_warm_up() -> None:
    wobbling = [(float(n), 60 + n % 2) for n in range(100)]
    assert abs(growth(wobbling).rise) < 0.1
    assert growth(wobbling).noise == pytest.approx(0.5, rel=0.1)
    rising = [(float(n), 60 + n % 2 + n / 10) for n in range(100)]
    assert growth(rising).rise == pytest.approx(5.9, rel=0.1)
    settling = [(float(n), min(40.0 + n, 70)) for n in range(100)]
    assert growth(settling).rise == 0


def test_descriptors_that_no_channel_explains_and_tasks_objects_and_memory_that_stay_are_leaks() -> None:
    before = Account(Held(0, 40, {"a": 3}, 9000), explained=20)
    assert leaks("x", before, Account(Held(0, 60, {"a": 4}, 19000), explained=39)) == []
    assert len(leaks("x", before, Account(Held(0, 60, {"a": 3}, 9000), explained=20))) == 1
    assert len(leaks("x", before, Account(Held(0, 40, {"a": 3, "b": 9}, 9000), explained=20))) == 1
    assert len(leaks("x", before, Account(Held(0, 40, {"a": 3}, 50_000), explained=20))) == 1
    assert len(leaks("x", before, Account(Held(30 * MIB, 40, {"a": 3}, 9000), explained=20))) == 1


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
