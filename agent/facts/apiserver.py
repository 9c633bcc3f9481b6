"""The agent's own questions to the apiserver: GETs over the connections that serve everybody's requests."""

import asyncio
from collections.abc import Callable
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


class Apiserver:
    """See the module.

    Args:
        target: where it is.
        upstream: the connections.
    """

    def __init__(self, target: UpstreamTarget, upstream: UpstreamPool) -> None:
        self._target = target
        self._upstream = upstream
        self._loop = asyncio.get_running_loop()

    async def get(self, path: bytes, take: Take, *, most_bytes: int, seconds: float) -> Answer:
        """Ask with the agent's own credential.

        Args:
            path: of the target, query included.
            take: gets the body of a 200, piece by piece; what it raises ends the question.
            most_bytes: of any body.
            seconds: until the answer must be whole.

        Raises:
            NoAnswer: there was none, or not all of it; see its kinds.

        Cancelling it breaks the connection off.
        """
        question = _Question(self._upstream, self._head(path), take, most_bytes)
        try:
            async with asyncio.timeout(seconds):
                return await question.ask()
        except TimeoutError:
            raise NoAnswer(f"it did not answer within {seconds:g} s") from None
        finally:
            question.drop()

    async def renew_credential(self) -> bool:
        """The apiserver does not know the credential; return whether there may be another one now.

        Raises:
            CommandFailed: it cannot be had.
        """
        if self._target.credential.can_renew:
            await self._target.credential.renew()
        return self._target.credential.can_renew

    def _head(self, path: bytes) -> bytes:
        fields: list[Field] = [
            (b"Host", self._target.authority),
            (b"Accept", b"application/json"),
            (b"User-Agent", b"cluster-tunnel-agent"),
            *self._target.credential.fields(self._loop.time()),
        ]
        return render_request(b"GET", self._target.base_path + path, field_lines(fields))


class _Question:
    """One GET: it borrows a connection and is what that answers to."""

    def __init__(self, upstream: UpstreamPool, head: bytes, take: Take, most_bytes: int) -> None:
        self._upstream = upstream
        self._head = head
        self._take = take
        self._left = most_bytes
        self._loop = asyncio.get_running_loop()
        self._outcome: asyncio.Future[Answer] = self._loop.create_future()
        self._connection: UpstreamConnection | None = None
        self._sent_at = 0.0
        self._answer = Answer(0, 0.0)
        self._tried_again = False

    async def ask(self) -> Answer:
        self._upstream.borrow(self)
        return await self._outcome

    def drop(self) -> None:
        """Nobody waits any more."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()
        self._outcome.cancel()

    def _fail(self, error: Exception) -> None:
        if not self._outcome.done():
            self._outcome.set_exception(error)
        self.drop()

    # Borrower --------------------------------------------------------------------------------------

    def connected(self, connection: UpstreamConnection) -> None:
        if self._outcome.done():
            connection.abort()
            return
        self._connection = connection
        self._sent_at = self._loop.time()
        connection.begin(self, b"GET", self._head, whole=True)

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
        elif self._answer.status == 200:
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
        """The head is far smaller than any buffer."""

    def upstream_write_resumed(self) -> None:
        """See above."""
