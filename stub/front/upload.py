"""A request's body on its way from the client: held while it may still be small, then streamed through the session."""

from typing import TYPE_CHECKING

from tunnel.aio.bodies import UploadBody
from tunnel.core import limits
from tunnel.core.http.body import CHUNKED
from tunnel.core.identifiers import RequestId

if TYPE_CHECKING:
    from stub.agents.link import AgentLink
    from stub.front.connection import FrontConnection
    from stub.front.exchange import Exchange


class Upload:
    """One request's body.

    Args:
        front: the client's connection, which is stopped while the agent takes no more.
        complete: whether the request was whole with its head.

    Attributes:
        complete: whether all of the request has arrived.
        received_bytes: of the body, so far.
    """

    __slots__ = ("_body", "_front", "_link", "_number", "_pieces", "_unwanted", "complete", "received_bytes")

    def __init__(self, front: "FrontConnection", *, complete: bool = False) -> None:
        self._front = front
        self.complete = complete
        self.received_bytes = 0
        self._pieces: list[bytes] = []
        self._body: UploadBody | None = None
        self._link: AgentLink | None = None
        self._number = RequestId(0)
        self._unwanted = False

    @property
    def is_small(self) -> bool:
        """Whether it is whole and fits into the request's frame."""
        return self.complete and self.received_bytes <= limits.INLINE_BODY_BYTES

    def is_too_long_to_wait_for(self, length: int, *, turn_over: bool) -> bool:
        """Whether it must be streamed.

        A small body with a length is waited for, so that it travels inline and the request can be asked again elsewhere. A
        chunked one may never end by itself (a stream through a service proxy), so it waits for one read alone.

        Args:
            length: what the head announces, in bytes, or CHUNKED.
            turn_over: whether all that arrived in this read has been taken.
        """
        if length == CHUNKED:
            return turn_over or self.received_bytes > limits.INLINE_BODY_BYTES
        return length > limits.INLINE_BODY_BYTES

    def take(self, data: bytes) -> None:
        """The client sent part of it."""
        self.received_bytes += len(data)
        if self._unwanted:
            return
        if self._body is None:
            self._pieces.append(data)
        elif not self._body.write(data):
            self._front.pause_body()

    def end(self) -> None:
        """The client's request is whole."""
        self.complete = True
        if self._body is not None:
            self._finish(self._body)

    @property
    def is_held(self) -> bool:
        """Whether all of it is still here, so that the request can be asked again elsewhere."""
        return self.is_small and self._body is None

    def inline(self) -> bytes:
        """Return all of it, for the request's own frame. It stays here until `throw_away`."""
        if len(self._pieces) > 1:
            self._pieces = [b"".join(self._pieces)]
        return self._pieces[0] if self._pieces else b""

    def start(self, link: "AgentLink", number: RequestId, exchange: "Exchange") -> None:
        """Stream it behind its request, which `link` was asked."""
        body = self._body = link.open_body(number, exchange)
        self._link, self._number = link, number
        pieces, self._pieces = self._pieces, []
        more = True
        for piece in pieces:
            more = body.write(piece)
        if self.complete:
            self._finish(body)
        elif not more:
            self._front.pause_body()

    def _finish(self, body: UploadBody) -> None:
        assert self._link is not None
        body.end()
        self._link.body_finished(self._number)

    def answered(self) -> None:
        """The request will not be asked again: hold nothing for that any more."""
        if self._body is None:
            self._pieces = []

    def throw_away(self) -> None:
        """Nobody takes what still comes; the client may go on sending it."""
        self._unwanted = True
        self._pieces = []

    def drop(self) -> None:
        """The exchange is over: break off what is not whole."""
        self.throw_away()
        if self._body is not None and not self.complete:
            self._body.break_off()
            assert self._link is not None
            self._link.body_finished(self._number)
