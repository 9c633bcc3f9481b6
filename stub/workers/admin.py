"""The admin endpoints of a stub with workers."""

from collections.abc import Callable, Iterator

from aiohttp import web
from prometheus_client.core import Metric

from stub.leadership import describe_lease
from stub.listing import Listing
from stub.measures import PREFIX, election_metrics
from stub.workers.leadership import ParentLeadership
from tunnel.aio.workers.admin import SupervisorEndpoints
from tunnel.aio.workers.supervisor import Supervisor


class ParentEndpoints(SupervisorEndpoints):
    """As those of a stub without workers; each session in `/clusters` says which worker has it.

    Args:
        supervisor: knows the workers.
        ready: says why the stub is not ready, or nothing.
        leadership: the part in the election; None where this stub is always active.
    """

    def __init__(
        self, supervisor: Supervisor, ready: Callable[[], str | None], leadership: ParentLeadership | None
    ) -> None:
        super().__init__(supervisor, ready, PREFIX, self._own_metrics)
        self._leadership = leadership

    def add_routes(self, router: web.UrlDispatcher) -> None:
        super().add_routes(router)
        router.add_get("/clusters", self._clusters)
        router.add_get("/lease", self._lease)
        router.add_get("/slots", self._slots)

    def _own_metrics(self) -> Iterator[Metric]:
        yield from election_metrics(self._leadership)

    async def _clusters(self, request: web.Request) -> web.Response:
        merged: Listing = {}
        for worker, listing in (await self._supervisor.ask("clusters")).items():
            for cluster, sessions in listing.items():
                merged.setdefault(cluster, []).extend({**session, "worker": worker} for session in sessions)
        return web.json_response(dict(sorted(merged.items())))

    async def _lease(self, request: web.Request) -> web.Response:
        return web.json_response(describe_lease(self._leadership))

    async def _slots(self, request: web.Request) -> web.Response:
        return web.json_response({})  # a stub with workers has none
