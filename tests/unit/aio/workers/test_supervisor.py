"""What becomes of workers that die, hang or fail: with processes that are none, in simulated time."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, cast

import pytest

from tests.unit.fakes import settle
from tests.unit.stub.election.simulated_time import now, simulated
from tunnel.aio.workers.link import Link, Message, Unanswered
from tunnel.aio.workers.process import WorkerProcess
from tunnel.aio.workers.restarts import DEATHS
from tunnel.aio.workers.supervisor import (
    LOOK_SECONDS,
    MARGIN_SECONDS,
    MISSES,
    START_SECONDS,
    Supervisor,
)
from tunnel.kit.failures import CommandFailed, UsageError


class FakeProcess:
    """A process that does what the test says; it is its own link."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.ended = asyncio.Event()
        self.exit_code: int | None = None
        self.told: list[Mapping[str, object]] = []
        self.hangs = False
        self.say: Callable[[Message], None] = lambda message: None

    async def connect(self, heard: Callable[[Message], None]) -> Link:
        self.say = heard
        return cast("Link", self)

    async def end(self) -> None:
        self.exit_code = 0 if self.ended.is_set() else -9
        self.ended.set()

    def send(self, **message: object) -> None:
        self.told.append(message)

    async def ask(self, question: str, seconds: float = 5.0) -> Any:
        if self.hangs:
            raise Unanswered("no answer")
        return {"problem": None, "running": 1} if question == "status" else self.number


class Stage:
    """A supervisor and the processes it has started."""

    def __init__(self, count: int = 2) -> None:
        self.started: list[FakeProcess] = []
        self.greeted: list[Link] = []
        self.supervisor = Supervisor(count, lambda seat: None, self.greeted.append, launch=self._launch)

    def _launch(self, number: int, count: int, entry: object) -> WorkerProcess:
        self.started.append(FakeProcess(number))
        return cast("WorkerProcess", self.started[-1])

    async def serve(self, tasks: asyncio.TaskGroup) -> None:
        """Start it, with workers that serve at once."""
        starting = tasks.create_task(self.supervisor.start(tasks, asyncio.Event()))
        await settle()
        for process in self.started:
            process.say({"serving": True})
        await starting

    async def fail_to_start(self, number: int, last_words: Message | None = None) -> None:
        """Start it, with one worker that ends before it serves."""
        async with asyncio.TaskGroup() as tasks:
            starting = tasks.create_task(self.supervisor.start(tasks, asyncio.Event()))
            await settle()
            if last_words is not None:
                self.started[number].say(last_words)
            self.started[number].ended.set()
            await starting

    async def end(self) -> None:
        """Let all of it end."""
        draining = asyncio.get_running_loop().create_task(self.supervisor.drain(0))
        await settle()
        for process in self.started:
            process.ended.set()
        await draining


# Starting ----------------------------------------------------------------------------------------


@simulated
async def test_it_has_started_when_all_workers_serve() -> None:
    stage = Stage()
    async with asyncio.TaskGroup() as tasks:
        starting = tasks.create_task(stage.supervisor.start(tasks, asyncio.Event()))
        await settle()
        first, second = stage.started
        first.say({"serving": True})
        await settle()
        assert not starting.done()
        assert stage.supervisor.problem() == "not all workers serve yet"
        second.say({"serving": True})
        await starting
        assert stage.supervisor.problem() is None
        assert stage.greeted == [first, second]
        await stage.end()


@simulated
async def test_a_worker_that_cannot_serve_at_all_fails_the_start_in_its_own_words() -> None:
    stage = Stage()
    with pytest.raises(ExceptionGroup) as group:
        await stage.fail_to_start(1, {"failed": "--listen: no", "usage": True})
    (error,) = group.value.exceptions
    assert isinstance(error, UsageError)
    assert str(error) == "--listen: no"
    assert [process.exit_code for process in stage.started] == [-9, 0], "the other one was ended"


@simulated
async def test_a_worker_that_ends_without_a_word_fails_the_start_too() -> None:
    stage = Stage()
    with pytest.raises(ExceptionGroup) as group:
        await stage.fail_to_start(0)
    assert [str(error) for error in group.value.exceptions] == ["worker 0 ended before it served"]


@simulated
async def test_a_signal_does_not_wait_for_workers_that_have_not_begun() -> None:
    stage = Stage()
    stopping = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        starting = tasks.create_task(stage.supervisor.start(tasks, stopping))
        await settle()
        stopping.set()
        assert not await starting
        await stage.end()


@simulated
async def test_where_there_is_no_room_for_a_process_the_start_says_so() -> None:
    def launch(number: int, count: int, entry: object) -> WorkerProcess:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    stage = Stage()
    stage.supervisor._launch = launch
    with pytest.raises(ExceptionGroup) as group:
        await stage.fail_to_start(0)
    assert "a process cannot be started: Resource temporarily unavailable" in str(group.value.exceptions[0])


# Dying -------------------------------------------------------------------------------------------


@simulated
async def test_a_worker_that_dies_is_replaced_and_its_successor_is_greeted() -> None:
    stage = Stage()
    async with asyncio.TaskGroup() as tasks:
        await stage.serve(tasks)
        stage.started[1].ended.set()
        await asyncio.sleep(1)
        assert [process.number for process in stage.started] == [0, 1, 1]
        assert stage.supervisor.problem() is None, "the other one serves"
        stage.started[2].say({"serving": True})
        assert stage.greeted[-1] is stage.started[2]
        await stage.end()


