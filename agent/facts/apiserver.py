"""The agent's own questions to the apiserver: GETs over the connections that serve everybody's requests."""

import asyncio

from agent.upstream.pool import UpstreamPool
from agent.upstream.question import Answer, Question, Take
from agent.upstream.target import UpstreamTarget
from tunnel.core.http.message import Field
from tunnel.core.http.render import field_lines, render_request

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
        question = Question(
            self._upstream, b"GET", self._head(path), take, statuses=_OK, most_bytes=most_bytes
        )
        return await question.ask(seconds)

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
