"""An agent of several processes: one that keeps the certificate and answers operators, and workers that each have a session with
every worker of every stub."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from agent.dialer import Agent, run
from agent.enrolment import Enrolment
from agent.enrolment_parts import make_enrolment
from agent.measures import PREFIX, AgentMeasures
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
    enrolment = await _enrolment(settings)
    if enrolment is not None:
        settings = await enrolment.enrol()
    supervisor = Supervisor(settings.workers, partial(main, settings))
    try:
        async with asyncio.TaskGroup() as tasks:
            others = [tasks.create_task(_pass_on(supervisor, hurry), name="pass on hurry")]
            others.append(tasks.create_task(supervisor.stop_when_failed(stopping), name="watch workers"))
            if enrolment is not None:
                others.append(tasks.create_task(enrolment.keep_renewed(), name="renew the certificate"))
            await _serve(supervisor, settings, stopping, tasks)
            for each in others:
                each.cancel()
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
    if supervisor.failure is not None:
        raise supervisor.failure


async def _enrolment(settings: AgentSettings) -> Enrolment | None:
    if settings.state is None:
        return None
    target = target_of(settings)
    if target.credential.can_renew:
        await target.credential.renew()
    return make_enrolment(settings, target)


async def _serve(
    supervisor: Supervisor, settings: AgentSettings, stopping: asyncio.Event, tasks: asyncio.TaskGroup
) -> None:
    admin = await _start_admin(supervisor, settings, stopping)
    try:
        if await supervisor.start(tasks, stopping):
            _log.info("all workers serve", extra={"workers": settings.workers})
        async with control_socket(settings.control, stopping, lambda: supervisor.running):
            await stopping.wait()
            await supervisor.drain(settings.drain_grace)
    finally:
        if admin is not None:
            await admin.stop()


async def _start_admin(
    supervisor: Supervisor, settings: AgentSettings, stopping: asyncio.Event
) -> "SupervisorEndpoints | None":
    if settings.admin_listen is None:
        return None
    from tunnel.aio.workers.admin import SupervisorEndpoints  # aiohttp takes 12 MiB

    def problem() -> str | None:
        return "draining" if stopping.is_set() else supervisor.problem()

    admin = SupervisorEndpoints(supervisor, problem, PREFIX)
    await admin.start(settings.admin_listen)
    return admin


async def _pass_on(supervisor: Supervisor, hurry: asyncio.Event) -> None:
    while True:
        await hurry.wait()
        hurry.clear()
        supervisor.tell(hurry=True)
