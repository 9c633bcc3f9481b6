"""Which new connections get a handshake."""

import math
from dataclasses import dataclass

from tunnel.aio.admittance import (
    BURST_SECONDS,
    PATIENCE_SECONDS,
    Admittance,
    HandshakeLimits,
    TurnedAway,
)


@dataclass(eq=False)
class Connecting:
    """A connection in its handshake."""

    peer: str = "192.0.2.1"
    waits_for_peer: bool = True
    waiting_since: float = -math.inf


def taken(admittance: Admittance[Connecting], count: int, peer: str, now: float = 0.0) -> list[object]:
    """Offer so many connections; return what was said of each."""
    said = [admittance.admit(Connecting(peer), now) for _ in range(count)]
    return [each and each[1] for each in said]


def test_below_its_limits_it_takes_all() -> None:
    admittance = Admittance[Connecting](HandshakeLimits(pending=3))
    assert taken(admittance, 3, "192.0.2.1") == [None] * 3
    assert len(admittance) == 3
    assert not admittance.turned_away


def test_the_oldest_of_the_most_crowded_address_gives_way() -> None:
    admittance = Admittance[Connecting](HandshakeLimits(pending=3))
    honest, first, second = Connecting("198.51.100.1"), Connecting(), Connecting()
    for each in (honest, first, second):
        admittance.admit(each, 0.0)
    newcomer = Connecting("203.0.113.1")
    assert admittance.admit(newcomer, 0.0) == (first, TurnedAway.GAVE_WAY)
    assert admittance.pending() == (honest, second, newcomer)
    assert admittance.turned_away == {TurnedAway.GAVE_WAY: 1}


def test_addresses_of_one_ipv6_network_are_one_crowd() -> None:
    admittance = Admittance[Connecting](HandshakeLimits(pending=3))
    honest, crowd = Connecting("192.0.2.1"), [Connecting(f"2001:db8::{number}") for number in (1, 2)]
    for each in (honest, *crowd):
        admittance.admit(each, 0.0)
    closed = admittance.admit(Connecting("2001:db8::3"), 0.0)
    assert closed == (crowd[0], TurnedAway.GAVE_WAY)


def test_where_all_are_at_work_the_newcomer_is_turned_away() -> None:
    admittance = Admittance[Connecting](HandshakeLimits(pending=1))
    admittance.admit(Connecting(waits_for_peer=False), 0.0)
    newcomer = Connecting("203.0.113.1")
    assert admittance.admit(newcomer, 0.0) == (newcomer, TurnedAway.CROWD)
    assert newcomer not in admittance.pending()


def test_a_handshake_that_has_begun_keeps_its_place_while_its_peer_may_still_answer() -> None:
    admittance = Admittance[Connecting](HandshakeLimits(pending=2))
    begun, silent = Connecting(waiting_since=5.0), Connecting()
    admittance.admit(begun, 5.0)
    admittance.admit(silent, 5.0)
    now = 5.0 + PATIENCE_SECONDS / 2
    assert admittance.admit(Connecting(waits_for_peer=False), now) == (silent, TurnedAway.GAVE_WAY)
    newcomer = Connecting()
    assert admittance.admit(newcomer, now) == (newcomer, TurnedAway.CROWD)
    assert admittance.admit(newcomer, 5.0 + PATIENCE_SECONDS) == (begun, TurnedAway.GAVE_WAY)


def test_where_nobody_of_the_largest_crowd_may_go_the_next_one_gives_way() -> None:
    admittance = Admittance[Connecting](HandshakeLimits(pending=3))
    for _ in range(2):
        admittance.admit(Connecting(waits_for_peer=False), 0.0)
    silent = Connecting("198.51.100.1")
    admittance.admit(silent, 0.0)
    assert admittance.admit(Connecting(), 0.0) == (silent, TurnedAway.GAVE_WAY)


def test_a_handshake_that_is_over_gives_its_place_back_however_often_that_is_said() -> None:
    admittance = Admittance[Connecting](HandshakeLimits(pending=1))
    stream = Connecting()
    admittance.admit(stream, 0.0)
    admittance.over(stream)
    admittance.over(stream)
    assert taken(admittance, 1, "192.0.2.1") == [None]


def test_an_address_may_begin_so_many_in_a_second_and_a_burst() -> None:
    admittance = Admittance[Connecting](HandshakeLimits(per_address=2))
    burst = int(2 * BURST_SECONDS)
    assert taken(admittance, burst + 1, "192.0.2.1") == [None] * burst + [TurnedAway.ADDRESS_RATE]
    assert taken(admittance, 1, "198.51.100.1") == [None]
    assert taken(admittance, 3, "192.0.2.1", now=1.0) == [None, None, TurnedAway.ADDRESS_RATE]


def test_all_together_may_begin_so_many_in_a_second() -> None:
    admittance = Admittance[Connecting](HandshakeLimits(per_second=1))
    burst = int(BURST_SECONDS)
    assert [taken(admittance, 1, f"192.0.2.{number}") for number in range(burst)] == [[None]] * burst
    assert taken(admittance, 1, "198.51.100.1") == [TurnedAway.TOTAL_RATE]


def test_what_an_address_is_refused_is_not_taken_from_the_others() -> None:
    admittance = Admittance[Connecting](HandshakeLimits(per_second=2, per_address=1))
    taken(admittance, 100, "192.0.2.1")
    assert taken(admittance, 5, "198.51.100.1") == [None] * 5
