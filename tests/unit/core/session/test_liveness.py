"""When a PING goes out and when the peer is given up, as numbers."""

from tunnel.core import limits
from tunnel.core.session.liveness import Liveness

START = 100.0
PING_AT = START + limits.PING_SECONDS


def pinged() -> Liveness:
    liveness = Liveness(START)
    assert liveness.ping_is_due(PING_AT)
    return liveness


def test_a_ping_is_due_after_its_interval_and_not_before() -> None:
    liveness = Liveness(START)
    assert not liveness.ping_is_due(PING_AT - 0.001)
    assert liveness.ping_is_due(PING_AT)
    assert not liveness.ping_is_due(PING_AT)


def test_pings_go_on_at_their_interval() -> None:
    liveness = pinged()
    liveness.heard(PING_AT + 0.1)
    assert not liveness.ping_is_due(PING_AT + limits.PING_SECONDS - 0.001)
    assert liveness.ping_is_due(PING_AT + limits.PING_SECONDS)


def test_a_peer_is_lost_when_a_ping_stays_unanswered() -> None:
    liveness = pinged()
    assert not liveness.lost(PING_AT + limits.PONG_SECONDS - 0.001)
    assert liveness.lost(PING_AT + limits.PONG_SECONDS)


def test_further_pings_do_not_put_the_end_off() -> None:
    liveness = pinged()
    assert liveness.ping_is_due(PING_AT + limits.PING_SECONDS)
    assert liveness.lost(PING_AT + limits.PONG_SECONDS)


def test_whatever_arrives_is_a_sign_of_life() -> None:
    liveness = pinged()
    liveness.heard(PING_AT + limits.PONG_SECONDS - 0.001)
    assert not liveness.lost(PING_AT + 10 * limits.PONG_SECONDS)


def test_a_ping_that_is_wanted_now_does_not_wait_for_its_interval() -> None:
    liveness = Liveness(START)
    liveness.doubt(START + 1)
    assert liveness.next_check == START + 1
    assert liveness.ping_is_due(START + 1)
    assert liveness.lost(START + 1 + limits.PONG_SECONDS)


def test_a_peer_owes_an_answer_from_the_ping_to_its_next_byte() -> None:
    assert Liveness(START).answering
    liveness = pinged()
    assert not liveness.answering
    liveness.heard(PING_AT + 0.1)
    assert liveness.answering


def test_a_silent_peer_is_not_lost_before_it_was_pinged() -> None:
    assert not Liveness(START).lost(START + 1000.0)


def test_a_dead_peer_is_noticed_within_fifteen_seconds_of_its_last_byte() -> None:
    assert limits.PING_SECONDS + limits.PONG_SECONDS <= 15.0


def test_the_next_check_is_the_ping_or_the_end_whichever_comes_first() -> None:
    liveness = Liveness(START)
    assert liveness.next_check == PING_AT
    liveness = pinged()
    assert liveness.next_check == PING_AT + limits.PING_SECONDS
    assert liveness.ping_is_due(PING_AT + limits.PING_SECONDS)
    assert liveness.next_check == PING_AT + limits.PONG_SECONDS
