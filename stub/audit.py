"""One JSON line per request: who asked which cluster for what, how it ended, under the id that the apiserver logs too."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import IO

from stub.front.exchange import Exchange
from tunnel.core.http.kubernetes import parse_request_info
from tunnel.core.identifiers import audit_text
from tunnel.kit.failures import CommandFailed

_log = logging.getLogger(__name__)


class AuditLog:
    """A ledger that writes lines.

    Args:
        file: an open text file; each line is flushed, so that a crash loses none that was answered.
    """

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._failing = False

    @classmethod
    def open(cls, where: str) -> "AuditLog":
        """Open a file by its name for appending; `-` is standard output.

        Raises:
            CommandFailed: it cannot be written.
        """
        if where == "-":
            return cls(sys.stdout)
        try:
            return cls(open(where, "a", encoding="utf-8"))
        except OSError as error:
            raise CommandFailed(f"--audit {where}: {error.strerror}") from None

    def exchange_completed(self, exchange: Exchange, reason: str) -> None:
        """Write the line of an exchange that is over."""
        line = json.dumps(self._entry(exchange, reason), separators=(",", ":"))
        try:
            self._file.write(line + "\n")
            self._file.flush()
            self._failing = False
        except OSError as error:
            if not self._failing:
                _log.error("the audit log cannot be written", extra={"reason": str(error)})
            self._failing = True

    def close(self) -> None:
        """Close the file."""
        if self._file is not sys.stdout:
            self._file.close()

    def _entry(self, exchange: Exchange, reason: str) -> dict[str, object]:
        target = exchange.admitted.head.target if exchange.admitted else exchange.target
        info = parse_request_info(exchange.method, target)
        caller = exchange.caller
        return {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "auditID": audit_text(exchange.audit),
            "cluster": exchange.admitted.cluster if exchange.admitted else "",
            "user": caller.identity.user if caller else "",
            "groups": list(caller.identity.groups) if caller else [],
            "address": exchange.address,
            "verb": info.verb,
            "method": exchange.method.decode("latin-1"),
            "path": target.decode("latin-1").partition("?")[0],
            "resource": info.resource,
            "subresource": info.subresource,
            "namespace": info.namespace,
            "name": info.name,
            "agent": exchange.link.name if exchange.link else "",
            "code": exchange.status,
            "requestBytes": exchange.received_bytes,
            "responseBytes": exchange.sent_bytes,
            "seconds": round(exchange.seconds(), 6),
            "reason": reason,
        }
