"""What all streams share, tested on the plain one."""

import asyncio
from typing import Any

import pytest

from tests.unit.aio.transport import FakeTransport, Owner, turns
from tunnel.aio import basestream, closing
from tunnel.aio.errors import CloseTimeout, StreamError, TruncatedError
from tunnel.aio.plain import PlainStream
from tunnel.aio.readbuffer import INCOMING_BYTES, ReadBuffer
from tunnel.aio.sockets import PLAIN_LEG
from tunnel.core import limits


def connect(owner: Owner, **options: Any) -> tuple[PlainStream, FakeTransport]:
    stream = PlainStream(
        asyncio.get_running_loop(), lambda _: owner, lambda *_: None, options=PLAIN_LEG, **options
    )
    transport = FakeTransport(stream)
    stream.connection_made(transport)
    return stream, transport


async def test_opening_is_told_first_and_the_peer_is_known() -> None:
    owner = Owner()
    stream, transport = connect(owner)
    assert owner.calls == ["opened"]
    assert stream.peer == "192.0.2.7"
    assert transport.high == limits.WRITE_HIGH_BYTES


async def test_writes_of_one_turn_leave_as_one_at_its_end() -> None:
    stream, transport = connect(Owner())
    for word in (b"a", bytearray(b"b"), memoryview(b"c")):
        stream.write(word)
    assert transport.writes == []
    assert stream.waiting_bytes == 3
    await turns()
    assert transport.writes == [b"abc"]
    assert stream.waiting_bytes == 0


async def test_a_large_write_is_not_gathered_and_overtakes_nothing() -> None:
    stream, transport = connect(Owner())
    large = bytearray(basestream.DIRECT_BYTES)
    stream.write(b"first")
    stream.write(large)
    large[0] = 1
    assert transport.take() == b"first" + bytes(basestream.DIRECT_BYTES)
    await turns()
    assert transport.writes == []


async def test_what_is_written_now_leaves_at_once_behind_what_waits() -> None:
    stream, transport = connect(Owner())
    stream.write(b"first")
    stream.write_now(b"now")
    assert transport.take() == b"firstnow"
    stream.write(b"later")
    assert transport.take() == b""
    await turns()
    assert transport.take() == b"later"


async def test_pressure_of_what_is_written_now_is_told_in_a_later_turn() -> None:
    owner = Owner()
    stream, transport = connect(owner)
    transport.write = lambda data: stream.pause_writing()  # type: ignore[method-assign]
    stream.write_now(b"now")
    assert owner.calls == ["opened"]
    await turns()
    assert owner.calls == ["opened", "write paused"]


async def test_nothing_is_sent_behind_the_end() -> None:
    stream, transport = connect(Owner())
    stream.write(b"last")
    stream.write_end()
    stream.write(b"too late")
    stream.write_record(b"too late")
    stream.write_now(b"too late")
    await turns()
    assert transport.writes == [b"last"]
    assert transport.ended
    assert not transport.closed


async def test_a_paused_stream_reads_nothing_and_resumes_in_a_later_turn() -> None:
    owner = Owner()
    stream, transport = connect(owner)
    stream.pause_reading()
    stream.pause_reading()
    transport.arrive(b"data")
    assert owner.data == b""
    stream.resume_reading()
    assert owner.data == b""
    await turns()
    assert owner.data == b"data"


async def test_an_end_seen_while_paused_is_told_behind_the_pause() -> None:
    owner = Owner()
    stream, _ = connect(owner)
    stream.pause_reading()
    stream.eof_received()
    await turns()
    assert owner.calls == ["opened"]
    stream.resume_reading()
    await turns()
    assert owner.calls == ["opened", "ended"]


async def test_pressure_is_never_told_from_inside_a_write() -> None:
    owner = Owner()
    stream, transport = connect(owner)
    transport.write = lambda data: stream.pause_writing()  # type: ignore[method-assign]
    stream.write(bytes(100_000))
    assert owner.calls == ["opened"]
    await turns()
    assert owner.calls == ["opened", "write paused"]
    stream.resume_writing()
    assert owner.calls[-1] == "write resumed"


async def test_pressure_that_is_gone_by_the_end_of_the_turn_is_not_told() -> None:
    owner = Owner()
    stream, _ = connect(owner)
    stream._transport.sending = True
    stream.pause_writing()
    stream.resume_writing()
    stream._transport.sending = False
    await turns()
    assert owner.calls == ["opened"]


async def test_a_new_owner_learns_that_writing_is_paused() -> None:
    stream, _ = connect(Owner())
    stream.pause_writing()
    heir = Owner()
    stream.set_handler(heir)
    await turns()
    assert heir.calls == ["write paused"]


async def test_abort_tells_later_and_once_without_an_error() -> None:
    owner = Owner()
    stream, transport = connect(owner)
    stream.write(b"thrown away")
    stream.abort()
    stream.abort()
    stream.close()
    assert owner.calls == ["opened"]
    assert stream.closing
    await turns()
    assert owner.calls == ["opened", "closed"]
    assert owner.error is None
    assert transport.writes == []


async def test_close_ends_our_direction_and_waits_for_the_peers_fin() -> None:
    owner = Owner()
    stream, transport = connect(owner)
    stream.pause_reading()
    stream.write(b"bye")
    stream.close()
    await turns()
    assert transport.take() == b"bye"
    assert transport.ended
    assert not transport.closed
    transport.arrive(b"never delivered")
    assert not transport.kernel
    assert stream.eof_received() is False
    transport.close()
    await turns()
    assert owner.calls == ["opened", "closed"]
    assert owner.error is None


