"""The stub's admin endpoints: those of every process, and who is connected."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from aiohttp import web

from stub.agents.registry import Registry
from tunnel.aio.admin import AdminListener

if TYPE_CHECKING:
    from stub.agents.link import AgentLink


class AdminEndpoints(AdminListener):
    """`/livez`, `/readyz`, `/metrics` and `/clusters`.

    Args:
        registry: the agents.
        ready: says why the stub is not ready, or nothing.
        metrics: renders the numbers.
    """

    def __init__(
        self, registry: Registry, ready: Callable[[], str | None], metrics: Callable[[], bytes]
    ) -> None:
        super().__init__(ready, metrics)
        self._registry = registry

    def add_routes(self, router: web.UrlDispatcher) -> None:
        super().add_routes(router)
        router.add_get("/clusters", self._clusters)

    async def _clusters(self, request: web.Request) -> web.Response:
        now = asyncio.get_running_loop().time()
        return web.json_response(
            {
                cluster: [_describe(link, now) for link in entry.agents]
                for cluster, entry in sorted(self._registry.clusters.items())
            }
        )


def _describe(link: "AgentLink", now: float) -> dict[str, object]:
    return {
        "agent": link.name,
        "software": link.software,
        "address": link.address,
        "connectedSeconds": round(now - link.connected_at, 1),
        "channels": len(link.channels),
        "requestsInFlight": link.report.requests,
        "pipes": link.report.pipes,
        "draining": link.draining,
        "upstreamReachable": link.report.upstream_reachable,
        "upstreamMilliseconds": link.report.upstream_milliseconds,
        "upstreamVersion": link.report.upstream_version,
    }
