"""The parent of a stub's workers: it alone holds the lease and answers operators, and carries no requests."""

import asyncio
import logging
import secrets
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from stub.leadership import make_candidacy
from stub.settings import StubSettings
from stub.workers.leadership import ParentLeadership
from stub.workers.orders import Orders
from stub.workers.term import SharedTerm
from tunnel.aio.control import control_socket
from tunnel.aio.workers.link import Link
from tunnel.aio.workers.reservation import Reservation
from tunnel.aio.workers.seat import Seat
from tunnel.aio.workers.supervisor import Supervisor
from tunnel.kit.values import Address

if TYPE_CHECKING:
    from stub.workers.admin import ParentEndpoints

_log = logging.getLogger(__name__)

WorkerMain = Callable[[Orders, Seat], object]
"""What a worker's process runs: `serve_worker`, on a loop of its own. It travels there by pickle."""


class Parent:
    """See the module.

    Args:
        settings: as `cluster-tunnel stub` has them.
        main: what each worker's process runs.

    Raises:
        CommandFailed: an address cannot be listened on.
    """

    def __init__(self, settings: StubSettings, main: WorkerMain) -> None:
        self._settings = settings
        self._reservations: list[Reservation] = []
        self._draining = False
        self._admin: ParentEndpoints | None = None
        instance = secrets.token_hex(8)
        candidacy = make_candidacy(settings, instance)
        shared = SharedTerm()
        self.leadership = None if candidacy is None else ParentLeadership(candidacy, shared)
        self.listen = self._reserve("--listen", settings.listen)
        orders = Orders(
            settings,
            self.listen,
            self._agent_listen(),
            instance,
            None if self.leadership is None else shared,
        )
        self.supervisor = Supervisor(settings.workers, partial(main, orders), self._greet, self._heard)
        if self.leadership is not None:
            self.leadership.supervisor = self.supervisor

    def _agent_listen(self) -> Address | None:
        given = self._settings.agent_listen
        if given is None or given == self._settings.listen:
            return None
        return self._reserve("--agent-listen", given)

    def _reserve(self, flag: str, address: Address) -> Address:
        self._reservations.append(Reservation(flag, address))
        return self._reservations[-1].address

    def _greet(self, link: Link) -> None:
        if self.leadership is not None:
            self.leadership.greet(link)

    def _heard(self) -> None:
        if self.leadership is not None:
            self.leadership.heard()

    async def start(self, tasks: asyncio.TaskGroup, stopping: asyncio.Event) -> None:
        """Serve with all workers, and only then take part in the election, unless `stopping` is set before.

        Raises:
            Failure: an address, a certificate or the lease cannot be used.
        """
        settings = self._settings
        if self.leadership is not None:
            await self.leadership.open()
        if settings.admin_listen is not None:
            from stub.workers.admin import ParentEndpoints  # aiohttp takes 12 MiB

            self._admin = ParentEndpoints(self.supervisor, self.problem, self.leadership)
            await self._admin.start(settings.admin_listen)
        if not await self.supervisor.start(tasks, stopping):
            return
        if self.leadership is not None:
            tasks.create_task(self.leadership.run(), name="election")
        _log.info("all workers serve", extra={"address": str(self.listen), "workers": settings.workers})

    def problem(self) -> str | None:
        """Return why this stub is not ready, or None."""
        if self._draining:
            return "draining"
        problem = self.supervisor.problem()
        return self.leadership.problem() if problem is None and self.leadership is not None else problem

    async def drain(self) -> None:
        """Hand over, and let the workers drain."""
        self._draining = True
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.supervisor.drain(self._settings.drain_grace), name="drain workers")
            if self.leadership is not None:
                # No worker answers from here on: the deadline that they look at is gone before the lease is.
                await self.leadership.hand_over()

    async def stop(self) -> None:
        """Let go of everything but the workers, which end with their tasks."""
        if self._admin is not None:
            await self._admin.stop()
        if self.leadership is not None:
            await self.leadership.close()
        for reservation in self._reservations:
            reservation.close()


async def serve_with_workers(settings: StubSettings, main: WorkerMain, stopping: asyncio.Event) -> None:
    """Run a stub with workers until `stopping` is set, and drain it then.

    Raises:
        CommandFailed: it cannot start, or a worker dies again and again.

    Cancelling it ends the stub at once.
    """
    parent = Parent(settings, main)
    supervisor = parent.supervisor
    try:
        async with asyncio.TaskGroup() as tasks:
            await parent.start(tasks, stopping)
            async with control_socket(settings.control, stopping, lambda: supervisor.running):
                failing = tasks.create_task(supervisor.stop_when_failed(stopping), name="watch workers")
                await stopping.wait()
                failing.cancel()
                await parent.drain()
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
    finally:
        await parent.stop()
    if supervisor.failure is not None:
        raise supervisor.failure