@simulated
async def test_a_worker_that_dies_at_every_start_is_given_up_with_its_last_words() -> None:
    stage = Stage(count=1)
    async with asyncio.TaskGroup() as tasks:
        await stage.serve(tasks)
        dying = tasks.create_task(_die_at_every_start(stage))
        stopping = asyncio.Event()
        await stage.supervisor.stop_when_failed(stopping)
        dying.cancel()
        assert stopping.is_set()
        assert len(stage.started) == DEATHS
        assert isinstance(stage.supervisor.failure, CommandFailed)
        text = "worker 0 died 5 times within 60 s: server.crt: gone"
        assert str(stage.supervisor.failure) == text
        await stage.end()


async def _die_at_every_start(stage: Stage) -> None:
    while True:
        process = stage.started[-1]
        if not process.ended.is_set():
            process.say({"failed": "server.crt: gone", "usage": False})
            process.ended.set()
        await asyncio.sleep(0.01)


@simulated
async def test_a_worker_that_hangs_is_ended_and_replaced() -> None:
    stage = Stage()
    async with asyncio.TaskGroup() as tasks:
        await stage.serve(tasks)
        stage.started[0].hangs = True
        await asyncio.sleep((MISSES - 0.5) * LOOK_SECONDS)
        assert len(stage.started) == 2, "one miss may be the supervisor's own"
        await asyncio.sleep(LOOK_SECONDS)
        assert [process.number for process in stage.started] == [0, 1, 0]
        assert stage.started[0].exit_code == -9
        await stage.end()


@simulated
async def test_a_worker_that_hangs_before_it_serves_is_ended_and_replaced() -> None:
    stage = Stage(count=1)
    async with asyncio.TaskGroup() as tasks:
        await stage.serve(tasks)
        stage.started[0].ended.set()
        await asyncio.sleep(1)
        assert stage.supervisor.problem() == "its process is starting"
        await asyncio.sleep(START_SECONDS - LOOK_SECONDS)
        assert len(stage.started) == 2, "a start may take long"
        await asyncio.sleep(3 * LOOK_SECONDS)
        assert len(stage.started) == 3
        assert stage.started[1].exit_code == -9
        stage.started[2].say({"serving": True})
        assert stage.supervisor.problem() is None
        await stage.end()


@simulated
async def test_a_worker_that_hangs_at_the_first_start_fails_it() -> None:
    stage = Stage(count=1)
    with pytest.raises(ExceptionGroup) as group:
        async with asyncio.TaskGroup() as tasks:
            await stage.supervisor.start(tasks, asyncio.Event())
    assert [str(error) for error in group.value.exceptions] == ["worker 0 did not serve within 60 s"]
    assert stage.started[0].exit_code == -9


# Speaking for all ----------------------------------------------------------------------------------


@simulated
async def test_what_is_asked_is_answered_by_all_that_can() -> None:
    stage = Stage(count=3)
    async with asyncio.TaskGroup() as tasks:
        await stage.serve(tasks)
        stage.started[1].hangs = True
        assert await stage.supervisor.ask("number") == {0: 0, 2: 2}
        await asyncio.sleep(1.5 * LOOK_SECONDS)
        assert stage.supervisor.running == 2
        assert stage.supervisor.problem() is None
        for process in stage.started:
            process.hangs = True
        await asyncio.sleep(LOOK_SECONDS)
        assert stage.supervisor.problem() == "worker 0: no answer"
        await stage.end()


# Ending ------------------------------------------------------------------------------------------


@simulated
async def test_a_drain_waits_for_all_workers_and_starts_none_again() -> None:
    stage = Stage()
    async with asyncio.TaskGroup() as tasks:
        await stage.serve(tasks)
        draining = tasks.create_task(stage.supervisor.drain(30))
        await asyncio.sleep(5)
        assert [process.told for process in stage.started] == [[{"stop": "drain"}]] * 2
        stage.started[0].ended.set()
        await asyncio.sleep(5)
        assert not draining.done()
        stage.started[1].say({"broken_off": 3})
        stage.started[1].ended.set()
        await draining
        assert len(stage.started) == 2
        assert stage.supervisor.running == 3, "for whoever has asked for the drain"


@simulated
async def test_a_worker_that_has_not_ended_behind_its_grace_is_ended() -> None:
    stage = Stage()
    async with asyncio.TaskGroup() as tasks:
        await stage.serve(tasks)
        before = now()
        await stage.supervisor.drain(30)
        assert now() - before == 30 + MARGIN_SECONDS
    assert [process.exit_code for process in stage.started] == [-9, -9]


@simulated
async def test_a_worker_that_comes_up_during_the_drain_drains_as_well() -> None:
    stage = Stage()
    async with asyncio.TaskGroup() as tasks:
        await stage.serve(tasks)
        stage.started[0].ended.set()
        await asyncio.sleep(1)
        draining = tasks.create_task(stage.supervisor.drain(30))
        await settle()
        late = stage.started[2]
        assert late.told == []
        late.say({"serving": True})
        assert late.told == [{"stop": "drain"}]
        for process in stage.started:
            process.ended.set()
        await draining
