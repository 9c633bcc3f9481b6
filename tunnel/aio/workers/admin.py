"""The admin endpoints of a supervisor, which speaks for all its workers."""

from collections.abc import Callable, Iterable, Iterator

from aiohttp import web
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from tunnel.aio.admin import AdminListener
from tunnel.aio.workers.numbers import Page
from tunnel.aio.workers.supervisor import Supervisor


class SupervisorEndpoints(AdminListener):
    """`/livez`, `/readyz` and `/metrics`.

    Args:
        supervisor: knows the workers.
        ready: says why the process is not ready, or nothing.
        prefix: of the supervisor's own numbers.
        own: more of them.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        ready: Callable[[], str | None],
        prefix: str,
        own: Callable[[], Iterable[Metric]] = tuple,
    ) -> None:
        super().__init__(ready, bytes)
        self._supervisor = supervisor
        self._prefix = prefix
        self._own = own

    async def _get_metrics(self, request: web.Request) -> web.Response:
        contents = await self._supervisor.ask("metrics")
        own = [*self._own(), *self._worker_metrics()]
        page = Page(own, contents).render()
        return web.Response(body=page, headers={"Content-Type": "text/plain; version=0.0.4"})

    def _worker_metrics(self) -> Iterator[Metric]:
        ready = GaugeMetricFamily(
            self._prefix + "worker_ready", "1 where a worker can serve.", labels=["worker"]
        )
        restarts = CounterMetricFamily(
            self._prefix + "worker_deaths", "How often a worker's process has died.", labels=["worker"]
        )
        for worker in self._supervisor.workers:
            ready.add_metric([str(worker.number)], worker.status.problem is None)
            restarts.add_metric([str(worker.number)], worker.restarts.count)
        yield from (ready, restarts)
