"""Header fields: what is refused, what is taken out before anything is forwarded, and how a field is looked up.

Names are compared folded: lower case, and `_` as `-`, because gateways behind us may read `X_Remote_User` as
`X-Remote-User`. Everything but `field_fault` expects fields that passed it, so that names are tokens.
"""

import re
from dataclasses import dataclass
from typing import Final

from tunnel.core import limits
from tunnel.core.errors import BadGateway, BadRequest, Forbidden, HeadTooLarge, PeerViolation
from tunnel.core.http.message import Field

# RFC 9110 5.6.2 and 5.5; bytes above 0x7f are legal in values (obs-text, in practice UTF-8).
_TOKEN: Final = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
VALUE_BYTES: Final = bytes(byte for byte in range(256) if byte == 0x09 or (byte >= 0x20 and byte != 0x7F))
"""What a value may hold."""

_FOLD: Final = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ_", b"abcdefghijklmnopqrstuvwxyz-")

_FIELD_OVERHEAD: Final = len(": \r\n")
_ONLY_ONCE: Final = (b"authorization", b"content-length", b"transfer-encoding")
_ONLY_ONCE_MARKED: Final = [(name.decode(), b"\n%b\n" % name) for name in _ONLY_ONCE]

_HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"http2-settings",
    }
)
# Framing, Host and Expect are each hop's own: the writer makes them anew. Proxy-Authorization is for the hop it reached.
_NEVER_FORWARDED: Final = _HOP_BY_HOP | {
    b"content-length",
    b"host",
    b"expect",
    b"proxy-authorization",
    b"forwarded",
    b"x-real-ip",
    # The stub names each request itself, so that its log and the apiserver's agree; a client could name another's.
    b"audit-id",
}
_AUTHORIZATION: Final = frozenset({b"authorization"})
_COOKIE: Final = frozenset({b"cookie", b"cookie2"})
_DROPPED: Final = {
    (authorization, cookies): _NEVER_FORWARDED
    | (frozenset() if authorization else _AUTHORIZATION)
    | (frozenset() if cookies else _COOKIE)
    for authorization in (False, True)
    for cookies in (False, True)
}
_OWN_PREFIX: Final = b"x-cluster-tunnel-"
_DROPPED_PREFIXES: Final = (b"x-remote-", b"x-forwarded-", _OWN_PREFIX)
_CLIENT_ADDRESS: Final = b"x-forwarded-for"

# What makes more work than a look into a set of names; matched where a folded name begins.
_NOTABLE: Final = re.compile(rb"\n(impersonate|x-|connection|sec-websocket-protocol)")

# Alt-Svc speaks of the upstream's own address, which the client must never try.
_RESPONSE_DROPPED: Final = _HOP_BY_HOP | {b"content-length", b"proxy-authenticate", b"alt-svc"}
_RESPONSE_DROPPED_WITH_COOKIES: Final = _RESPONSE_DROPPED | {b"set-cookie", b"set-cookie2"}

_SUBPROTOCOLS: Final = b"sec-websocket-protocol"
_BEARER_SUBPROTOCOL: Final = b"base64url.bearer.authorization.k8s.io."


@dataclass(frozen=True, slots=True)
class FieldFault:
    """What is wrong with a set of fields.

    Attributes:
        text: names the field, never its value.
        too_large: whether a limit was passed, rather than a rule of syntax broken.
    """

    text: str
    too_large: bool = False


def field_fault(fields: list[Field]) -> FieldFault | None:
    """The first fault of `fields`, or None: names must be tokens, values free of control characters other than the
    tab, their number and sizes within `tunnel.core.limits`."""
    names = [name for name, _ in fields]
    name_bytes = b"".join(names)
    value_bytes = b"".join([value for _, value in fields])
    size = len(name_bytes) + len(value_bytes) + _FIELD_OVERHEAD * len(fields)
    if size > limits.FIELD_BYTES or len(fields) > limits.FIELD_COUNT:
        fault = _size_fault(fields, size)
        if fault:
            return fault
    # Deleting all that is allowed leaves nothing: one pass in C over the whole head instead of a match per field.
    if name_bytes.translate(None, _TOKEN) or b"" in names:
        return _name_fault(names)
    if value_bytes.translate(None, VALUE_BYTES):
        return _value_fault(fields)
    return None


