"""What stands in front of several stubs, as a Kubernetes Service does: it leads new connections to the active one."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from tests.faults.beside import beside
from tests.faults.processes import StubProcess
from tests.faults.relay import Relay, relay

LOOK_SECONDS: Final = 0.1
"""How late it follows at most: kube-proxy's own delay is of the order of a second."""


class Service:
    """See the module. A stub that was the active one is led to until another one is: that is how the active label moves."""

    def __init__(self) -> None:
        self.active: StubProcess | None = None
        self.relay: Relay

    @property
    def port(self) -> int:
        """Where users connect."""
        return self.relay.port

    def leads_to(self) -> int | None:
        """Return the port of the active stub, as far as it is known."""
        return self.active.port if self.active is not None else None

    async def follow(self, stub: StubProcess) -> None:
        """Keep looking whether this one is the active one, until cancelled; one that is frozen holds nobody else up."""
        while True:
            if stub.alive and await stub.is_active():
                self.active = stub
            await asyncio.sleep(LOOK_SECONDS)


@asynccontextmanager
async def service(stubs: Sequence[StubProcess]) -> AsyncIterator[Service]:
    """Lead users to the active one of these stubs while the block runs."""
    found = Service()
    async with relay(found.leads_to) as found.relay, beside(*map(found.follow, stubs)):
        yield found
