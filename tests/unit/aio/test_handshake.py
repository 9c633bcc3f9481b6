"""When a step of a handshake is worth a thread, and what the threads do to a loop that is gone."""

import pytest

from tunnel.aio.handshake import THREADS, handshake_threads, worth_a_step


@pytest.mark.parametrize(
    ("kept", "worth"),
    [
        (b"", False),
        (b"\x16", False),
        (b"\x16\x03\x01\x00", False),
        (b"\x16\x03\x01\x00\x02\x01", False),
        (b"\x16\x03\x01\x00\x02\x01\x02", True),
        (b"\x15\x03\x01\x00\x02\x02\x28", True),
        (b"\x16\x03\x01\x00\x02\x01\x02\x16", True),
        (b"G", True),
        (b"\x00", True),
        (b"\x80", True),
    ],
)
def test_a_step_is_taken_for_a_whole_record_and_for_what_never_becomes_one(kept: bytes, worth: bool) -> None:
    assert worth_a_step(bytearray(kept)) is worth


def test_a_record_larger_than_any_is_not_waited_for() -> None:
    assert worth_a_step(bytearray(b"\x16\x03\x01\xff\xff"))


def test_the_process_has_one_pool_of_threads() -> None:
    assert handshake_threads() is handshake_threads()
    assert handshake_threads()._max_workers == THREADS
