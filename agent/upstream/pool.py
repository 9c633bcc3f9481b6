"""The agent's connections to its apiserver: kept alive, given to one exchange at a time, dialled when all are busy."""

import asyncio
import logging
from collections import deque
from typing import Final, Protocol

from agent.upstream.connection import UpstreamConnection
from agent.upstream.known import KnownAnswers
from agent.upstream.target import UpstreamTarget
from tunnel.aio.errors import DialFailed
from tunnel.core.errors import BadGateway, Refusal, TooManyRequests, Unavailable

IDLE_SECONDS: Final = 60.0
"""How long a connection may be unused. The apiserver closes its side after 90 s; a request must not meet that."""

_log = logging.getLogger(__name__)


class Borrower(Protocol):
    """Wants a connection."""

    def connected(self, connection: UpstreamConnection) -> None: ...
    def not_connected(self, refusal: Refusal) -> None: ...


class UpstreamPool:
    """See the module.

    Args:
        target: where the apiserver is.
        tasks: owns the dialling.
        limit: connections at most, pipes included.
        connect_seconds: how long dialling may take.
    """

    def __init__(
        self, target: UpstreamTarget, tasks: asyncio.TaskGroup, *, limit: int, connect_seconds: float
    ) -> None:
        self._target = target
        self._tasks = tasks
        self._limit = limit
        self._connect_seconds = connect_seconds
        self._loop = asyncio.get_running_loop()
        self._known = KnownAnswers()
        self._idle: deque[UpstreamConnection] = deque()
        self._open: set[UpstreamConnection] = set()
        self._dialling = 0
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None
        self.reachable = True
        self.dial_milliseconds = 0

    def borrow(self, borrower: Borrower, *, fresh: bool = False) -> None:
        """Give `borrower` a connection: at once where one is idle, else when it is dialled.

        Args:
            fresh: only a new one will do, because an idle one has just turned out to be closed.
        """
        while self._idle and not fresh:
            # The one used last: the others are left to grow old.
            connection = self._idle.pop()
            if not connection.stream.closing:
                borrower.connected(connection)
                return
        if self._closed:
            borrower.not_connected(Unavailable("this agent is shutting down"))
            return
        if len(self._open) + self._dialling >= self._limit:
            borrower.not_connected(
                TooManyRequests(f"all {self._limit} connections to the apiserver are in use", retry_after=1)
            )
            return
        self._dialling += 1
        self._tasks.create_task(self._dial(borrower), name="dial the apiserver")

    async def _dial(self, borrower: Borrower) -> None:
        started = self._loop.time()
        connection = UpstreamConnection(self, self._known)
        try:
            await self._target.connect(connection, started + self._connect_seconds)
        except DialFailed as error:
            self._dialling -= 1
            self.reachable = False
            _log.warning("the apiserver cannot be reached", extra={"reason": str(error)})
            borrower.not_connected(BadGateway(f"the apiserver cannot be reached: {error}"))
            return
        self._dialling -= 1
        self.reachable = True
        self.dial_milliseconds = round((self._loop.time() - started) * 1000)
        if connection.stream.closing:
            # It was closed as soon as it was there, and its handler has heard so already: nothing more would come of it.
            borrower.not_connected(BadGateway("the apiserver closed a new connection at once"))
            return
        self._open.add(connection)
        borrower.connected(connection)

    def connection_free(self, connection: UpstreamConnection) -> None:
        connection.idle_since = self._loop.time()
        connection.stream.resume_reading()  # its last responder may have been slow
        self._idle.append(connection)
        if self._timer is None:
            self._timer = self._loop.call_later(IDLE_SECONDS, self._expire)

    def connection_gone(self, connection: UpstreamConnection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def _expire(self) -> None:
        self._timer = None
        oldest = self._loop.time() - IDLE_SECONDS
        while self._idle and self._idle[0].idle_since <= oldest:
            connection = self._idle.popleft()
            self._open.discard(connection)
            connection.stream.close()
        if self._idle:
            self._timer = self._loop.call_at(self._idle[0].idle_since + IDLE_SECONDS, self._expire)

    def doubt(self) -> None:
        """The apiserver left a question unanswered on one of the connections: drop those that are idle, whose path may be dead too. Those in
        use have an answer under way, or are given up by the kernel."""
        idle, self._idle = self._idle, deque()
        for connection in idle:
            self._open.discard(connection)
            connection.stream.abort()

    def close(self) -> None:
        """Break every connection off, and dial no more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for connection in list(self._open):
            connection.abort()
