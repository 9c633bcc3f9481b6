"""Control messages are few, so a peer that sends many of them means harm: each may take long to read."""

import pytest

from tests.unit.core.session.pair import Pair, greeted
from tunnel.core import limits
from tunnel.core.errors import PeerViolation
from tunnel.core.wire.control import Active, Drain, Reject, Report

MOST = limits.CONTROL_MESSAGES_PER_SECOND

at_both_ends = pytest.mark.parametrize(
    ("at_stub", "message"),
    [
        (True, Report()),
        (True, Drain()),
        (True, Reject("")),
        (False, Active("uid", 1)),
        (False, Drain()),
        (False, Reject("")),
    ],
    ids=lambda value: type(value).__name__,
)


def hear(pair: Pair, frame: bytes, *, at_stub: bool) -> None:
    (pair.agent if at_stub else pair.stub)._lane.queue(frame)
    (pair.to_stub if at_stub else pair.to_agent)()


@at_both_ends
def test_a_flood_of_control_messages_ends_the_session(
    at_stub: bool, message: Report | Drain | Reject | Active
) -> None:
    pair = greeted()
    hear(pair, message.encode() * MOST, at_stub=at_stub)
    with pytest.raises(PeerViolation, match=f"more than {MOST} control messages"):
        hear(pair, message.encode(), at_stub=at_stub)


@at_both_ends
def test_as_many_as_are_allowed_may_come_in_every_second(
    at_stub: bool, message: Report | Drain | Reject | Active
) -> None:
    pair = greeted()
    for _ in range(3):
        hear(pair, message.encode() * MOST, at_stub=at_stub)
        pair.now += 1.0
    assert (pair.at_stub if at_stub else pair.at_agent) == [message] * 3 * MOST


def test_frames_of_a_later_version_are_not_counted() -> None:
    pair = greeted()
    hear(pair, b"\x18\0\0\0\0" * 10 * MOST, at_stub=True)
    hear(pair, Report().encode(), at_stub=True)
    assert pair.at_stub == [Report()]
