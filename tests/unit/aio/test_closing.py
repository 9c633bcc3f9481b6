"""How a connection has ended, and what its owner is told; the clock of a close is tried on a stream (test_basestream.py)."""

import pytest

from tunnel.aio.closing import Ending, Peer
from tunnel.aio.errors import TruncatedError

RESET = ConnectionResetError("reset")
BROKEN = ValueError("broken")


@pytest.mark.parametrize(
    ("state", "lost", "told"),
    [
        ({"peer": Peer.ENDED}, None, None),
        ({"closing": True}, None, None),
        ({"closing": True}, RESET, RESET),
        ({}, RESET, RESET),
        ({"aborted": True}, RESET, None),
        ({"error": BROKEN}, RESET, BROKEN),
        ({"error": BROKEN, "aborted": True}, None, BROKEN),
    ],
    ids=str,
)
def test_the_owner_is_told_what_broke_the_connection_and_of_no_reset_that_is_its_own_doing(
    state: dict[str, object], lost: Exception | None, told: Exception | None
) -> None:
    ending = Ending()
    for name, value in state.items():
        setattr(ending, name, value)
    assert ending.outcome(lost) is told


@pytest.mark.parametrize("peer", [Peer.SENDS, Peer.TRUNCATED])
def test_an_end_that_nobody_has_said_is_a_truncation(peer: Peer) -> None:
    ending = Ending()
    ending.peer = peer
    assert isinstance(ending.outcome(None), TruncatedError)


def test_the_first_reason_counts_and_none_behind_an_abort() -> None:
    failed, aborted = Ending(), Ending()
    aborted.aborted = True
    for ending in (failed, aborted):
        ending.fail(BROKEN)
        ending.fail(RESET)
        assert ending.closing
    assert (failed.error, aborted.error) == (BROKEN, None)


def test_both_have_ended_only_once_each_knows_of_the_other_and_nobody_closes_yet() -> None:
    ending = Ending()
    ending.sent = True
    assert not ending.both_ended
    ending.peer_told = True
    assert ending.both_ended
    ending.closing = True
    assert not ending.both_ended
