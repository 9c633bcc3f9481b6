"""A request of the agent's own to the apiserver, over the connections that serve everybody's."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from agent.upstream.connection import UpstreamConnection
from agent.upstream.pool import UpstreamPool
from agent.upstream.target import UpstreamTarget
from tunnel.core.errors import Refusal, TooManyRequests
from tunnel.core.http.message import Field, ResponseHead
from tunnel.core.http.render import field_lines, render_request

Take = Callable[[bytes | memoryview], None]


class NoAnswer(Exception):
    """The apiserver did not answer; the text says why."""


class NoRoom(NoAnswer):
    """All connections are in use: nothing was asked, which says nothing about the apiserver."""


class NotInTime(NoAnswer):
    """It may answer yet, or what it is asked on leads nowhere any more."""


class TooMuch(NoAnswer):
    """The answer is larger than it may be."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Attributes:
        status: of HTTP.
        milliseconds: from the request to the head of the answer, without connecting.
    """

    status: int
    milliseconds: float


def own_head(
    target: UpstreamTarget, method: bytes, path: bytes, now: float, more: Sequence[Field] = ()
) -> bytes:
    """Return the head of a request of the agent's own, with its own credential.

    Args:
        path: of the target, query included.
        now: in `loop.time()`.
        more: fields beside the usual ones.
    """
    fields = [
        (b"Host", target.authority),
        (b"Accept", b"application/json"),
        *more,
        (b"User-Agent", b"cluster-tunnel-agent"),
        *target.credential.fields(now),
    ]
    return render_request(method, target.base_path + path, field_lines(fields))


class Question:
    """One request: it borrows a connection and is what that answers to. It can be asked once.

    Args:
        upstream: the connections.
        method: of the request.
        data: all of it, head and body.
        take: gets the body of the answer, piece by piece; what it raises ends the question.
        statuses: the statuses whose bodies it gets; any other body is thrown away.
        most_bytes: of any body.
    """

    def __init__(
        self,
        upstream: UpstreamPool,
        method: bytes,
        data: bytes,
        take: Take,
        *,
        statuses: Collection[int],
        most_bytes: int,
    ) -> None:
        self._upstream = upstream
        self._method = method
        self._data = data
        self._take = take
        self._statuses = statuses
        self._left = most_bytes
        self._loop = asyncio.get_running_loop()
        self._outcome: asyncio.Future[Answer] = self._loop.create_future()
        self._connection: UpstreamConnection | None = None
        self._sent_at = 0.0
        self._answer = Answer(0, 0.0)
        self._tried_again = False

    async def ask(self, seconds: float) -> Answer:
        """Ask, and wait until the answer is whole.

        Args:
            seconds: at most.

        Raises:
            NoAnswer: there was none, or not all of it; see its kinds.

        Cancelling it breaks the connection off.
        """
        try:
            async with asyncio.timeout(seconds):
                self._upstream.borrow(self)
                return await self._outcome
        except TimeoutError:
            raise NotInTime(f"it did not answer within {seconds:g} s") from None
        finally:
            self._drop()

    def _drop(self) -> None:
        """Nobody waits any more."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()
        self._outcome.cancel()

    def _fail(self, error: Exception) -> None:
        if not self._outcome.done():
            self._outcome.set_exception(error)
        self._drop()

    # Borrower --------------------------------------------------------------------------------------

    def connected(self, connection: UpstreamConnection) -> None:
        if self._outcome.done():
            connection.abort()
            return
        self._connection = connection
        self._sent_at = self._loop.time()
        connection.begin(self, self._method, self._data, whole=True)

    def not_connected(self, refusal: Refusal) -> None:
        kind = NoRoom if isinstance(refusal, TooManyRequests) else NoAnswer
        self._fail(kind(refusal.message))

    # Responder -------------------------------------------------------------------------------------

    def upstream_head(self, head: ResponseHead, length: int) -> None:
        self._answer = Answer(head.status, (self._loop.time() - self._sent_at) * 1000)

    def upstream_data(self, data: bytes | memoryview) -> None:
        self._left -= len(data)
        if self._left < 0:
            self._fail(TooMuch("its answer is too large"))
        elif self._answer.status in self._statuses:
            try:
                self._take(data)
            except Exception as error:
                # Its reader's, who gets it from `ask`; raised here it would end the connection as a fault of ours.
                self._fail(error)

    def upstream_end(self) -> None:
        self._connection = None
        if not self._outcome.done():
            self._outcome.set_result(self._answer)

    def upstream_switched(self, head: ResponseHead, early: memoryview) -> None:
        self._fail(NoAnswer("it answered a plain request with 101"))

    def upstream_lost(self, reason: str, *, answered: bool, reused: bool) -> None:
        self._connection = None
        if reused and not answered and not self._tried_again and not self._outcome.done():
            # A kept-alive connection that the apiserver closed at this very moment.
            self._tried_again = True
            self._upstream.borrow(self, fresh=True)
        else:
            self._fail(NoAnswer(reason))

    def upstream_write_paused(self) -> None:
        """A request of our own is far smaller than any buffer."""

    def upstream_write_resumed(self) -> None:
        """See above."""
