"""Checks a stub's request as if nobody had, and writes what the apiserver gets."""

from typing import NamedTuple

from agent.caller import Caller
from agent.ceiling import Ceiling
from agent.upstream.credential import Credential
from agent.upstream.reviews import Permission, Reviews
from agent.upstream.tokens import AccountToken, AccountTokens
from tunnel.core.acting import read_acting, split_acting
from tunnel.core.bearer import carries_bearer
from tunnel.core.errors import BadRequest, HeadTooLarge, Unauthorized
from tunnel.core.http.body import CHUNKED, request_framing
from tunnel.core.http.fields import field_fault, sanitise_request
from tunnel.core.http.message import Field
from tunnel.core.http.render import field_lines, render_request
from tunnel.core.http.shapes import REQUEST_SPECIAL, Shapes
from tunnel.core.http.target import check_method, check_target, may_climb_above_root
from tunnel.core.http.upgrade import Upgrade, requested_upgrade, upgrade_request_fields
from tunnel.core.identifiers import audit_text
from tunnel.core.identity import Identity
from tunnel.core.wire.exchange import BODY_UNKNOWN, Request


class Checked(NamedTuple):
    """What inspection made of a request.

    Attributes:
        upgrade: the upgrade it asks for.
        lines: of the fields that may travel on, and of those that name its caller.
        acting: whom its caller wants to act as; None for the caller alone.
    """

    upgrade: Upgrade | None
    lines: bytes
    acting: Identity | None = None


class Inspection:
    """See the module.

    Args:
        ceiling: what the owner allows.
        credential: the cluster's own.
        host: the Host field: the apiserver's authority, never the client's.
        base_path: in front of every target; none may lead out of it, to what else is behind the same address.
        accounts: the credentials of users that act as service accounts; None where all requests show the cluster's own.
        bearer: whether a client's own bearer token is kept, and every request must have one.
        reviews: who may act as whom; None where nobody may act as anybody else.
    """

    def __init__(
        self,
        ceiling: Ceiling,
        credential: Credential,
        host: bytes,
        base_path: bytes = b"",
        *,
        accounts: AccountTokens | None = None,
        bearer: bool = False,
        reviews: Reviews | None = None,
    ) -> None:
        self._ceiling = ceiling
        self._credential = credential
        self._host = b"Host: %b\r\n" % host
        self._base_path = base_path
        self._accounts = accounts
        self._bearer = bearer
        self._reviews = reviews
        self._sanitise = _sanitise_with_bearer if bearer else _sanitise
        self._shapes = Shapes(self._sanitise, REQUEST_SPECIAL)

    def check(self, request: Request) -> Checked:
        """Return what may be asked of the apiserver.

        Raises:
            Refusal: the request is malformed, above the ceiling, or without a bearer token where it needs one; nothing of it
                may reach the apiserver.
        """
        head = request.head
        check_method(head.method)
        check_target(head.target)
        if self._base_path and may_climb_above_root(head.target.partition(b"?")[0]):
            raise BadRequest("the path's dot segments lead out of the cluster, which has a path of its own")
        lines, acting = self._shapes.lines(head.block), None
        if lines is None:
            lines, acting = self._judged(head.fields)
        if acting is None:
            lines += self._ceiling.caller_lines(request.caller)
        else:
            lines += self._ceiling.acting_lines(request.caller, acting)
        if self._ceiling.tells_request:
            lines += self._ceiling.request_line(audit_text(request.audit))
        self._ceiling.check_request(head.method, head.target, upgrade=request.upgrade)
        upgrade = _upgrade(request)
        if self._bearer and not self._carries_bearer(head.fields, upgrade):
            raise Unauthorized(
                "this cluster knows users by their own bearer tokens, and none came with the request; give the kubeconfig a "
                "token, and let the stub forward it to this cluster (bearer: forward in its access rules)"
            )
        return Checked(upgrade, lines, acting)

    def _carries_bearer(self, fields: list[Field], upgrade: Upgrade | None) -> bool:
        return carries_bearer(self._sanitise(fields), websocket=upgrade is Upgrade.WEBSOCKET)

    def _judged(self, fields: list[Field]) -> tuple[bytes, Identity | None]:
        fault = field_fault(fields)
        if fault is not None:
            raise (HeadTooLarge if fault.too_large else BadRequest)(fault.text)
        acting: list[Field] = []
        if self._reviews is not None:
            fields, acting = split_acting(fields)
        return field_lines(self._sanitise(fields)), read_acting(acting) if acting else None

    def permission(self, request: Request, acting: Identity | None) -> Permission | None:
        """Return what a checked request needs before it may be asked as somebody else; None where it is asked as its caller.

        Raises:
            Forbidden: that other one has too many parts to ask about.
        """
        if acting is None:
            return None
        identity = self._ceiling.caller(request.caller).identity
        assert identity is not None
        assert self._reviews is not None
        return self._reviews.of(identity, acting)

    def account(self, request: Request) -> AccountToken | None:
        """Return the credential of the service account that a checked request is asked as; None for the cluster's own.

        Raises:
            Forbidden: its caller is mapped to none.
        """
        if self._accounts is None:
            return None
        identity = self._ceiling.caller(request.caller).identity
        assert identity is not None
        return self._accounts.of(identity)

    def caller(self, request: Request) -> Caller | None:
        """Return who asks, as the stub says; None where it cannot be read. For logs."""
        try:
            return self._ceiling.caller(request.caller)
        except BadRequest:
            return None

    def render(
        self,
        request: Request,
        lines: bytes,
        upgrade: Upgrade | None,
        now: float,
        account: Credential | None = None,
    ) -> bytes:
        """Return the head for the apiserver: what was checked, and a credential, which is added last.

        Args:
            now: monotonic time in seconds.
            account: the credential to show in place of the cluster's own.
        """
        method = request.head.method
        credential = self._credential if account is None else account
        return render_request(
            method,
            self._base_path + request.head.target,
            self._host,
            lines,
            field_lines(credential.fields(now)),
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


def _sanitise_with_bearer(fields: list[Field]) -> list[Field]:
    return sanitise_request(fields, forward_authorization=True, forward_cookies=True)


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