def _size_fault(fields: list[Field], size: int) -> FieldFault | None:
    if len(fields) > limits.FIELD_COUNT:
        return FieldFault(f"{len(fields)} fields, the limit is {limits.FIELD_COUNT}", too_large=True)
    if size > limits.HEAD_BYTES:
        return FieldFault(f"the fields have {size} bytes, the limit is {limits.HEAD_BYTES}", too_large=True)
    for name, value in fields:
        length = len(name) + len(value)
        if length > limits.FIELD_BYTES:
            text = f"the field {_shown(name)} has {length} bytes, the limit is {limits.FIELD_BYTES}"
            return FieldFault(text, too_large=True)
    return None


def _name_fault(names: list[bytes]) -> FieldFault:
    name = next(name for name in names if not name or name.translate(None, _TOKEN))
    return FieldFault(f"the field name {_shown(name)} is not a token")


def _value_fault(fields: list[Field]) -> FieldFault:
    name = next(name for name, value in fields if value.translate(None, VALUE_BYTES))
    return FieldFault(f"the value of {_shown(name)} holds a control character")


def _shown(name: bytes) -> str:
    return repr(name[:64].decode("latin-1"))


def check_fields(fields: list[Field]) -> None:
    """Refuse a client's malformed fields.

    Raises:
        BadRequest: a name or value breaks HTTP's syntax.
        HeadTooLarge: too many, or too large.
    """
    if fault := field_fault(fields):
        raise (HeadTooLarge if fault.too_large else BadRequest)(fault.text, close=True)


def check_request_fields(fields: list[Field], *, version_1_1: bool) -> None:
    """`check_fields`, and refuse ambiguous repeats.

    Args:
        fields: as they came from a client.
        version_1_1: False for HTTP/1.0, where Host may be absent.

    Raises:
        BadRequest: also no Host or two, or a repeated Authorization, Content-Length or Transfer-Encoding.
        HeadTooLarge: as `check_fields`.
    """
    check_fields(fields)
    # Each name stands between two newlines of its own, so that neighbours are counted too.
    block = b"\n%b\n" % b"\n\n".join([name for name, _ in fields]).translate(_FOLD)
    hosts = block.count(b"\nhost\n")
    if hosts > 1 or (not hosts and version_1_1):
        raise BadRequest(f"the request has {hosts} Host fields instead of one", close=True)
    for name, marked in _ONLY_ONCE_MARKED:
        if block.count(marked) > 1:
            raise BadRequest(f"the field {name} is repeated", close=True)


def check_peer_fields(fields: list[Field]) -> None:
    """Hold the other end of the tunnel to the same rules.

    Raises:
        PeerViolation: the fields are malformed, too many or too large.
    """
    if fault := field_fault(fields):
        raise PeerViolation(f"the peer sent a malformed head: {fault.text}")


def check_upstream_fields(fields: list[Field]) -> None:
    """Hold an upstream's response to the same rules.

    Raises:
        BadGateway: the fields are malformed, too many or too large.
    """
    if fault := field_fault(fields):
        raise BadGateway(f"the upstream sent a malformed head: {fault.text}")


def lookup(fields: list[Field], name: bytes) -> list[bytes]:
    """The values of all fields called `name` (given in lower case), in order, without white space around them (httptools
    leaves it behind a value)."""
    size = len(name)
    return [value.strip(b" \t") for key, value in fields if len(key) == size and key.lower() == name]


def single(fields: list[Field], name: bytes) -> bytes | None:
    """The value of the one field called `name` (given in lower case), or None.

    Raises:
        BadRequest: it is repeated.
    """
    values = lookup(fields, name)
    if len(values) > 1:
        raise BadRequest(f"the field {name.decode()} is repeated", close=True)
    return values[0] if values else None


def connection_tokens(fields: list[Field]) -> frozenset[bytes]:
    """The lower-cased tokens of all Connection fields; white space around them and empty ones do not count."""
    lines = lookup(fields, b"connection")
    if not lines:
        return frozenset()
    return frozenset(token.strip(b" \t") for token in b",".join(lines).lower().split(b",")) - {b""}


