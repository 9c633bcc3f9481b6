"""Who has a session, who is missed, and who is told."""

from typing import Any, cast

import pytest

from agent.dialling.roster import MISSED_SECONDS, Roster, Worker, worker_of
from tests.unit.fakes import Clock
from tunnel.core.wire.control import StubHello

NAME = "stub.example.com"
A0, A1, B0 = Worker(NAME, "a", 0), Worker(NAME, "a", 1), Worker(NAME, "b", 0)


class Session:
    """As much of a session as a roster looks at."""

    def __init__(self, hello: StubHello) -> None:
        self.stub = hello


class Told:
    """A seeker that remembers."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Worker]] = []

    def worker_lost(self, worker: Worker) -> None:
        self.heard.append(("lost", worker))

    def worker_draining(self, worker: Worker) -> None:
        self.heard.append(("drains", worker))


@pytest.fixture
async def roster(clock: Clock) -> Roster:
    return Roster()


def file(roster: Roster, instance: str, worker: int = 0, *instances: str) -> Any:
    hello = StubHello(instance, worker, instances)
    session = cast("Any", Session(hello))
    roster.file(worker_of(NAME, hello), session)
    return session


async def test_each_worker_of_a_stub_has_a_session_of_its_own(roster: Roster) -> None:
    first, second = file(roster, "a", 0), file(roster, "a", 1)
    assert (roster.session_with(A0), roster.session_with(A1)) == (first, second)
    assert roster.session_with(B0) is None
    assert roster.workers == {A0, A1}
    assert roster.counts.filed == 2


async def test_seekers_hear_of_a_session_that_is_over_and_not_of_one_that_was_never_filed(
    roster: Roster,
) -> None:
    told = Told()
    roster.seekers.add(told)
    session = file(roster, "a")
    roster.remove(A0, cast("Any", Session(StubHello("a"))))
    assert roster.session_with(A0) is session
    roster.drains(A0)
    roster.remove(A0, session)
    assert told.heard == [("drains", A0), ("lost", A0)]
    assert roster.workers == set()


async def test_instances_that_were_named_and_have_no_session_are_missing(
    roster: Roster, clock: Clock
) -> None:
    file(roster, "a", 0, "a", "b", "c")
    assert roster.missing == {"b", "c"}
    file(roster, "b", 0, "a", "b")
    assert roster.missing == {"c"}
    await clock.advance(MISSED_SECONDS)
    assert roster.missing == set()


async def test_an_instance_misses_workers_until_as_many_as_it_has_have_a_session(roster: Roster) -> None:
    for number in range(2):
        hello = StubHello("a", number, workers=2)
        assert roster.misses_workers({A0, B0}) == (number == 1)
        roster.file(worker_of(NAME, hello), cast("Any", Session(hello)))
    assert not roster.misses_workers({A0, B0})
    hello = StubHello("b", 1, workers=2)
    roster.file(worker_of(NAME, hello), cast("Any", Session(hello)))
    assert roster.misses_workers({B0})
    assert not roster.misses_workers({A0}), "b's are for others to look for"


async def test_a_stub_of_another_name_neither_fills_nor_opens_a_gap_by_what_it_claims(roster: Roster) -> None:
    file(roster, "a")
    claimed = StubHello("a", 1, workers=9)
    roster.file(worker_of("other.example.com", claimed), cast("Any", Session(claimed)))
    assert not roster.misses_workers({A0})
    assert roster.session_with(A1) is None
