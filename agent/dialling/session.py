"""A session that knows which stub worker it reached, and is the only one with it."""

import asyncio
from enum import Enum

from agent.dialling.channels import FiledChannels
from agent.dialling.roster import Roster, Worker, worker_of
from agent.session import AgentLink
from tunnel.core.session.events import SessionClosed
from tunnel.core.wire.control import Active, Drain, Reject, StubHello


class Outcome(Enum):
    """What became of a dial that reached a stub."""

    FILED = "filed"
    KNOWN = "known"
    """The worker has a session already; this one was closed before the stub listed it."""
    LOST = "lost"
    """It was over before the stub had said HELLO, or before there was a version in common."""


class FiledSession(AgentLink):
    """See the module. `file_in` is called before anything is received."""

    channels: FiledChannels
    _roster: Roster
    _settled: asyncio.Event

    def file_in(self, roster: Roster) -> None:
        """Let the session be filed as soon as the stub has said who it is."""
        self._roster = roster
        self._settled = asyncio.Event()
        self.worker: Worker | None = None
        self.outcome = Outcome.LOST

    async def settled(self) -> None:
        """Wait until `outcome` is certain."""
        await self._settled.wait()

    def _control(self, event: StubHello | Active | Drain | Reject | SessionClosed) -> None:
        match event:
            case StubHello():
                self._greeted(event)
            case Drain():
                super()._control(event)
                if self.worker is not None:
                    self._roster.drains(self.worker)
            case _:
                super()._control(event)

    def _greeted(self, hello: StubHello) -> None:
        worker = worker_of(hello)
        if self._roster.session_with(worker) is not None:
            # Before our own HELLO, so that the stub never asks on it.
            self.worker, self.outcome = worker, Outcome.KNOWN
            self._roster.counts.known += 1
            self.runner.reject("this agent has a session with this worker already")
            return
        super()._control(hello)
        if self.stub is not None:
            self.worker, self.outcome = worker, Outcome.FILED
            self._roster.file(worker, self)
            self._settled.set()

    def session_closed(self, reason: str, *, dead: bool) -> None:
        super().session_closed(reason, dead=dead)
        if self.worker is not None:
            self._roster.remove(self.worker, self)
        self._settled.set()
