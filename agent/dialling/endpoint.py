"""One endpoint: dialled until every stub worker behind it has a session, and again whenever one may have come."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Final

from agent.dialling.alarm import Alarm
from agent.dialling.failures import DialFailures
from agent.dialling.road import Endpoint
from agent.dialling.roster import Roster, Worker
from agent.dialling.session import FiledSession, Outcome
from tunnel.aio.errors import DialFailed, StreamError
from tunnel.kit.backoff import LONGEST_SECONDS, Backoff

_log = logging.getLogger(__name__)

PROBE_SECONDS: Final = 60.0
"""How often, at the slowest, an endpoint that has led to nobody new is tried again. A load balancer says nothing when there is
another stub behind it; a try costs the stub one handshake (2 ms)."""

SEEKING_TRIES: Final = 8
"""For each worker of a stub: the kernel draws which one a connection reaches, so that of N workers the last one is not met within
8 N tries in a run of bad luck of 1 in 3000. They are 0.2 s apart."""

FORGIVEN_SECONDS: Final = 60.0
"""Troubles further apart than this have nothing to do with each other: the waits begin anew."""


class EndpointDialer:
    """See the module.

    Args:
        endpoint: what is dialled.
        open_session: dials once, and returns the session when its outcome is certain. Raises StreamError.
        roster: who has a session.
        on_failure: called when a dial failed; the name may have other addresses by now.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        open_session: Callable[[Endpoint], Awaitable[FiledSession]],
        roster: Roster,
        on_failure: Callable[[], None],
    ) -> None:
        self.endpoint = endpoint
        self._open_session = open_session
        self._roster = roster
        self._on_failure = on_failure
        self._loop = asyncio.get_running_loop()
        self._alarm = Alarm()
        self._met: set[Worker] = set()
        self._troubles = Backoff(random.random)
        self._probes = Backoff(random.random, fast_tries=0, longest_seconds=PROBE_SECONDS)
        self._seeking: Backoff | None = None
        self._trouble_at = 0.0
        self._failures = DialFailures(str(endpoint), roster)
        self._retired = False

    async def run(self) -> None:
        """Dial until `retire` is called. Cancelling it leaves the sessions alone."""
        self._roster.seekers.add(self)
        try:
            while not self._retired:
                # Cleared first: what happens during a dial counts.
                self._alarm.clear()
                self._alarm.within(await self._dial())
                await self._alarm.wait()
        finally:
            self._roster.seekers.discard(self)

    def retire(self) -> None:
        """Dial no more: the name no longer has this address, or the agent drains."""
        self._retired = True
        self._alarm.within(0)

    def hurry(self) -> None:
        """Dial now."""
        self._alarm.within(0)

    def worker_lost(self, worker: Worker) -> None:
        """See `Seeker`."""
        if worker in self._met:
            self._met.discard(worker)
            self._probes.succeeded()
            if self._seeking is not None:
                self._seeking.succeeded()
            # Moved, not brought forward: a stub that ends each session at once must not be dialled at the pace of probes.
            self._alarm.move(self._trouble_seconds())

    def worker_draining(self, worker: Worker) -> None:
        """See `Seeker`."""
        if worker in self._met:
            self._probes.succeeded()
            self._alarm.within(self._probe_seconds())

    async def _dial(self) -> float:
        """Return in how many seconds the next try is due."""
        try:
            session = await self._open_session(self.endpoint)
        except StreamError as error:
            return self._failed(error.step if isinstance(error, DialFailed) else "stream", str(error))
        if session.outcome is Outcome.LOST or session.worker is None:
            return self._failed("hello", session.close_reason)
        self._met.add(session.worker)
        self._failures.over()
        if session.outcome is Outcome.FILED:
            self._probes.succeeded()
            self._seeking = Backoff(random.random, fast_tries=SEEKING_TRIES * _workers_of(session))
        return self._probe_seconds()

    def _failed(self, step: str, reason: str) -> float:
        self._failures.failed(step, reason)
        self._on_failure()
        return self._trouble_seconds()

    def _trouble_seconds(self) -> float:
        now = self._loop.time()
        if now - self._trouble_at > FORGIVEN_SECONDS:
            self._troubles.succeeded()
        self._trouble_at = now
        return self._troubles.next_seconds()

    def _probe_seconds(self) -> float:
        if self._seeking is not None and self._roster.misses_workers(self._met):
            return self._seeking.next_seconds()
        seconds = self._probes.next_seconds()
        return min(seconds, LONGEST_SECONDS) if self._roster.missing else seconds


def _workers_of(session: FiledSession) -> int:
    return max(session.stub.workers, 1) if session.stub is not None else 1
