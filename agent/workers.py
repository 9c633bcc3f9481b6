"""An agent of several processes: one that keeps the certificate and answers operators, and workers that each have a session with
every worker of every stub."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from agent.dialer import Agent, run
from agent.measures import PREFIX, AgentMeasures
from agent.preparation import Preparation, Prepared
from agent.settings import AgentSettings
from agent.upstream.target import target_of
from tunnel.aio.control import control_socket
from tunnel.aio.workers.link import Message
from tunnel.aio.workers.numbers import content_of
from tunnel.aio.workers.seat import Seat, attended, own_file, share
from tunnel.aio.workers.supervisor import Supervisor

if TYPE_CHECKING:
    from tunnel.aio.workers.admin import SupervisorEndpoints

_log = logging.getLogger(__name__)

WorkerMain = Callable[[AgentSettings, Seat], object]
"""What a worker's process runs: `serve_worker`, on a loop of its own. It travels there by pickle."""


# The workers -------------------------------------------------------------------------------------


def settings_of(settings: AgentSettings, seat: Seat) -> AgentSettings:
    """Return the settings of one worker."""
    return replace(
        settings,
        admin_listen=None,
        control=own_file(settings.control, seat.number),
        upstream_connections=share(settings.upstream_connections, seat.count),
        # Nodes and pods are the same for all: one asks.
        facts_interval=settings.facts_interval if seat.number == 0 else None,
    )


async def serve_worker(settings: AgentSettings, seat: Seat, stopping: asyncio.Event) -> None:
    """Serve until the parent says otherwise or is gone, and drain then.

    Raises:
        CommandFailed: it cannot start; the parent is told.

    Cancelling it ends the worker at once.
    """
    hurry = asyncio.Event()
    agents: list[Agent] = []

    def heard(message: Message) -> None:
        if message.get("hurry"):
            hurry.set()

    answers = {
        "status": lambda: {"problem": agents[0].problem(), "running": agents[0].in_flight},
        "metrics": lambda: content_of(AgentMeasures(agents[0]).collect()),
    }
    async with attended(seat, stopping, answers, heard) as link:

        def made(agent: Agent) -> None:
            agents.append(agent)
            link.send(serving=True)

        def drained(agent: Agent) -> None:
            link.send(broken_off=agent.in_flight)

        await run(settings_of(settings, seat), stopping, hurry, made, drained)


# The parent --------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Entry:
    """What each worker's process runs; its settings are whole only when the agent has joined."""

    main: WorkerMain
    settings: AgentSettings

    def __call__(self, seat: Seat) -> object:
        return self.main(self.settings, seat)


async def serve_with_workers(
    settings: AgentSettings, main: WorkerMain, stopping: asyncio.Event, hurry: asyncio.Event
) -> None:
    """Run an agent with workers until `stopping` is set, and drain it then.

    Args:
        settings: as `cluster-tunnel agent` has them.
        main: what each worker's process runs.
        stopping: see above.
        hurry: set, by whoever knows that a stub is back, to dial without waiting for the next try.

    Raises:
        CommandFailed: it cannot start, or a worker dies again and again.

    Cancelling it ends the agent at once.
    """
    entry = _Entry(main, settings)
    preparation = None if settings.state is None else Preparation(settings, target_of(settings))
    supervisor = Supervisor(settings.workers, entry)

    def problem() -> str | None:
        if stopping.is_set():
            return "draining"
        return (preparation and preparation.problem()) or supervisor.problem()

    admin = await _start_admin(supervisor, settings, problem)
    try:
        prepared = Prepared(settings, None) if preparation is None else await preparation.run(stopping)
        if prepared is None:
            _log.info("stopped before it had a certificate")
            return
        entry.settings = prepared.settings
        await _keep_serving(supervisor, prepared, stopping, hurry)
    finally:
        if admin is not None:
            await admin.stop()
    if supervisor.failure is not None:
        raise supervisor.failure


async def _start_admin(
    supervisor: Supervisor, settings: AgentSettings, problem: Callable[[], str | None]
) -> "SupervisorEndpoints | None":
    if settings.admin_listen is None:
        return None
    from tunnel.aio.workers.admin import SupervisorEndpoints  # aiohttp takes 12 MiB

    admin = SupervisorEndpoints(supervisor, problem, PREFIX)
    await admin.start(settings.admin_listen)
    return admin


async def _keep_serving(
    supervisor: Supervisor, prepared: Prepared, stopping: asyncio.Event, hurry: asyncio.Event
) -> None:
    """Run the workers until `stopping` is set, and drain them then."""
    try:
        async with asyncio.TaskGroup() as tasks:
            others = [tasks.create_task(_pass_on(supervisor, hurry), name="pass on hurry")]
            others.append(tasks.create_task(supervisor.stop_when_failed(stopping), name="watch workers"))
            if prepared.enrolment is not None:
                renewing = prepared.enrolment.keep_renewed()
                others.append(tasks.create_task(renewing, name="renew the certificate"))
            await _serve(supervisor, prepared.settings, stopping, tasks)
            for each in others:
                each.cancel()
    except ExceptionGroup as group:
        raise group.exceptions[0] from None


async def _serve(
    supervisor: Supervisor, settings: AgentSettings, stopping: asyncio.Event, tasks: asyncio.TaskGroup
) -> None:
    if await supervisor.start(tasks, stopping):
        _log.info("all workers serve", extra={"workers": settings.workers})
    async with control_socket(settings.control, stopping, lambda: supervisor.running):
        await stopping.wait()
        await supervisor.drain(settings.drain_grace)


async def _pass_on(supervisor: Supervisor, hurry: asyncio.Event) -> None:
    while True:
        await hurry.wait()
        hurry.clear()
        supervisor.tell(hurry=True)