async def test_close_behind_the_peers_end_is_immediate() -> None:
    owner = Owner()
    stream, transport = connect(owner)
    stream.eof_received()
    stream.close()
    await turns()
    assert transport.closed
    assert owner.calls == ["opened", "ended", "closed"]


async def test_two_ends_close_the_connection() -> None:
    owner = Owner()
    stream, transport = connect(owner)
    stream.write_end()
    stream.eof_received()
    await turns()
    assert transport.closed
    assert owner.calls == ["opened", "ended", "closed"]
    assert owner.error is None


async def test_a_close_that_lingers_is_broken_off_without_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closing, "LINGER_SECONDS", 0.0)
    owner = Owner()
    stream, transport = connect(owner)
    stream.close()
    while "closed" not in owner.calls:
        await turns(1)
    assert transport.closed
    assert owner.error is None


async def test_a_close_whose_bytes_are_not_taken_ends_in_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closing, "LINGER_SECONDS", 0.0)
    monkeypatch.setattr(limits, "CLOSE_SECONDS", 0.01)
    owner = Owner()
    stream, transport = connect(owner)
    transport.waiting = 5000
    stream.close()
    while "closed" not in owner.calls:
        await turns(1)
    assert isinstance(owner.error, CloseTimeout)
    assert "5000" in str(owner.error)


async def test_a_reset_is_told_with_its_error() -> None:
    owner = Owner()
    _, transport = connect(owner)
    transport.reset()
    await turns()
    assert isinstance(owner.error, ConnectionResetError)


async def test_a_loss_without_error_or_end_is_not_taken_for_an_end() -> None:
    """uvloop calls connection_lost(None) without eof_received in some cases."""
    owner = Owner()
    stream, _ = connect(owner)
    stream.connection_lost(None)
    assert owner.calls == ["opened", "closed"]
    assert isinstance(owner.error, TruncatedError)


async def test_an_owner_that_fails_in_a_turn_of_ours_loses_its_connection() -> None:
    class Faulty(Owner):
        def stream_write_paused(self) -> None:
            raise ZeroDivisionError

    reports: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, report: reports.append(report))
    owner = Faulty()
    stream, _ = connect(owner)
    stream.write(b"x")
    stream._transport.blocked = True
    await turns()
    assert isinstance(owner.error, ZeroDivisionError)
    assert [report["message"] for report in reports] == ["the connection's owner failed"]


async def test_a_refused_connection_is_closed_as_soon_as_it_is_made() -> None:
    failures: list[Exception] = []
    stream = PlainStream(
        asyncio.get_running_loop(),
        lambda _: pytest.fail("has no owner"),
        lambda _, error: failures.append(error),
        options=PLAIN_LEG,
    )
    stream.refuse("too many")
    transport = FakeTransport(stream)
    stream.connection_made(transport)
    await turns()
    assert transport.closed
    assert [str(error) for error in failures] == ["too many"]
    assert isinstance(failures[0], StreamError)


@pytest.mark.parametrize("once_a_turn", [True, False])
async def test_a_full_read_ends_the_turn_where_the_loop_would_read_again(once_a_turn: bool) -> None:
    owner = Owner()
    stream, transport = connect(owner, read_budget=1000)
    stream._turn_ends_at = -1 if once_a_turn else 1000
    transport.arrive(bytes(2500))
    assert (transport.reads, transport.paused) == ((3, False) if once_a_turn else (1, True))
    await turns(10)
    assert owner.data == bytes(2500)
    assert not transport.paused


@pytest.fixture
def read_buffer(monkeypatch: pytest.MonkeyPatch) -> ReadBuffer:
    """A buffer that knows of no other streams."""
    buffer = ReadBuffer()
    monkeypatch.setattr(basestream, "READ_BUFFER", buffer)
    monkeypatch.setattr(basestream, "BULK_BYTES", 3000)
    return buffer


async def test_a_stream_for_bulk_that_has_the_turn_to_itself_reads_more_in_it(
    read_buffer: ReadBuffer,
) -> None:
    owner = Owner()
    stream, transport = connect(owner, read_budget=1000)
    stream._turn_ends_at = 1000
    transport.arrive(bytes(10_000))
    await turns(20)
    assert owner.data == bytes(10_000)
    assert transport.reads == 4


async def test_a_stream_for_bulk_leaves_the_others_their_part_of_the_turn(read_buffer: ReadBuffer) -> None:
    owner = Owner()
    stream, transport = connect(owner, read_budget=1000)
    stream._turn_ends_at = 1000
    transport.arrive(bytes(3 * 1000))
    await turns(20)
    assert len(stream.get_buffer(-1)) == INCOMING_BYTES
    for _ in range(3):
        read_buffer.filled()
    transport.arrive(bytes(INCOMING_BYTES))
    await turns(20)
    assert len(stream.get_buffer(-1)) == INCOMING_BYTES // 4


async def test_a_pause_within_a_budgeted_read_outlasts_the_turn() -> None:
    owner = Owner()
    owner.pause_after = 1000
    stream, transport = connect(owner, read_budget=1000)
    stream._turn_ends_at = 1000
    transport.arrive(bytes(2500))
    await turns(10)
    assert len(owner.data) == 1000
    stream.resume_reading()
    await turns(10)
    assert len(owner.data) == 2500
