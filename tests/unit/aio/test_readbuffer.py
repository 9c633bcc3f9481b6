"""The shared read buffer."""

import threading

import pytest

from tunnel.aio.readbuffer import INCOMING_BYTES, READ_BUFFER, RECORD_BYTES


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
