"""A session that knows which stub worker it reached, and is the only one with it."""

import asyncio
from enum import Enum
from typing import Final

from agent.dialling.channels import FiledChannels
from agent.dialling.roster import Roster, Worker, worker_of
from agent.enrolment_parts import AgentTls
from agent.session import AgentLink, Control
from tunnel.core.wire.control import Drain, StubHello

HAND_OVER_SECONDS: Final = 2.0
"""How long a session that is replaced still takes requests."""

_REPLACED: Final = "another session took its place"


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
    tls: AgentTls
    _roster: Roster
    _server_name: str
    _settled: asyncio.Event

    def file_in(self, roster: Roster, server_name: str, tls: AgentTls) -> None:
        """Let the session be filed as soon as the stub has said who it is.

        Args:
            roster: which workers have a session.
            server_name: what the stub's certificate is for.
            tls: with what it is dialled. A later session with the same worker takes its place only with another certificate.
        """
        self._roster = roster
        self._server_name = server_name
        self.tls = tls
        self._settled = asyncio.Event()
        self.worker: Worker | None = None
        self.outcome = Outcome.LOST

    async def settled(self) -> None:
        """Wait until `outcome` is certain."""
        await self._settled.wait()

    def _control(self, event: Control) -> None:
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
        worker = worker_of(self._server_name, hello)
        existing = self._roster.session_with(worker)
        if existing is not None and existing.tls is self.tls:
            # Before our own HELLO, so that the stub never asks on it.
            self.worker, self.outcome = worker, Outcome.KNOWN
            self._roster.counts.known += 1
            self.runner.reject("this agent has a session with this worker already")
            return
        super()._control(hello)
        if self.stub is not None:
            self.worker, self.outcome = worker, Outcome.FILED
            self._roster.file(worker, self)
            if existing is not None:
                # Not before the stub lists the new one: for a moment it would have no agent.
                self._loop.call_later(HAND_OVER_SECONDS, existing.hand_over)
            self._settled.set()

    def hand_over(self) -> None:
        """Another session of this agent has taken its place: end behind what runs on it."""
        if not self.closed.is_set():
            self.drain("this agent's certificate was renewed")
            self._tasks.create_task(self._end_when_idle(), name="end a session that was replaced")

    async def _end_when_idle(self) -> None:
        await self.finish()
        await self.channels.finish(_REPLACED)
        self.stop(_REPLACED)

    def session_closed(self, reason: str, *, dead: bool) -> None:
        super().session_closed(reason, dead=dead)
        if self.worker is not None:
            self._roster.remove(self.worker, self)
        self._settled.set()
