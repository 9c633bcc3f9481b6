"""The stub's admin endpoints: those of every process, who is connected, and which of several stubs is active."""

from collections.abc import Callable

from aiohttp import web

from stub.agents.registry import Registry
from stub.leadership import Leadership, describe_lease
from stub.listing import list_clusters
from stub.slots import SlotBoard
from tunnel.aio.admin import AdminListener


class AdminEndpoints(AdminListener):
    """`/livez`, `/readyz`, `/metrics`, `/clusters`, `/lease` and `/slots`.

    Args:
        registry: the agents.
        ready: says why the stub is not ready, or nothing.
        metrics: renders the numbers.
        leadership: this stub's part in the election; None where it is always active.
        slots: names that stand for one of several clusters.
    """

    def __init__(
        self,
        registry: Registry,
        ready: Callable[[], str | None],
        metrics: Callable[[], bytes],
        leadership: Leadership | None = None,
        slots: SlotBoard | None = None,
    ) -> None:
        super().__init__(ready, metrics)
        self._registry = registry
        self._leadership = leadership
        self._slots = slots

    def add_routes(self, router: web.UrlDispatcher) -> None:
        super().add_routes(router)
        router.add_get("/clusters", self._clusters)
        router.add_get("/lease", self._lease)
        router.add_get("/slots", self._slot_holders)

    async def _clusters(self, request: web.Request) -> web.Response:
        return web.json_response(list_clusters(self._registry))

    async def _slot_holders(self, request: web.Request) -> web.Response:
        return web.json_response(
            {
                slot.name: {"holder": slot.holder, "clusters": slot.clusters, "switches": slot.switches}
                for slot in self._slots or ()
            }
        )

    async def _lease(self, request: web.Request) -> web.Response:
        return web.json_response(describe_lease(self._leadership))
