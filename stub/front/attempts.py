"""Which agents one request is given to: the first, and, where that can do no harm, another one behind it."""

from typing import TYPE_CHECKING

from stub.front.admission import Admitted, Caller
from stub.front.upload import Upload
from tunnel.core.errors import BadGateway, Refusal, TooManyRequests, Unavailable, refusal_of
from tunnel.core.http.body import CHUNKED
from tunnel.core.http.kubernetes import is_safe_to_repeat, parse_request_info
from tunnel.core.identifiers import RequestId
from tunnel.core.wire.exchange import BODY_UNKNOWN, Refused

if TYPE_CHECKING:
    from stub.agents.link import AgentLink
    from stub.front.exchange import Exchange
    from stub.front.office import FrontOffice


class Attempts:
    """See the module. The exchange that each call names is whose request it is, and the `Asker` of the agents.

    Args:
        office: knows the agents.
        upload: the request's body.

    Attributes:
        link: the agent that was asked last.
        number: of the request in that agent's session.
        retried: whether a second agent was asked.
    """

    __slots__ = ("_office", "_upload", "link", "number", "retried")

    def __init__(self, office: "FrontOffice", upload: Upload) -> None:
        self._office = office
        self._upload = upload
        self.link: AgentLink | None = None
        self.number = RequestId(0)
        self.retried = False

    def ask(
        self, exchange: "Exchange", admitted: Admitted, caller: Caller, link: "AgentLink", *, stream: bool
    ) -> None:
        """Give it to an agent.

        Args:
            admitted, caller: what is asked, and in whose name.
            link: of the agent.
            stream: whether the body follows by itself, once its stream is opened.

        Raises:
            Refusal: the agent cannot be asked.
        """
        if stream:
            body = b""
            length = BODY_UNKNOWN if admitted.body_length == CHUNKED else admitted.body_length
        else:
            body = self._upload.inline()
            length = len(body)
        self.number = link.ask(
            exchange,
            admitted.head,
            epoch=self._office.epoch,
            audit=exchange.audit,
            caller=caller.block,
            body=body,
            body_length=length,
            body_stream=stream,
            upgrade=admitted.upgrade is not None,
        )
        self.link = link

    def cancel(self) -> None:
        """Nobody wants the answer any more."""
        if self.link is not None:
            self.link.cancel(self.number)

    def refused(self, exchange: "Exchange", refused: Refused) -> tuple[Refusal, str] | None:
        """The agent answers with a refusal of its own.

        Returns:
            What the client is to be told, and the hop that says it; None where another agent has the request now.
        """
        untouched = refused.retryable or (refused.code == BadGateway.code and self._is_safe(exchange))
        if untouched and self._ask_another(exchange):
            return None
        refusal = refusal_of(refused.code, refused.message)
        if refused.retryable:
            own = self._own_refusal(exchange)
            if own is not None:
                return own, "stub"
            # A streamed body is gone from here, so that only its client can send it again. Not behind a 502: an apiserver that is
            # down would be asked for ten times, a second apart, by whoever wants to know that it is down.
            refusal.retry_after = 1 if isinstance(refusal, Unavailable | TooManyRequests) else None
        return refusal, "agent"

    def lost(self, exchange: "Exchange", reason: str, *, written: bool) -> Refusal | None:
        """The agent is gone and has not answered. Return what the client is to be told; None where another agent has the request now.

        Args:
            written: whether the request can have reached the agent.
        """
        if (not written or self._is_safe(exchange)) and self._ask_another(exchange):
            return None
        if written:
            return BadGateway(
                f"the agent went away before it answered ({reason}); whether the request took effect is not known"
            )
        gone = Unavailable(f"the agent went away before it was asked ({reason}); try again", retry_after=1)
        return self._own_refusal(exchange) or gone

    def _ask_another(self, exchange: "Exchange") -> bool:
        """Ask another agent of the same cluster, once, and soon; False where that cannot be."""
        admitted, caller = exchange.admitted, exchange.caller
        assert admitted is not None
        assert caller is not None
        if self.retried or not self._upload.is_held or exchange.seconds() >= self._office.retry_seconds:
            return False
        try:
            link = self._office.find_agent(admitted.cluster, hidden=admitted.hidden, avoid=self.link)
            self.ask(exchange, admitted, caller, link, stream=False)
        except Refusal:
            return False
        self.retried = True
        return True

    def _is_safe(self, exchange: "Exchange") -> bool:
        """Whether it may go to another agent although this one's apiserver may have seen it."""
        admitted = exchange.admitted
        assert admitted is not None
        target, upgrade = admitted.head.target, admitted.upgrade is not None
        info = parse_request_info(exchange.method, target)
        has_body = self._upload.received_bytes > 0
        return is_safe_to_repeat(exchange.method, info, upgrade=upgrade, has_body=has_body)

    def _own_refusal(self, exchange: "Exchange") -> Refusal | None:
        """Why this stub would refuse the request by now, where the client can come again: an agent that has heard of another active
        stub refuses what this one asked just before it stepped down, and the client is to find the other one."""
        admitted = exchange.admitted
        assert admitted is not None
        try:
            self._office.find_agent(admitted.cluster, hidden=admitted.hidden)
        except Refusal as refusal:
            return refusal if refusal.retry_after is not None else None
        return None
