"""The loop's transport under a stream: asked once for each change, and only while it is there."""

import asyncio
from typing import Any, cast

import pytest

from tunnel.aio.transport import StreamTransport


class Lower:
    """A transport that keeps what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.closing = False
        self.seen_sending: bool | None = None
        self.upper: StreamTransport | None = None

    def get_extra_info(self, name: str) -> Any:
        return ("2001:db8::1", 4711, 0, 0) if name == "peername" else None

    def set_write_buffer_limits(self, high: int, low: int) -> None:
        self.asked.append(f"limits {high} {low}")

    def get_write_buffer_size(self) -> int:
        return 7

    def is_closing(self) -> bool:
        return self.closing

    def write(self, data: bytes) -> None:
        assert self.upper is not None
        self.seen_sending = self.upper.sending
        raise OSError

    def __getattr__(self, name: str) -> Any:
        return lambda *_: self.asked.append(name)


@pytest.fixture
def lower() -> Lower:
    return Lower()


@pytest.fixture
def upper(lower: Lower) -> StreamTransport:
    upper = lower.upper = StreamTransport()
    assert upper.made(cast("asyncio.BaseTransport", lower), 1000) == "2001:db8::1"
    assert lower.asked == ["limits 1000 250"]
    lower.asked.clear()
    return upper


def test_reading_is_paused_and_resumed_once_each(upper: StreamTransport, lower: Lower) -> None:
    upper.resume_reading()
    for step in (upper.pause_reading, upper.resume_reading):
        step()
        step()
    assert lower.asked == ["pause_reading", "resume_reading"]


def test_behind_the_peers_fin_nothing_is_read(upper: StreamTransport, lower: Lower) -> None:
    upper.pause_reading()
    upper.fin_seen = True
    upper.resume_reading()
    assert lower.asked == ["pause_reading"]


def test_a_transport_that_closes_is_not_asked_for_a_fin(upper: StreamTransport, lower: Lower) -> None:
    upper.write_eof()
    lower.closing = True
    upper.write_eof()
    assert (lower.asked, upper.closing) == (["write_eof"], True)


def test_it_is_sending_during_a_write_alone_even_one_that_fails(upper: StreamTransport, lower: Lower) -> None:
    with pytest.raises(OSError):  # noqa: PT011 has no text
        upper.write(b"data")
    assert (lower.seen_sending, upper.sending) == (True, False)


def test_before_and_behind_the_connection_nothing_is_asked_of_it(
    upper: StreamTransport, lower: Lower
) -> None:
    assert (upper.open, upper.waiting_bytes) == (True, 7)
    upper.lost()
    for each in (upper, StreamTransport()):
        for step in (each.pause_reading, each.resume_reading, each.write_eof, each.close, each.abort):
            step()
        each.close_by_reset()
        assert (each.open, each.waiting_bytes, each.closing) == (False, 0, True)
    assert lower.asked == []
