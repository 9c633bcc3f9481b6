"""The stub's audit log: who asked which cluster for what, how it ended, under the id that the apiserver logs too.

A request leaves one line when it is over; a long-running one leaves two more, when an agent has it and when its answer begins.
"""

import time
from collections.abc import Mapping
from typing import Final

from stub.front.exchange import Exchange
from stub.signing.event import SigningEvent
from tunnel.core.audit import AuditedRequest, Stage, event, user_info
from tunnel.core.http.kubernetes import is_long_running, parse_request_info
from tunnel.core.identifiers import audit_text
from tunnel.kit.jsonlines import JsonLines

_HOP: Final = "stub"


class AuditLog:
    """A ledger that writes lines.

    Args:
        lines: where to.
    """

    def __init__(self, lines: JsonLines) -> None:
        self._lines = lines

    @classmethod
    def open(cls, where: str) -> "AuditLog":
        """Open a file by its name for appending; `-` is standard output.

        Raises:
            CommandFailed: it cannot be written.
        """
        return cls(JsonLines.open(where, "--audit"))

    def exchange_reached(self, exchange: Exchange, stage: Stage) -> None:
        """An exchange has come to a stage before its last; it is written of long-running ones."""
        info = parse_request_info(exchange.method, _target(exchange))
        if is_long_running(info):
            self._write(exchange, stage, {})

    def exchange_completed(self, exchange: Exchange, reason: str) -> None:
        """Write the last line of an exchange; `reason` is empty where it ended as it should."""
        sizes = {"request-bytes": exchange.received_bytes, "response-bytes": exchange.sent_bytes}
        self._write(exchange, Stage.COMPLETE, {**sizes, "reason": reason})

    def signing_completed(self, attempt: SigningEvent) -> None:
        """Write the line of an attempt to get a certificate."""
        now = time.time()
        self._lines.write(
            event(
                attempt.id,
                Stage.COMPLETE,
                uri=f"/.cluster-tunnel/{attempt.action}",
                verb=attempt.action,
                user=user_info(attempt.user, attempt.groups),
                address=attempt.address,
                object_ref={},
                code=attempt.code,
                times=(now, now),
                facts={
                    "hop": _HOP,
                    "cluster": attempt.cluster,
                    "cluster-uid": attempt.cluster_uid,
                    "method": attempt.method,
                    "token-id": attempt.token_id,
                    "serial": attempt.serial,
                    "expires": attempt.expires,
                    "reason": attempt.reason,
                },
            )
        )

    def close(self) -> None:
        """Close the file."""
        self._lines.close()

    def _write(self, exchange: Exchange, stage: Stage, facts: Mapping[str, object]) -> None:
        now = time.time()
        target = _target(exchange)
        caller, link = exchange.caller, exchange.link
        request = AuditedRequest(
            audit_text(exchange.audit),
            parse_request_info(exchange.method, target),
            target,
            caller.identity if caller else None,
            exchange.address,
            caller.peer.fingerprint if caller and caller.peer else "",
            now - exchange.seconds(),
            exchange.admitted.acting if exchange.admitted else None,
        )
        own = {
            "hop": _HOP,
            "cluster": exchange.admitted.cluster if exchange.admitted else "",
            "slot": (exchange.admitted.slot or "") if exchange.admitted else "",
            "agent": link.name if link else "",
            **_recording(exchange),
        }
        self._lines.write(request.event(stage, now, exchange.status, {**own, **facts}))


def _target(exchange: Exchange) -> bytes:
    return exchange.admitted.head.target if exchange.admitted else exchange.target


def _recording(exchange: Exchange) -> dict[str, object]:
    recording = exchange.recording
    return (
        {}
        if recording is None
        else {"recording": recording.file_name, "recording-problem": recording.problem}
    )
