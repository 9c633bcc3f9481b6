"""The thread that writes recordings."""

import asyncio
import threading
from functools import partial

import pytest

from stub.recording.writer import WriterThread


async def test_jobs_run_in_order_away_from_the_loop_and_report_to_it() -> None:
    writer = WriterThread()
    ran: list[int] = []
    threads: set[str] = set()
    reported: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def job(number: int) -> None:
        ran.append(number)
        threads.add(threading.current_thread().name)

    for number in range(5):
        writer.submit(partial(job, number))
    writer.submit(lambda: writer.report(reported.set_result, "done"))
    assert await reported == "done"
    assert (ran, threads) == ([0, 1, 2, 3, 4], {"recordings"})
    await writer.close(1)


async def test_closing_waits_for_what_was_submitted() -> None:
    writer = WriterThread()
    ran: list[bool] = []
    writer.submit(lambda: ran.append(True))
    await writer.close(10)
    assert ran == [True]


async def test_a_disk_that_hangs_is_not_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    writer = WriterThread()
    freed = threading.Event()

    def hang() -> None:
        freed.wait()

    writer.submit(hang)
    await writer.close(0.01)
    assert [record.message for record in caplog.records] == ["recordings are not written to their end"]
    freed.set()
    writer._thread.join()
