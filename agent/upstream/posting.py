"""What the agent asks the apiserver to make or to decide, with its own credential: small objects in JSON."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from agent.upstream.pool import UpstreamPool
from agent.upstream.question import NoAnswer, NoRoom, Question, own_head
from agent.upstream.target import UpstreamTarget
from tunnel.core.errors import BadGateway, Refusal, TooManyRequests, Unavailable
from tunnel.core.http.message import Field
from tunnel.core.limits import KIB
from tunnel.kit.failures import CommandFailed

ANSWER_SECONDS: Final = 10.0
ANSWER_BYTES: Final = 64 * KIB
"""A service account's token has about 1 KiB, an access review less."""

CREATED: Final = 201


class Posts(Protocol):
    """Asks the apiserver to create an object that answers something; see `Poster`."""

    async def create(self, path: str, body: object, what: str) -> Any: ...


class NotCreated(Exception):
    """The apiserver answered with another status than 201.

    Attributes:
        status: that one.
    """

    def __init__(self, status: int) -> None:
        super().__init__(f"the apiserver answered {status}")
        self.status = status


class Poster:
    """See the module.

    Args:
        target: where the apiserver is.
        upstream: the connections.
    """

    def __init__(self, target: UpstreamTarget, upstream: UpstreamPool) -> None:
        self._target = target
        self._upstream = upstream
        self._loop = asyncio.get_running_loop()

    async def create(self, path: str, body: object, what: str) -> Any:
        """Post an object and return the apiserver's, read as JSON.

        Args:
            path: of the target.
            body: to be written as JSON.
            what: names in an error what cannot be had.

        Raises:
            NotCreated: the apiserver does not do it.
            Refusal: it did not answer, or not with JSON; in words for the user who waits.
        """
        data = json.dumps(body, separators=(",", ":")).encode()
        answer = bytearray()
        try:
            status = await self._ask(path, data, answer)
            if status == 401 and self._target.credential.can_renew:
                await self._target.credential.renew()
                status = await self._ask(path, data, answer)
            if status != CREATED:
                raise NotCreated(status)
            return json.loads(answer)
        except NoRoom as full:
            raise TooManyRequests(str(full), retry_after=1) from None
        except (NoAnswer, CommandFailed) as failure:
            raise BadGateway(f"{what} cannot be had: {failure}") from None
        except (ValueError, RecursionError):
            raise BadGateway(f"{what} cannot be had: the apiserver's answer is not JSON") from None

    async def _ask(self, path: str, data: bytes, answer: bytearray) -> int:
        body: list[Field] = [
            (b"Content-Type", b"application/json"),
            (b"Content-Length", b"%d" % len(data)),
        ]
        head = own_head(self._target, b"POST", path.encode(), self._loop.time(), body)
        question = Question(
            self._upstream,
            b"POST",
            head + data,
            answer.extend,
            statuses={CREATED},
            most_bytes=ANSWER_BYTES,
        )
        return (await question.ask(ANSWER_SECONDS)).status


class Once:
    """A question that is asked once, however many need its answer at the same time.

    Args:
        ask: asks it, and keeps what it learns.
    """

    def __init__(self, ask: Callable[[], Awaitable[None]]) -> None:
        self._ask = ask
        self._loop = asyncio.get_running_loop()
        self._under_way: asyncio.Future[Refusal | None] | None = None

    async def answered(self) -> None:
        """Ask, or wait for the answer where it is being asked.

        Raises:
            Refusal: as `ask` does, to everybody who waited.
        """
        if self._under_way is not None:
            refusal = await asyncio.shield(self._under_way)
        else:
            refusal = await self._ask_for_all()
        if refusal is not None:
            raise refusal

    async def _ask_for_all(self) -> Refusal | None:
        answered = self._under_way = self._loop.create_future()
        outcome: Refusal | None = Unavailable("this agent is shutting down")  # where this is cancelled
        try:
            await self._ask()
            outcome = None
        except Refusal as refusal:
            outcome = refusal
        finally:
            self._under_way = None
            answered.set_result(outcome)
        return outcome
