"""One call for a certificate on a client's connection: its body is gathered, bounded, and its answer comes when it is ready."""

import asyncio
import logging
from collections.abc import Callable

from certs.signed import BODY_BYTES
from stub.signing.endpoints import Answer, SigningEndpoints
from tunnel.core.errors import Unavailable
from tunnel.core.http.message import RequestHead
from tunnel.core.http.status import refusal_response

_log = logging.getLogger(__name__)


class SigningTurn:
    """See the module. `answered` is called exactly once, from the loop, unless `drop` is called before.

    Args:
        endpoints: what answers.
        tasks: owns the work.
        head: of the request.
        certificate: what the connection shows, DER; None where it shows none.
        address: where it comes from.
        answered: gets status, fields and body; the framing is its own to add, and the connection its own to close.

    Attributes:
        head: of the request.
    """

    def __init__(
        self,
        endpoints: SigningEndpoints,
        tasks: asyncio.TaskGroup,
        head: RequestHead,
        certificate: bytes | None,
        address: str,
        answered: Callable[[Answer], None],
    ) -> None:
        self._endpoints = endpoints
        self._tasks = tasks
        self.head = head
        self._certificate = certificate
        self._address = address
        self._answered = answered
        self._body = bytearray()
        self._task: asyncio.Task[None] | None = None

    @property
    def complete(self) -> bool:
        """Whether all of the request is here."""
        return self._task is not None

    def body_received(self, data: bytes) -> None:
        """The client sent part of the body. What is too large is answered at once, and no more of it is kept."""
        if self._task is not None:
            return
        self._body += data[: BODY_BYTES + 1 - len(self._body)]
        if len(self._body) > BODY_BYTES:
            self.body_completed()

    def body_completed(self) -> None:
        """The request is whole."""
        if self._task is None:
            self._task = self._tasks.create_task(self._answer(), name="issue a certificate")

    def drop(self) -> None:
        """The client is gone. What has been issued is lost with it; the same key may ask again."""
        self._answered = _nobody
        if self._task is not None:
            self._task.cancel()

    async def _answer(self) -> None:
        head = self.head
        try:
            answer = await self._endpoints.answer(
                head.method, head.target, bytes(self._body), self._certificate, self._address
            )
        except Exception:
            # The top of a task that belongs to the whole stub: a defect here must not end everybody's requests.
            _log.exception("a call for a certificate failed")
            status, text = refusal_response(
                Unavailable("this stub cannot issue certificates now; its log says why"),
                hop="stub",
                request_id="none",
            )
            answer = status.status, status.fields, text
        self._answered(answer)


def _nobody(answer: Answer) -> None:
    """Takes what nobody waits for."""
