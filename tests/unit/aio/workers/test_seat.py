"""What a worker makes of what its supervisor says."""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.unit.fakes import settle
from tunnel.aio.workers.link import Link, open_link
from tunnel.aio.workers.seat import Seat, attended, own_file
from tunnel.kit.failures import CommandFailed, UsageError


class Office:
    """A worker at its seat, and the supervisor's end."""

    link: Link

    def __init__(self) -> None:
        self.ours, theirs = socket.socketpair()
        self.seat = Seat(1, 2, theirs)
        self.stopping = asyncio.Event()
        self.heard: list[Mapping[str, Any]] = []
        self.told: list[Mapping[str, Any]] = []
        self.gone = asyncio.Event()

    async def work(self, failure: Exception | None = None) -> None:
        async with attended(self.seat, self.stopping, {"status": lambda: "well"}, self.heard.append) as link:
            link.send(serving=True)
            if failure is not None:
                raise failure
            await self.stopping.wait()


@pytest.fixture
async def office() -> AsyncIterator[Office]:
    office = Office()
    office.link = await open_link(office.ours, office.told.append, office.gone.set)
    yield office
    office.link.close()
    await office.gone.wait()


async def test_a_worker_drains_when_it_is_told_to(office: Office) -> None:
    working = asyncio.get_running_loop().create_task(office.work())
    assert await office.link.ask("status") == "well"
    office.link.send(hurry=True)
    office.link.send(stop="drain")
    await working
    await office.gone.wait()
    assert (office.heard, office.told) == ([{"hurry": True}], [{"serving": True}])


async def test_a_worker_ends_at_once_when_it_is_told_to(office: Office) -> None:
    working = asyncio.get_running_loop().create_task(office.work())
    office.link.send(stop="now")
    with pytest.raises(asyncio.CancelledError):
        await working
    assert not office.stopping.is_set()


async def test_a_worker_drains_when_its_supervisor_is_gone(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    working = asyncio.get_running_loop().create_task(office.work())
    await settle()
    office.link.close()
    await working
    assert "the process that started this worker is gone" in caplog.text


@pytest.mark.parametrize(
    ("failure", "usage"),
    [
        (UsageError("--listen: no"), True),
        (CommandFailed("--listen: no"), False),
        (ExceptionGroup("tasks", [ExceptionGroup("tasks", [CommandFailed("--listen: no")])]), False),
    ],
)
async def test_a_worker_says_why_it_cannot_do_its_work(
    office: Office, failure: Exception, usage: bool
) -> None:
    with pytest.raises(UsageError if usage else CommandFailed):
        await office.work(failure)
    await office.gone.wait()
    assert office.told == [{"serving": True}, {"failed": "--listen: no", "usage": usage}]


async def test_a_defect_is_not_told_as_if_the_operator_were_at_fault(office: Office) -> None:
    with pytest.raises(ZeroDivisionError):
        await office.work(ZeroDivisionError("a bug"))
    await office.gone.wait()
    assert office.told == [{"serving": True}]


def test_a_path_that_one_process_has_gets_the_workers_number() -> None:
    assert own_file(Path("/run/stub.sock"), 2) == Path("/run/stub.sock.2")
    assert own_file(None, 2) is None
