"""The shared read buffer."""

import threading

import pytest

from tunnel.aio.readbuffer import INCOMING_BYTES, MOST_SHARES, READ_BUFFER, RECORD_BYTES, ReadBuffer


def test_windows_of_one_size_are_one_object() -> None:
    assert READ_BUFFER.window(1000) is READ_BUFFER.window(1000)
    assert len(READ_BUFFER.window(1000)) == 1000


@pytest.mark.parametrize("size", [0, -1, INCOMING_BYTES + 1])
def test_a_window_that_does_not_fit_is_refused_by_its_size(size: int) -> None:
    with pytest.raises(ValueError, match=f"a read budget of {size} bytes"):
        READ_BUFFER.window(size)


def test_the_plaintext_of_the_largest_read_and_a_record_begun_before_it_fits() -> None:
    assert len(READ_BUFFER.plaintext) >= INCOMING_BYTES + RECORD_BYTES


def test_another_thread_has_another_buffer() -> None:
    others: list[memoryview] = []
    thread = threading.Thread(target=lambda: others.append(READ_BUFFER.window(10)))
    thread.start()
    thread.join()
    others[0][:] = b"y" * 10
    READ_BUFFER.window(10)[:] = b"x" * 10
    assert bytes(others[0]) == b"y" * 10


def turn(buffer: ReadBuffer, streams: int) -> int:
    """What each of `streams` that have read all they may gets for the next turn."""
    for _ in range(streams):
        buffer.filled()
    shares = {buffer.share() for _ in range(streams)}
    assert len(shares) == 1
    return shares.pop()


def test_streams_for_bulk_share_a_turn_among_those_that_read_all_they_may() -> None:
    buffer = ReadBuffer()
    assert [turn(buffer, streams) * streams for streams in (1, 2, MOST_SHARES)] == [INCOMING_BYTES] * 3


def test_a_share_has_a_smallest_size_however_many_read() -> None:
    assert turn(ReadBuffer(), 1000) == INCOMING_BYTES // MOST_SHARES


def test_a_crowd_that_pauses_for_a_turn_is_still_reckoned_with() -> None:
    buffer = ReadBuffer()
    turn(buffer, 4)
    assert [turn(buffer, 1) for _ in range(4)] == [INCOMING_BYTES // left for left in (3, 2, 1, 1)]
    assert turn(buffer, 4) == INCOMING_BYTES // 4
