"""Frames are counted within one second at a time."""

from tunnel.core.session.frame_rate import FrameRate


def test_as_many_as_allowed_are_taken_in_a_second() -> None:
    rate = FrameRate(3)
    assert [rate.take(10.0), rate.take(10.5), rate.take(10.9)] == [True] * 3
    assert not rate.take(10.99)


def test_a_new_second_begins_with_the_first_frame_behind_the_last() -> None:
    rate = FrameRate(2)
    assert [rate.take(10.0), rate.take(10.0), rate.take(10.0)] == [True, True, False]
    assert [rate.take(11.0), rate.take(11.9), rate.take(11.9)] == [True, True, False]


def test_a_peer_that_stays_at_the_limit_is_never_refused() -> None:
    rate = FrameRate(5)
    assert all(rate.take(10.0 + turn) for turn in range(100) for _ in range(5))
