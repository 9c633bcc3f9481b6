"""Checks a stub's request as if nobody had, and writes what the apiserver gets."""

from agent.ceiling import Ceiling
from agent.upstream.credential import Credential
from tunnel.core.errors import BadRequest, HeadTooLarge
from tunnel.core.http.body import CHUNKED, request_framing
from tunnel.core.http.fields import field_fault, sanitise_request
from tunnel.core.http.message import Field, RequestHead
from tunnel.core.http.render import render_request
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
        self._host: Field = (b"Host", host)
        self._base_path = base_path
        self._shapes = Shapes(_sanitise, REQUEST_SPECIAL)

    def check(self, request: Request) -> tuple[Upgrade | None, list[Field]]:
        """Return the upgrade a request asks for and the fields that may travel on.

        Raises:
            Refusal: the request is malformed, or above the ceiling; nothing of it may reach the apiserver.
        """
        head = request.head
        check_method(head.method)
        check_target(head.target)
        fields = self._shapes.quick(head.fields)
        if fields is None:
            fault = field_fault(head.fields)
            if fault is not None:
                raise (HeadTooLarge if fault.too_large else BadRequest)(fault.text)
            fields = _sanitise(head.fields)
        fields += self._ceiling.caller_fields(request.caller)
        self._ceiling.check_request(head.method, head.target, upgrade=request.upgrade)
        return _upgrade(request), fields

    def render(self, request: Request, fields: list[Field], upgrade: Upgrade | None, now: float) -> bytes:
        """Return the head for the apiserver: what was checked, and the cluster's credential, which is added last."""
        length = CHUNKED if request.body_length == BODY_UNKNOWN else request.body_length
        method = request.head.method
        own: list[Field] = [
            self._host,
            *fields,
            *self._credential.fields(now),
            (b"Audit-ID", audit_text(request.audit).encode()),
            *(upgrade_request_fields(upgrade) if upgrade else request_framing(method, length)),
        ]
        return render_request(RequestHead(method, self._base_path + request.head.target, own))


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
