"""The agent's own questions to the apiserver: GETs over the connections that serve everybody's requests."""

import asyncio

from agent.upstream.pool import UpstreamPool
from agent.upstream.question import Answer, Question, Take, own_head
from agent.upstream.target import UpstreamTarget

_OK = (200,)


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
        head = own_head(self._target, b"GET", path, self._loop.time())
        question = Question(self._upstream, b"GET", head, take, statuses=_OK, most_bytes=most_bytes)
        return await question.ask(seconds)

    async def renew_credential(self) -> bool:
        """The apiserver does not know the credential; return whether there may be another one now.

        Raises:
            CommandFailed: it cannot be had.
        """
        if self._target.credential.can_renew:
            await self._target.credential.renew()
        return self._target.credential.can_renew
