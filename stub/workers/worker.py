"""One worker of a stub: the complete stub without what its parent does for all of them."""

import asyncio

from stub.listing import list_clusters
from stub.server import Stub, serve_stub
from stub.workers.leadership import WorkerLeadership
from stub.workers.orders import Orders
from tunnel.aio.workers.link import Link, Message
from tunnel.aio.workers.numbers import content_of
from tunnel.aio.workers.seat import Seat, attended


async def serve_worker(orders: Orders, seat: Seat, stopping: asyncio.Event) -> None:
    """Serve until the parent says otherwise or is gone, and drain then.

    Raises:
        CommandFailed: it cannot start; the parent is told.

    Cancelling it ends the worker at once.
    """
    worker: _Worker | None = None

    def heard(message: Message) -> None:
        if worker is not None and worker.following is not None:
            worker.following.heard(message)

    answers = {
        "status": lambda: worker.status() if worker is not None else None,
        "metrics": lambda: content_of(worker.stub.measures.collect()) if worker is not None else [],
        "clusters": lambda: list_clusters(worker.stub.registry) if worker is not None else {},
    }
    async with attended(seat, stopping, answers, heard) as link:
        worker = _Worker(orders, seat, link)
        await serve_stub(worker.stub, stopping, lambda: link.send(serving=True), worker.tell_broken_off)


class _Worker:
    """The stub of this process, and what joins it with the parent."""

    def __init__(self, orders: Orders, seat: Seat, link: Link) -> None:
        self.stub = stub = Stub(orders.settings_of(seat), seat, orders.instance)
        self.following: WorkerLeadership | None = None
        stub.measures.has_parent = True
        self._link = link
        if orders.term is not None:
            self.following = following = WorkerLeadership(orders.term, stub.office, stub.registry)
            stub.acceptance.known_instances = lambda: following.known_instances
        stub.registry.subscribe(lambda link: self._tell_agents())
        stub.registry.subscribe_emptied(lambda cluster: self._tell_agents())
        # Agents of a stub that has been serving, and are not yet here, are on their way to this process.
        stub.office.became_active()

    def tell_broken_off(self) -> None:
        """Tell what the end of the grace leaves unfinished."""
        self._link.send(broken_off=len(self.stub.office.connections))

    def _tell_agents(self) -> None:
        self._link.send(agents=len(self.stub.registry.links))

    def status(self) -> dict[str, object]:
        """Return how this worker is."""
        return {"problem": self.stub.problem(), "running": len(self.stub.office.connections)}
