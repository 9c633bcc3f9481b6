"""A user that asks stubs directly, each in short intervals, and notes when which of them answered what."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from tests.faults import content
from tests.faults.beside import beside
from tests.faults.http import Broken, Connection
from tests.faults.processes import FaultFailed, StubProcess

EVERY_SECONDS: Final = 0.02
"""How exactly the moments are known."""

ANSWER_SECONDS: Final = 1.0
"""A stub that is frozen does not answer; it is asked anew, on another connection."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One question; times are on the loop's clock.

    Attributes:
        status: 0 where there was no answer.
    """

    stub: StubProcess
    sent: float
    answered: float
    status: int


class Prober:
    """See the module.

    Attributes:
        probes: in the order in which they were over.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._loop = asyncio.get_running_loop()
        self.probes: list[Probe] = []
        self._changed = asyncio.Event()

    async def ask(self, stub: StubProcess) -> None:
        """Ask one stub again and again, until cancelled."""
        connection: Connection | None = None
        try:
            while True:
                began = self._loop.time()
                status = 0
                try:
                    async with asyncio.timeout(ANSWER_SECONDS):
                        if connection is None or not connection.idle:
                            connection = await self._anew(connection, stub)
                        status = (await connection.ask("GET", content.object_target("probe", 2))).status
                except (OSError, Broken, TimeoutError):
                    _close(connection)
                    connection = None
                self._note(Probe(stub, began, self._loop.time(), status))
                await asyncio.sleep(max(began + EVERY_SECONDS - self._loop.time(), 0))
        finally:
            _close(connection)

    async def _anew(self, connection: Connection | None, stub: StubProcess) -> Connection:
        _close(connection)
        return await Connection.open(stub.port, self._context)

    def _note(self, probe: Probe) -> None:
        self.probes.append(probe)
        self._changed.set()

    def answered(self, stub: StubProcess) -> list[Probe]:
        """Return the questions to a stub that were carried to the apiserver and back."""
        return [probe for probe in self.probes if probe.stub is stub and probe.status == 200]

    async def first_answer(self, stubs: Sequence[StubProcess], since: float, seconds: float) -> Probe:
        """Wait for the first answer of one of some stubs to a question since a moment."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    for probe in self.probes:
                        if probe.stub in stubs and probe.status == 200 and probe.sent >= since:
                            return probe
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            said = "\n".join(f"--- {stub.name}\n{stub.said(15)}" for stub in stubs)
            raise FaultFailed(f"no answer within {seconds:.0f} s\n{said}") from None

    def both_answered(self, one: StubProcess, other: StubProcess) -> list[tuple[Probe, Probe]]:
        """Return answers of `one` to questions that were asked when `other` had answered already."""
        answers = self.answered(other)
        if not answers:
            return []
        first = min(answers, key=lambda probe: probe.answered)
        return [(first, probe) for probe in self.answered(one) if probe.sent > first.answered]


def _close(connection: Connection | None) -> None:
    if connection is not None:
        connection.close()


@asynccontextmanager
async def probing(stubs: Sequence[StubProcess], context: ssl.SSLContext) -> AsyncIterator[Prober]:
    """Ask stubs while the block runs."""
    found = Prober(context)
    async with beside(*(found.ask(stub) for stub in stubs)):
        yield found
