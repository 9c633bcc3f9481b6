"""The agent's audit log: what a stub asked of this cluster, for whom, and how it ended, under the id that the apiserver logs too.

A request leaves one line when it is over; a long-running one leaves two more, when it is accepted and when its answer begins.
The cluster's owner has it without trusting the stub, whose word is here only about who asks.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agent.caller import Caller
from tunnel.core.audit import AuditedRequest, Stage
from tunnel.core.errors import Refusal
from tunnel.core.http.kubernetes import is_long_running, parse_request_info
from tunnel.core.identifiers import audit_text
from tunnel.core.wire.exchange import Request
from tunnel.kit.jsonlines import JsonLines

if TYPE_CHECKING:
    from agent.exchange import Exchange

_HOP: Final = "agent"
_NOBODY: Final = Caller(None)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, and where it came from.

    Attributes:
        caller: who asks; None where that could not be read.
        cluster: what the stub calls this cluster.
        stub: the address at which the agent reached it.
    """

    request: Request
    caller: Caller | None
    cluster: str
    stub: str


class AuditLog:
    """Writes lines.

    Args:
        lines: where to.
        agent: this agent's name.
    """

    def __init__(self, lines: JsonLines, agent: str) -> None:
        self._lines = lines
        self._agent = agent

    @classmethod
    def open(cls, where: str, agent: str) -> "AuditLog":
        """Open a file by its name for appending; `-` is standard output.

        Raises:
            CommandFailed: it cannot be written.
        """
        return cls(JsonLines.open(where, "--audit"), agent)

    def refused(self, asked: Asked, refusal: Refusal) -> None:
        """Write the line of a request that was not begun."""
        self._write(asked, None, Stage.COMPLETE, refusal.code, {"reason": refusal.message})

    def reached(self, asked: Asked, exchange: "Exchange", stage: Stage) -> None:
        """A request has come to a stage before its last; it is written of long-running ones."""
        head = asked.request.head
        if is_long_running(parse_request_info(head.method, head.target)):
            self._write(asked, exchange, stage, exchange.status, _account(exchange))

    def completed(self, asked: Asked, exchange: "Exchange") -> None:
        """Write the last line of a request."""
        facts: dict[str, object] = {
            **_account(exchange),
            "request-bytes": exchange.received_bytes,
            "response-bytes": exchange.sent_bytes,
            "reason": exchange.reason,
        }
        self._write(asked, exchange, Stage.COMPLETE, exchange.status, facts)

    def close(self) -> None:
        """Close the file."""
        self._lines.close()

    def _write(
        self,
        asked: Asked,
        exchange: "Exchange | None",
        stage: Stage,
        code: int,
        facts: Mapping[str, object],
    ) -> None:
        now = time.time()
        head, caller = asked.request.head, asked.caller or _NOBODY
        request = AuditedRequest(
            audit_text(asked.request.audit),
            parse_request_info(head.method, head.target),
            head.target,
            caller.identity,
            caller.address,
            caller.certificate,
            now - (exchange.seconds() if exchange else 0.0),
            exchange.acting if exchange else None,
        )
        own = {"hop": _HOP, "cluster": asked.cluster, "agent": self._agent, "stub": asked.stub}
        self._lines.write(request.event(stage, now, code, {**own, **facts}))


def _account(exchange: "Exchange") -> dict[str, object]:
    return {"service-account": exchange.account.account} if exchange.account else {}
