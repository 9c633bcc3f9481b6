"""The admin endpoints: plain HTTP, read-only, for loopback or the pod network."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from aiohttp import web

from stub.agents.registry import Registry
from tunnel.kit.failures import CommandFailed
from tunnel.kit.values import Address

if TYPE_CHECKING:
    from stub.agents.link import AgentLink


class AdminEndpoints:
    """`/livez`, `/readyz`, `/metrics` and `/clusters`.

    Args:
        registry: the agents.
        ready: says why the stub is not ready, or nothing.
        metrics: renders the numbers.
    """

    def __init__(
        self, registry: Registry, ready: Callable[[], str | None], metrics: Callable[[], bytes]
    ) -> None:
        self._registry = registry
        self._ready = ready
        self._metrics = metrics
        self._runner: web.AppRunner | None = None

    async def start(self, address: Address) -> None:
        """Listen.

        Raises:
            CommandFailed: the address is taken or cannot be used.
        """
        app = web.Application()
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._get_metrics)
        app.router.add_get("/clusters", self._clusters)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, address.host, address.port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise CommandFailed(f"--admin-listen {address}: {error.strerror or error}") from None

    async def stop(self) -> None:
        """Close the listener and its connections."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _livez(self, request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, request: web.Request) -> web.Response:
        problem = self._ready()
        return web.Response(text=f"{problem or 'ok'}\n", status=503 if problem else 200)

    async def _get_metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=self._metrics(), headers={"Content-Type": "text/plain; version=0.0.4"})

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
