"""The admin endpoints that stub and agent share: plain HTTP, read-only, for loopback or the pod network."""

from collections.abc import Callable

from aiohttp import web

from tunnel.kit.failures import CommandFailed
from tunnel.kit.values import Address


class AdminListener:
    """`/livez`, `/readyz` and `/metrics`.

    Args:
        ready: says why the process is not ready, or nothing.
        metrics: renders the numbers in Prometheus' text format.
    """

    def __init__(self, ready: Callable[[], str | None], metrics: Callable[[], bytes]) -> None:
        self._ready = ready
        self._metrics = metrics
        self._runner: web.AppRunner | None = None

    async def start(self, address: Address) -> None:
        """Listen.

        Raises:
            CommandFailed: the address is taken or cannot be used.
        """
        app = web.Application()
        self.add_routes(app.router)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, address.host, address.port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise CommandFailed(f"--admin-listen {address}: {error.strerror or error}") from None

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Say what is served; more by overriding it."""
        router.add_get("/livez", self._livez)
        router.add_get("/readyz", self._readyz)
        router.add_get("/metrics", self._get_metrics)

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
