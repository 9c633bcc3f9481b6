"""Keeps a number of workers running: starts them, replaces those that die or hang, and ends them."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from tunnel.aio.workers.link import Link, Message, Unanswered
from tunnel.aio.workers.process import Entry, WorkerProcess
from tunnel.aio.workers.restarts import GiveUp, Restarts
from tunnel.kit.failures import CommandFailed, Failure, UsageError

LOOK_SECONDS: Final = 2.0
"""Between two questions to a worker how it is."""

MISSES: Final = 3
"""A worker that left so many questions in a row unanswered hangs, and is replaced. More than one, because the supervisor may have
been the one that was stopped."""

START_SECONDS: Final = 60.0
"""A worker that has not begun to serve by then hangs. It takes a second or two; on a machine that is overloaded, or has to read the
modules from a slow disk, many times that."""

MARGIN_SECONDS: Final = 3.0
"""How long a worker may take beyond its grace."""

_log = logging.getLogger(__name__)

Launch = Callable[[int, int, Entry], WorkerProcess]


@dataclass(slots=True)
class Status:
    """How a worker is, by its own words.

    Attributes:
        problem: why it is not ready, or None.
        running: requests and pipes that a drain would wait for.
    """

    problem: str | None = "not started yet"
    running: int = 0


@dataclass(slots=True)
class Worker:
    """One of the workers, through all its processes.

    Attributes:
        number: of its seat.
        restarts: decides whether there is another process.
        status: as it was at the last look.
        facts: what else its process has said of itself, the newest of each.
        link: to its process; None while there is none that serves.
        failure: why its process cannot do its work, by its own words.
    """

    number: int
    restarts: Restarts
    status: Status = field(default_factory=Status)
    facts: dict[str, Any] = field(default_factory=dict)
    link: Link | None = None
    failure: Failure | None = None


class Supervisor:
    """See the module.

    Args:
        count: how many workers.
        entry: what each process runs.
        greeted: called with the link to each worker that has begun to serve, the first and every later one.
        heard: called when a worker's facts have changed.
        launch: starts a process.
    """

    def __init__(
        self,
        count: int,
        entry: Entry,
        greeted: Callable[[Link], None] = lambda link: None,
        heard: Callable[[], None] = lambda: None,
        launch: Launch = WorkerProcess,
    ) -> None:
        self._count = count
        self._entry = entry
        self._launch = launch
        self._greeted = greeted
        self._facts_changed = heard
        self.workers = [Worker(number, Restarts(random.random)) for number in range(count)]
        self._keeping: list[asyncio.Task[None]] = []
        self._served = False
        self._broken_off = 0
        self._begun = asyncio.Event()
        self._stopping = asyncio.Event()
        self._failure: Failure | None = None
        self._failed = asyncio.Event()

    # For everybody ---------------------------------------------------------------------------------

    @property
    def failure(self) -> Failure | None:
        """Why a worker can no longer be kept running."""
        return self._failure

    @property
    def running(self) -> int:
        """Requests and pipes under way in all workers, as of the last look at each; behind a drain, what it has broken off."""
        return self._broken_off + sum(worker.status.running for worker in self.workers)

    def problem(self) -> str | None:
        """Return why no worker can serve, or None: the kernel leads connections only to those that do. At the start all must."""
        if not self._served:
            return "not all workers serve yet"
        problems = [worker.status.problem for worker in self.workers]
        return None if None in problems else next(filter(None, problems), None)

    def tell(self, **message: object) -> None:
        """Say something to all workers that serve."""
        for worker in self.workers:
            if worker.link is not None:
                worker.link.send(**message)

    async def ask(self, question: str) -> dict[int, Any]:
        """Return what the workers answer, by their number; without those that do not."""
        links = {worker.number: worker.link for worker in self.workers if worker.link is not None}
        answers = await asyncio.gather(
            *(link.ask(question) for link in links.values()), return_exceptions=True
        )
        found = dict(zip(links, answers, strict=True))
        for answer in found.values():
            if isinstance(answer, BaseException) and not isinstance(answer, Unanswered):
                raise answer
        return {number: answer for number, answer in found.items() if not isinstance(answer, Unanswered)}

    async def stop_when_failed(self, stopping: asyncio.Event) -> None:
        """Set `stopping` where a worker can no longer be kept running."""
        await self._failed.wait()
        _log.error("a worker cannot be kept running: draining", extra={"reason": str(self._failure)})
        stopping.set()

    # Running ---------------------------------------------------------------------------------------

    async def start(self, tasks: asyncio.TaskGroup, stopping: asyncio.Event) -> bool:
        """Start all workers, and return whether all of them serve: not where `stopping` was set before.

        Args:
            tasks: owns the processes: cancelling it ends them.
            stopping: set where the whole is to end.

        Raises:
            Failure: one of them cannot serve.
        """
        self._keeping = [
            tasks.create_task(self._keep(worker), name=f"worker {worker.number}") for worker in self.workers
        ]
        waiting = tasks.create_task(stopping.wait(), name="wait for a signal")
        waiting.add_done_callback(lambda _: self._begun.set())
        await self._begun.wait()
        waiting.cancel()
        if self._failure is not None:
            raise self._failure
        return self._served

    async def drain(self, grace_seconds: float) -> None:
        """Have all workers drain, and wait until they have ended; what has not when the grace is over is ended."""
        self._stopping.set()
        self.tell(stop="drain")
        _, late = await asyncio.wait(self._keeping, timeout=grace_seconds + MARGIN_SECONDS)
        for keeping in late:
            keeping.cancel()

    async def _keep(self, worker: Worker) -> None:
        while not self._stopping.is_set():
            await self._run(worker)
            if self._stopping.is_set():
                return
            if not self._served:
                self._give_up(
                    worker.failure or CommandFailed(f"worker {worker.number} ended before it served")
                )
                return
            match worker.restarts.died(asyncio.get_running_loop().time()):
                case GiveUp(reason):
                    self._give_up(CommandFailed(f"worker {worker.number} {reason}{_because(worker)}"))
                    return
                case restart:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(restart.after_seconds):
                            await self._stopping.wait()

    def _give_up(self, failure: Failure) -> None:
        self._failure = self._failure or failure
        self._failed.set()
        self._begun.set()

    async def _run(self, worker: Worker) -> None:
        """Run one process of a worker to its end. Cancelling it ends the process."""
        worker.failure = None
        try:
            process = self._launch(worker.number, self._count, self._entry)
        except OSError as error:
            worker.failure = CommandFailed(f"a process cannot be started: {error.strerror or error}")
            return
        worker.status = Status("its process is starting")
        try:
            link = await process.connect(lambda message: self._heard(worker, link, message))
            await self._attend(worker, link, process.ended)
        finally:
            worker.link, worker.status = None, Status("its process has ended")
            await process.end()
            self._broken_off += worker.facts.pop("broken_off", 0) if self._stopping.is_set() else 0
            worker.facts.clear()
            log = _log.info if self._stopping.is_set() else _log.error
            log("a worker has ended", extra={"number": worker.number, "exit_code": process.exit_code})

    async def _attend(self, worker: Worker, link: Link, ended: asyncio.Event) -> None:
        """Look at a process from time to time until it ends or hangs."""
        loop = asyncio.get_running_loop()
        serves_by = loop.time() + START_SECONDS
        misses = 0
        while not ended.is_set() and misses < MISSES:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await ended.wait()
            if ended.is_set():
                continue
            if worker.link is None:
                if loop.time() < serves_by:
                    continue
                worker.failure = CommandFailed(
                    f"worker {worker.number} did not serve within {START_SECONDS:.0f} s"
                )
                return
            try:
                self._look(worker, await link.ask("status"))
                misses = 0
            except Unanswered as silence:
                misses += 1
                worker.status = Status(f"worker {worker.number}: {silence}", worker.status.running)

    def _look(self, worker: Worker, content: Any) -> None:
        worker.status = Status(content["problem"], content["running"])

    def _heard(self, worker: Worker, link: Link, message: Message) -> None:
        if "failed" in message:
            worker.failure = (UsageError if message["usage"] else CommandFailed)(message["failed"])
        elif message.get("serving"):
            worker.link, worker.status = link, Status(None)
            self._greeted(link)
            if self._stopping.is_set():
                link.send(stop="drain")  # what was said to all before has passed it by
            if all(each.link is not None for each in self.workers):
                self._served = True
                self._begun.set()
        else:
            worker.facts.update(message)
            self._facts_changed()


def _because(worker: Worker) -> str:
    return f": {worker.failure}" if worker.failure is not None else "; its log lines say why"
