"""Checks a stub's request as if nobody had, and writes what the apiserver gets."""

from agent.ceiling import Ceiling
from agent.upstream.credential import Credential
from tunnel.core.errors import BadRequest, HeadTooLarge
from tunnel.core.http.body import CHUNKED, request_framing
from tunnel.core.http.fields import field_fault, sanitise_request
from tunnel.core.http.message import Field
from tunnel.core.http.render import field_lines, render_request
from tunnel.core.http.shapes import REQUEST_SPECIAL, Shapes
from tunnel.core.http.target import check_method, check_target
from tunnel.core.http.upgrade import Upgrade, requested_upgrade, upgrade_request_fields
from tunnel.core.identifiers import audit_text
from tunnel.core.wire.exchange import BODY_UNKNOWN, Request


class Inspection:
    """See the module.

    Args:
        ceiling: what the owner allows.
        credential: the cluster's own.
        host: the Host field: the apiserver's authority, never the client's.
    """

    def __init__(self, ceiling: Ceiling, credential: Credential, host: bytes, base_path: bytes = b"") -> None:
        self._ceiling = ceiling
        self._credential = credential
        self._host = b"Host: %b\r\n" % host
        self._base_path = base_path
        self._shapes = Shapes(_sanitise, REQUEST_SPECIAL)

    def check(self, request: Request) -> tuple[Upgrade | None, bytes]:
        """Return the upgrade a request asks for, and the lines of the fields that may travel on with those that name its caller.

        Raises:
            Refusal: the request is malformed, or above the ceiling; nothing of it may reach the apiserver.
        """
        head = request.head
        check_method(head.method)
        check_target(head.target)
        lines = self._shapes.lines(head.block)
        if lines is None:
            fault = field_fault(head.fields)
            if fault is not None:
                raise (HeadTooLarge if fault.too_large else BadRequest)(fault.text)
            lines = field_lines(_sanitise(head.fields))
        lines += self._ceiling.caller_lines(request.caller)
        self._ceiling.check_request(head.method, head.target, upgrade=request.upgrade)
        return _upgrade(request), lines

    def render(self, request: Request, lines: bytes, upgrade: Upgrade | None, now: float) -> bytes:
        """Return the head for the apiserver: what was checked, and the cluster's credential, which is added last."""
        method = request.head.method
        return render_request(
            method,
            self._base_path + request.head.target,
            self._host,
            lines,
            field_lines(self._credential.fields(now)),
            b"Audit-ID: %b\r\n" % audit_text(request.audit).encode(),
            _framing(request, upgrade),
        )


def _framing(request: Request, upgrade: Upgrade | None) -> bytes:
    if upgrade is not None:
        return field_lines(upgrade_request_fields(upgrade))
    length = CHUNKED if request.body_length == BODY_UNKNOWN else request.body_length
    return field_lines(request_framing(request.head.method, length))


def _sanitise(fields: list[Field]) -> list[Field]:
    return sanitise_request(fields, forward_cookies=True)


def _upgrade(request: Request) -> Upgrade | None:
    """The stub took Connection and Upgrade off and says which protocol by the flag and WebSocket's own fields."""
    if not request.upgrade:
        return None
    if request.body_stream or request.body_length:
        raise BadRequest("an upgrade with a body")
    websocket = any(name.lower() == b"sec-websocket-key" for name, _ in request.head.fields)
    kind = Upgrade.WEBSOCKET if websocket else Upgrade.SPDY
    requested_upgrade(request.head.method, upgrade_request_fields(kind))
    return kind
