"""The deadline that a stub's processes share."""

import multiprocessing
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection

import pytest

from stub.election.loop import boottime
from stub.workers import term as term_module
from stub.workers.term import SharedTerm


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock: its first number is the time."""
    now = [100.0]
    monkeypatch.setattr(term_module, "boottime", lambda: now[0])
    return now


def test_no_term_is_under_way_at_first() -> None:
    assert not SharedTerm().holds(0)


def test_a_term_is_held_until_its_deadline_passes_though_nobody_says_so(time: list[float]) -> None:
    term = SharedTerm()
    term.begin(4)
    assert not term.holds(4), "it has no deadline yet"
    term.extend(110.0)
    assert term.holds(4)
    time[0] = 109.999
    assert term.holds(4)
    time[0] = 110.0
    assert not term.holds(4)


def test_each_renewal_moves_the_deadline_and_the_end_takes_it_away(time: list[float]) -> None:
    term = SharedTerm()
    term.begin(4)
    term.extend(110.0)
    time[0] = 109.0
    term.extend(119.0)
    time[0] = 111.0
    assert term.holds(4)
    term.extend(None)
    assert not term.holds(4)


def test_a_worker_that_has_not_heard_of_the_next_term_does_not_answer_in_it(time: list[float]) -> None:
    term = SharedTerm()
    term.begin(4)
    term.extend(110.0)
    term.begin(6)
    term.extend(120.0)
    assert (term.holds(4), term.holds(6)) == (False, True)


@pytest.fixture(scope="module", autouse=True)
def multiprocessing_has_its_tracker() -> None:
    """It starts one process with a pipe to it, and keeps both until this process ends."""
    resource_tracker.ensure_running()


def _answer(term: SharedTerm, parent: Connection) -> None:
    """A worker: says whether the term is held, each time that it is asked."""
    while parent.recv():
        parent.send(term.holds(7))


def test_another_process_sees_it_at_once() -> None:
    term = SharedTerm()
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_answer, args=(term, theirs))
    process.start()
    found = []
    for step in (
        lambda: None,
        lambda: term.begin(7),
        lambda: term.extend(boottime() + 60),
        lambda: term.extend(None),
    ):
        step()
        ours.send(True)
        found.append(ours.recv())
    ours.send(False)
    process.join()
    process.close()
    for end in (ours, theirs):
        end.close()
    assert found == [False, False, True, False]
