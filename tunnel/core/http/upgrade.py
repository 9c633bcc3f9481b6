"""Upgrades: which are carried, what is written for them, and which answers may open a pipe.

The apiserver takes any `Connection` that has `upgrade` somewhere in it for an upgrade, `x-upgrade-y` included. We ask for
the exact token and never relay `Connection`, so a request that is plain to us reaches it without one: the two cannot be
out of step.
"""

from enum import Enum
from typing import Final

from tunnel.core.errors import BadGateway, BadRequest
from tunnel.core.http.fields import connection_tokens, lookup
from tunnel.core.http.message import Field, ResponseHead


class Upgrade(Enum):
    """A protocol that a connection may change to; the value is its name on the wire."""

    WEBSOCKET = b"websocket"
    SPDY = b"SPDY/3.1"


class UpgradeOutcome(Enum):
    """What an upstream's answer to an upgrade leads to."""

    SPLICE = "splice"
    """The connection becomes a raw pipe."""

    RELAY_THEN_CLOSE = "relay then close"
    """The answer is relayed and both connections end, so that nothing can follow on them (CVE-2018-1002105)."""


_KINDS: Final = {kind.value.lower(): kind for kind in Upgrade}
_METHODS: Final = {Upgrade.WEBSOCKET: (b"GET",), Upgrade.SPDY: (b"GET", b"POST")}


def requested_upgrade(method: bytes, fields: list[Field]) -> Upgrade | None:
    """The upgrade that a request asks for; None for a plain one, to which one without `Connection: upgrade` belongs (RFC
    9110 7.8: then `Upgrade` is to be ignored).

    Args:
        method: WebSocket goes with GET alone (RFC 6455 4.1), SPDY with GET and POST.
        fields: as received, before any sanitising.

    Raises:
        BadRequest: it asks for `h2c`, `TLS/1.0`, several protocols or another one, or with another method. The
            connection must close: the client may already be sending in that protocol.
    """
    wanted = lookup(fields, b"upgrade")
    if not wanted or b"upgrade" not in connection_tokens(fields):
        return None
    kind = _KINDS.get(wanted[0].lower()) if len(wanted) == 1 else None
    if kind is None:
        raise BadRequest(
            "the only upgrades carried are 'websocket' and 'SPDY/3.1', one at a time", close=True
        )
    if method not in _METHODS[kind]:
        allowed = " or ".join(name.decode() for name in _METHODS[kind])
        raise BadRequest(f"an upgrade to {kind.value.decode()} needs the method {allowed}", close=True)
    return kind


def upgrade_request_fields(kind: Upgrade) -> list[Field]:
    """The fields that ask for `kind`, and on a 101 grant it; to be added behind the sanitised ones."""
    return [(b"Connection", b"Upgrade"), (b"Upgrade", kind.value)]


def upgrade_outcome(status: int) -> UpgradeOutcome:
    """What the upstream's final answer to an upgrade leads to; a 1xx other than 101 is to be swallowed before.

    Raises:
        BadGateway: it is neither a 101 nor an error. A redirect would make kubectl present its certificate wherever it
            points (CVE-2020-8559), and none of the answer's fields may reach the client.
    """
    if status == 101:
        return UpgradeOutcome.SPLICE
    if 400 <= status <= 599:
        return UpgradeOutcome.RELAY_THEN_CLOSE
    raise BadGateway(f"the upstream answered an upgrade with {status}", close=True)


def check_plain_status(status: int) -> None:
    """Refuse a final answer that no plain request may get.

    Raises:
        BadGateway: it is a 101, which nobody asked for, or lies outside 200 to 599.
    """
    if not 200 <= status <= 599:
        raise BadGateway(f"the upstream answered a plain request with {status}")


def check_upgrade_response(kind: Upgrade, head: ResponseHead) -> None:
    """Hold a 101 to what was asked for, before a single byte of either side is passed on.

    Raises:
        BadGateway: it is no 101, grants another protocol or several, lacks `Connection: upgrade`, or is a WebSocket's
            without Sec-WebSocket-Accept.
    """
    granted = lookup(head.fields, b"upgrade")
    if head.status != 101 or len(granted) != 1 or granted[0].lower() != kind.value.lower():
        raise _unfit(f"does not grant {kind.value.decode()}")
    if b"upgrade" not in connection_tokens(head.fields):
        raise _unfit("lacks 'Connection: upgrade'")
    if kind is Upgrade.WEBSOCKET and len(lookup(head.fields, b"sec-websocket-accept")) != 1:
        raise _unfit("lacks Sec-WebSocket-Accept")


def _unfit(fault: str) -> BadGateway:
    return BadGateway(f"the upstream's answer to the upgrade {fault}", close=True)
