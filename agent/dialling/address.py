"""One `--stub`: its name is resolved again and again, and every address it has is dialled."""

import asyncio
import random
from collections.abc import Callable
from typing import Final

from agent.dialling.alarm import Alarm
from agent.dialling.endpoint import EndpointDialer
from agent.dialling.failures import DialFailures
from agent.dialling.road import Endpoint, Road
from tunnel.aio.errors import ResolveFailed
from tunnel.kit.backoff import Backoff
from tunnel.kit.values import Address

RESOLVE_SECONDS: Final = 30.0
"""How old an answer of the resolver may become; cluster DNS keeps its own for as long."""

SOONEST_SECONDS: Final = 1.0
"""Between two questions, however many endpoints fail."""


class AddressDialer:
    """See the module.

    Args:
        stub: a host and a port.
        road: resolves it.
        failures: told when it cannot be resolved.
        make: makes the dialer of an endpoint; its second argument is to be called on each failure.
    """

    def __init__(
        self,
        stub: Address,
        road: Road,
        failures: DialFailures,
        make: Callable[[Endpoint, Callable[[], None]], EndpointDialer],
    ) -> None:
        self._stub = stub
        self._road = road
        self._failures = failures
        self._make = make
        self._alarm = Alarm()
        self._backoff = Backoff(random.random)
        self._dialers: dict[Endpoint, EndpointDialer] = {}
        self._stopping = False

    async def run(self) -> None:
        """Keep dialling until `stop` is called. Cancelling it leaves the sessions alone."""
        async with asyncio.TaskGroup() as tasks:
            while not self._stopping:
                self._alarm.clear()
                self._alarm.within(await self._resolve(tasks))
                await self._alarm.wait()

    def stop(self) -> None:
        """Dial no more."""
        self._stopping = True
        self._alarm.within(0)
        for dialer in self._dialers.values():
            dialer.retire()

    def hurry(self) -> None:
        """Resolve and dial now."""
        self._alarm.within(0)
        for dialer in self._dialers.values():
            dialer.hurry()

    async def _resolve(self, tasks: asyncio.TaskGroup) -> float:
        """Return in how many seconds to ask again."""
        try:
            found = await self._road.endpoints(self._stub)
        except ResolveFailed as error:
            self._failures.failed(error.step, str(error))
            return self._backoff.next_seconds()
        self._backoff.succeeded()
        self._failures.over()
        for gone in self._dialers.keys() - set(found):
            self._dialers.pop(gone).retire()
        for endpoint in found:
            if endpoint not in self._dialers and not self._stopping:
                dialer = self._make(endpoint, self._ask_again)
                self._dialers[endpoint] = dialer
                tasks.create_task(dialer.run(), name=f"dial {endpoint}")
        return RESOLVE_SECONDS * (0.75 + random.random() / 2)  # noqa: S311 jitter, not a secret

    def _ask_again(self) -> None:
        self._alarm.within(SOONEST_SECONDS)