def sanitise_request(
    fields: list[Field],
    *,
    forward_authorization: bool = False,
    forward_cookies: bool = False,
    forward_client_address: bool = False,
) -> list[Field]:
    """What of a request's fields may travel on; the one sanitiser for plain requests and upgrades, at both ends.

    Taken out: what Connection names, hop-by-hop fields, framing, Host and Expect (the writer makes them anew),
    credentials, cookies, what speaks of identities or addresses (X-Remote-*, X-Forwarded-*, Forwarded, X-Real-Ip) and
    the tunnel's own names. The rest keeps its order and spelling. Fields that the tunnel adds are added behind this
    call, where a client's Connection cannot name them away.

    Args:
        fields: they passed `field_fault`.
        forward_authorization: keep Authorization and the bearer token among WebSocket subprotocols.
        forward_cookies: keep Cookie.
        forward_client_address: keep X-Forwarded-For; for the agent, whose stub has put the client's address there.

    Raises:
        Forbidden: a field begins with `Impersonate`. Dropping it silently would run `kubectl --as=viewer delete` with
            the user's full rights.
    """
    # A newline stands before every name, so what is notable is found only where one begins. One search of the block
    # costs less than a test per field.
    block = b"\n" + b"\n".join([name for name, _ in fields]).translate(_FOLD)
    notable = frozenset(_NOTABLE.findall(block))
    if b"impersonate" in notable:
        raise _impersonation(fields)
    dropped = _DROPPED[forward_authorization, forward_cookies]
    if b"connection" in notable:
        dropped = dropped.union(_nominated(fields))
    folded = block[1:].split(b"\n") if fields else []
    kept = [field for field, name in zip(fields, folded, strict=True) if name not in dropped]
    if b"x-" in notable:
        kept = _without_prefixed(kept, _CLIENT_ADDRESS if forward_client_address else b"")
    if b"sec-websocket-protocol" in notable and not forward_authorization:
        kept = strip_bearer_subprotocol(kept)
    return kept


def _impersonation(fields: list[Field]) -> Forbidden:
    name = next(name for name, _ in fields if name.translate(_FOLD).startswith(b"impersonate"))
    return Forbidden(
        f"kubectl --as is not allowed through this tunnel, which tells the cluster itself who you are: the request "
        f"carries {_shown(name)}; leave out --as, --as-group, --as-uid and the kubeconfig's act-as settings"
    )


def _nominated(fields: list[Field]) -> frozenset[bytes]:
    return frozenset(token.translate(_FOLD) for token in connection_tokens(fields))


def _without_prefixed(fields: list[Field], spared: bytes) -> list[Field]:
    return [
        field
        for field in fields
        if not (name := field[0].translate(_FOLD)).startswith(_DROPPED_PREFIXES) or name == spared
    ]


def strip_bearer_subprotocol(fields: list[Field]) -> list[Field]:
    """`fields` without the bearer token that a browser hides among its WebSocket subprotocols; the others keep their
    order, and a field left empty is dropped. `sanitise_request` calls this by itself."""
    kept: list[Field] = []
    for name, value in fields:
        if name.translate(_FOLD) != _SUBPROTOCOLS or _BEARER_SUBPROTOCOL not in value.lower():
            kept.append((name, value))
        elif rest := _other_subprotocols(value):
            kept.append((name, rest))
    return kept


def _other_subprotocols(value: bytes) -> bytes:
    protocols = [protocol.strip(b" \t") for protocol in value.split(b",")]
    return b", ".join(
        [protocol for protocol in protocols if not protocol.lower().startswith(_BEARER_SUBPROTOCOL)]
    )


def sanitise_response(fields: list[Field], *, forward_set_cookie: bool = False) -> list[Field]:
    """What of a response's fields may travel on; framing is told apart by `tunnel.core.http.body`.

    Taken out: what Connection names, hop-by-hop fields, Content-Length, Set-Cookie, Alt-Svc and the tunnel's own names.
    The rest (Warning lines, Content-Encoding, Date, Audit-Id ...) keeps its order, spelling and repeats.

    Args:
        fields: they passed `field_fault`.
        forward_set_cookie: keep Set-Cookie.
    """
    block = b"\n" + b"\n".join([name for name, _ in fields]).translate(_FOLD)
    dropped = _RESPONSE_DROPPED if forward_set_cookie else _RESPONSE_DROPPED_WITH_COOKIES
    if b"\nconnection" in block:
        dropped = dropped.union(_nominated(fields))
    folded = block[1:].split(b"\n") if fields else []
    kept = [field for field, name in zip(fields, folded, strict=True) if name not in dropped]
    if b"\nx-cluster-tunnel-" in block:
        kept = [(name, value) for name, value in kept if not name.translate(_FOLD).startswith(_OWN_PREFIX)]
    return kept
