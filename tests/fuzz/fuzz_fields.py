"""Target: the fields of a head, from a client, from a peer and from an upstream."""

from contextlib import suppress

from tests.fuzz.material import Material
from tunnel.core.acting import read_acting, split_acting
from tunnel.core.bearer import carries_bearer
from tunnel.core.errors import BadGateway, BadRequest, Forbidden, Refusal
from tunnel.core.http.body import (
    declared_length,
    expects_continue,
    request_body,
    response_body,
)
from tunnel.core.http.fields import (
    check_request_fields,
    connection_tokens,
    field_fault,
    sanitise_request,
    sanitise_response,
)
from tunnel.core.http.location import with_own_location
from tunnel.core.http.message import Field, ResponseHead
from tunnel.core.http.render import field_lines
from tunnel.core.http.shapes import (
    REQUEST_NEVER_TWICE,
    REQUEST_ONCE,
    REQUEST_SPECIAL,
    RESPONSE_SPECIAL,
    Shapes,
)
from tunnel.core.http.upgrade import Upgrade, check_upgrade_response, requested_upgrade
from tunnel.core.wire.pairs import encode_pairs

SEEDS = (
    b"\0Host\nx\nAccept\n*/*",
    b"\1Host\nx\nConnection\nclose, Impersonate-User , x\nX_Remote_User\na",
    b"\0Impersonate-User\nadmin\nImpersonate_Extra-scopes\na",
    b"\1Upgrade\nwebsocket\nConnection\nupgrade\nSec-WebSocket-Protocol\nv5, base64url.bearer.authorization.k8s.io.x",
    b"\0Authorization\nBearer x\nCookie\nc=1\nX-Forwarded-For\n1.2.3.4\nX-Cluster-Tunnel-A\n1",
    b"\0Location\nhttps://10.0.0.1/api/../..\nSet-Cookie\na\nAlt-Svc\nh3",
    b"\0Content-Length\n+1\nTransfer-Encoding\nxchunked\nExpect\n200-maybe",
)

NEVER = (b"impersonate", b"x-remote-", b"x-forwarded-", b"x-cluster-tunnel-")


def fields_in(text: bytes) -> list[Field]:
    """Names and values in turn, a line each."""
    words = text.split(b"\n")
    return list(zip(words[::2], words[1::2], strict=False))


def check_client(fields: list[Field]) -> None:
    """What is left of a client's fields names nobody, and does not depend on which way it was judged."""
    shapes = Shapes(sanitise_request, REQUEST_SPECIAL, REQUEST_ONCE, REQUEST_NEVER_TWICE)
    quick = [shapes.quick(fields), shapes.quick(fields)]
    assert quick[0] == quick[1]
    try:
        check_request_fields(fields, version_1_1=True)
        kept = sanitise_request(fields)
        request_body(True, fields), expects_continue(True, fields)
        assert requested_upgrade(b"GET", fields) in (None, *Upgrade)
    except Refusal:
        assert quick[0] is None
        return
    assert quick[0] in (None, kept)
    nominated = {token.replace(b"_", b"-") for token in connection_tokens(fields)}
    for name, _ in kept:
        folded = name.lower().replace(b"_", b"-")
        assert not folded.startswith(NEVER)
        assert folded not in nominated
    assert sanitise_request(kept) == kept
    assert not carries_bearer(kept, websocket=True)


def check_acting(fields: list[Field]) -> None:
    """Fields of `kubectl --as` are taken apart from all others."""
    if field_fault(fields) is not None:
        return
    others, acting = split_acting(fields)
    assert sorted([*others, *acting]) == sorted(fields)
    with suppress(BadRequest, Forbidden):
        sanitise_request(others)
    if acting:
        with suppress(BadRequest, Forbidden):
            read_acting(acting)


def check_answer(fields: list[Field]) -> None:
    """What is left of an answer's fields does not depend on which way it was judged."""
    if field_fault(fields) is not None:
        return
    kept = sanitise_response(fields)
    shapes = Shapes(sanitise_response, RESPONSE_SPECIAL)
    assert shapes.quick(fields) in (None, kept)
    assert shapes.lines(encode_pairs(pairs=fields)) in (None, field_lines(kept))
    declared_length(fields)
    with suppress(BadGateway):
        response_body(b"GET", 200, fields)
    with suppress(BadGateway):
        with_own_location(kept, b"", b"/clusters/blue", target=b"/api")
    with suppress(BadGateway):
        check_upgrade_response(Upgrade.SPDY, ResponseHead(101, fields))


def one_input(data: bytes) -> None:
    """Invariants: nothing but Refusal is raised; what is remembered of a head by its names is what the rules say of it; nothing
    that names an identity, and nothing that Connection names, is left; sanitising twice is sanitising once."""
    material = Material(data)
    doubled = material.byte() & 1
    fields = fields_in(material.rest())
    check_client([*fields, *fields[:1]] if doubled else fields)
    check_client([(b"Host", b"x"), *fields])
    check_acting(fields)
    check_answer(fields)
