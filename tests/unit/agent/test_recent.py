"""Which answers may be lost with their channel."""

from agent.recent import ARRIVED_SECONDS, MOST, RecentAnswers
from tunnel.core.identifiers import RequestId


def added(times: list[float]) -> RecentAnswers:
    recent = RecentAnswers()
    for number, now in enumerate(times, 1):
        recent.add(RequestId(number), now)
    return recent


def test_answers_are_remembered_in_order_until_they_have_arrived() -> None:
    recent = added([100, 100, 100 + ARRIVED_SECONDS])
    assert recent.take(100 + ARRIVED_SECONDS) == [1, 2, 3]
    assert recent.take(100 + ARRIVED_SECONDS) == []


def test_an_answer_is_never_forgotten_before_it_has_arrived() -> None:
    for gap in (0.0, 1.0, ARRIVED_SECONDS / 2, ARRIVED_SECONDS - 0.1):
        recent = added([100, 100 + gap])
        assert recent.take(100 + ARRIVED_SECONDS - 0.01) == [1, 2]


def test_answers_that_have_arrived_are_forgotten() -> None:
    assert added([100]).take(100 + 2 * ARRIVED_SECONDS) == []
    assert added([100, 100 + 2 * ARRIVED_SECONDS]).take(100 + 2 * ARRIVED_SECONDS) == [2]


def test_the_latest_are_remembered_and_never_more_than_twice_as_many() -> None:
    found = added([100.0] * (5 * MOST + 7)).take(100)
    assert MOST <= len(found) <= 2 * MOST
    assert found == list(range(5 * MOST + 8 - len(found), 5 * MOST + 8))
