"""What is remembered of one attempt to get a certificate: for the audit log, one event each."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, Protocol

Action = Literal["join", "renew", "login"]


@dataclass(slots=True)
class SigningEvent:
    """One attempt; filled as far as it came.

    Attributes:
        action: what was asked for.
        address: where it came from.
        id: names it in the answer as well.
        cluster: whose agent asks, as far as that is proved.
        cluster_uid: what the agent says of its cluster.
        user, groups: who signs in, as far as that is proved.
        method: how a user proved it: `certificate` or `oidc`.
        token_id: of a join token.
        serial: of the certificate that was issued, in hexadecimal.
        expires: when that one does.
        code: the HTTP status; 0 while nothing is decided.
        reason: why nothing was issued; empty where it was.
    """

    action: Action
    address: str
    id: str
    cluster: str = ""
    cluster_uid: str = ""
    user: str = ""
    groups: tuple[str, ...] = ()
    method: str = ""
    token_id: str = ""
    serial: str = ""
    expires: str = ""
    code: int = 0
    reason: str = "broken off"

    def entry(self) -> dict[str, object]:
        """Return it as an object for an audit log."""
        return {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "auditID": self.id,
            "action": self.action,
            "address": self.address,
            "cluster": self.cluster,
            "clusterUid": self.cluster_uid,
            "user": self.user,
            "groups": list(self.groups),
            "method": self.method,
            "tokenID": self.token_id,
            "serial": self.serial,
            "expires": self.expires,
            "code": self.code,
            "reason": self.reason,
        }


class SigningLedger(Protocol):
    """Hears of every attempt that is over."""

    def signing_completed(self, event: SigningEvent) -> None: ...
