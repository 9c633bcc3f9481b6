"""What the apiserver gets of a stub's request, to the byte."""

from typing import Any

import pytest

from agent.ceiling import Ceiling
from agent.inspection import Inspection
from agent.upstream.credential import NoToken, StaticToken
from agent.upstream.reviews import Reviews
from tests.unit.agent.parts import request, upload
from tests.unit.agent.upstream.test_reviews import Cluster
from tunnel.core import limits
from tunnel.core.errors import BadRequest, Forbidden, HeadTooLarge, MethodNotAllowed, Refusal, Unauthorized
from tunnel.core.http.message import Field
from tunnel.core.http.upgrade import Upgrade
from tunnel.core.wire.exchange import Request

AUDIT = bytes(range(16))
REVIEWS = Reviews(Cluster())


def rendered(
    asked: Request, *, impersonate: bool = True, base_path: bytes = b"", reviews: Reviews | None = None
) -> bytes:
    """Inspect a request and write its head."""
    inspection = Inspection(
        Ceiling(impersonate=impersonate),
        StaticToken("t0ken"),
        b"10.0.0.1:6443",
        base_path,
        reviews=reviews,
    )
    checked = inspection.check(asked)
    return inspection.render(asked, checked.lines, checked.upgrade, 0.0)


def test_the_head_is_exactly_this() -> None:
    asked = request(
        method=b"POST",
        target=b"/api/v1/pods?x=%2F;a",
        fields=[(b"Accept", b"*/*"), (b"x-odd-Case", b"\xc3\xa9")],
        body=b"{}",
        audit=AUDIT,
        caller=b"user\0alice\0group\0devs\0address\x00192.0.2.1",
    )
    assert rendered(asked) == (
        b"POST /api/v1/pods?x=%2F;a HTTP/1.1\r\n"
        b"Host: 10.0.0.1:6443\r\n"
        b"Accept: */*\r\n"
        b"x-odd-Case: \xc3\xa9\r\n"
        b"Impersonate-User: alice\r\n"
        b"Impersonate-Group: devs\r\n"
        b"X-Forwarded-For: 192.0.2.1\r\n"
        b"Authorization: Bearer t0ken\r\n"
        b"Audit-ID: 00010203-0405-0607-0809-0a0b0c0d0e0f\r\n"
        b"Content-Length: 2\r\n\r\n"
    )


def test_in_token_mode_nobody_is_impersonated() -> None:
    assert b"Impersonate" not in rendered(request(), impersonate=False)


def test_the_urls_path_stands_in_front_of_the_target() -> None:
    assert rendered(request(), base_path=b"/k8s/c-1").startswith(b"GET /k8s/c-1/api HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "target",
    [
        b"/../c-2/api",
        b"/%2e%2e/c-2/api",
        b"/api/../../c-2",
        b"/api/..%2f..%2fc-2",
        b"/api/..%5c..%5cc-2",
        b"/%252e%252e/c-2",
        b"/..;x/c-2",
        b"/" + b"%41" * 9000,
    ],
)
def test_no_target_leads_out_of_the_urls_path(target: bytes) -> None:
    """There the agent's credential may be good for another cluster."""
    with pytest.raises(BadRequest, match="out of the cluster"):
        rendered(request(target=target), base_path=b"/k8s/c-1")
    assert rendered(request(target=target)).startswith(b"GET " + target)


def test_within_the_urls_path_dot_segments_stay_as_they_are() -> None:
    target = b"/api/v1/namespaces/a/services/s/proxy/x/../y;z?a=/../.."
    assert b"GET /k8s/c-1" + target in rendered(request(target=target), base_path=b"/k8s/c-1")


@pytest.mark.parametrize(
    ("asked", "framing"),
    [
        (request(), b""),
        (request(method=b"POST"), b"Content-Length: 0\r\n"),
        (upload(length=77), b"Content-Length: 77\r\n"),
        (upload(), b"Transfer-Encoding: chunked\r\n"),
        (request(method=b"DELETE", body=b"{}"), b"Content-Length: 2\r\n"),
    ],
)
def test_the_framing_is_the_agents_own(asked: Request, framing: bytes) -> None:
    tail = rendered(asked).rpartition(b"Audit-ID")[2].partition(b"\r\n")[2]
    assert tail == framing + b"\r\n"


STUBS_OWN: list[Field] = [
    (b"Authorization", b"Bearer users-own"),
    (b"Host", b"elsewhere"),
    (b"Connection", b"close"),
    (b"Content-Length", b"7"),
    (b"Transfer-Encoding", b"chunked"),
    (b"X-Remote-User", b"root"),
    (b"x_remote_group", b"system:masters"),
    (b"X-Forwarded-For", b"10.1.1.1"),
    (b"Audit-ID", b"mine"),
    (b"Upgrade", b"h2c"),
    (b"TE", b"trailers"),
]
"""What a stub takes out of a request, or writes itself."""


@pytest.mark.parametrize("field", STUBS_OWN)
def test_what_a_stub_should_have_taken_out_is_taken_out_again(field: Field) -> None:
    assert rendered(request(fields=[field])) == rendered(request())


@pytest.mark.parametrize("field", STUBS_OWN)
def test_so_it_is_where_the_request_is_to_be_asked_as_somebody_else(field: Field) -> None:
    bob = (b"Impersonate-User", b"bob")
    assert b"Impersonate-User: bob" in rendered(request(fields=[bob]), reviews=REVIEWS)
    assert rendered(request(fields=[bob, field]), reviews=REVIEWS) == rendered(
        request(fields=[bob]), reviews=REVIEWS
    )


def test_repeated_shapes_of_heads_are_judged_alike() -> None:
    """A head whose names were seen before takes a short way, which must not be wider."""
    inspection = Inspection(Ceiling(impersonate=True), StaticToken("t"), b"h")
    asked = request(fields=[(b"Accept", b"*/*"), (b"X-Remote-User", b"root")])
    first, second = inspection.check(asked), inspection.check(asked)
    assert first == second
    bad = request(fields=[(b"Accept", b"a\r\nX-Remote-User: root"), (b"X-Remote-User", b"root")])
    with pytest.raises(BadRequest):
        inspection.check(bad)


@pytest.mark.parametrize(
    ("refusal", "changes"),
    [
        (Forbidden, {"fields": [(b"Impersonate-User", b"root")]}),
        (Forbidden, {"fields": [(b"impersonate_group", b"system:masters")]}),
        (Forbidden, {"caller": b"user\0system:admin"}),
        (BadRequest, {"fields": [(b"X", b"a\r\nImpersonate-User: root")]}),
        (BadRequest, {"fields": [(b"X Y", b"1")]}),
        (BadRequest, {"fields": [(b"X:", b"1")]}),
        (BadRequest, {"target": b"/api HTTP/1.1\r\nX: 1"}),
        (BadRequest, {"target": b"//evil"[1:].replace(b"/", b"")}),
        (BadRequest, {"target": b"https://evil/"}),
        (BadRequest, {"method": b"GET /x HTTP/1.1\r\n"}),
        (MethodNotAllowed, {"method": b"CONNECT"}),
        (HeadTooLarge, {"fields": [(b"X", b"1")] * (limits.FIELD_COUNT + 1)}),
        (HeadTooLarge, {"fields": [(b"X", bytes(b"1" * (limits.FIELD_BYTES + 1)))]}),
    ],
)
def test_a_request_is_checked_as_if_nobody_had(refusal: type[Refusal], changes: dict[str, Any]) -> None:
    with pytest.raises(refusal):
        rendered(request(**changes))


# Other modes -------------------------------------------------------------------------------------


def test_the_apiserver_is_told_a_requests_id_where_the_owner_says_so() -> None:
    ceiling = Ceiling(impersonate=True, extra=frozenset({"request"}))
    inspection = Inspection(ceiling, StaticToken("t"), b"h")
    for audit, text in ((AUDIT, b"00010203-0405-0607-0809-0a0b0c0d0e0f"), (bytes(16), b"00000000-0000")):
        lines = inspection.check(request(audit=audit)).lines
        assert b"Impersonate-Extra-cluster-tunnel%2frequest-id: " + text in lines


def passed_through(asked: Request) -> bytes:
    ceiling = Ceiling(impersonate=False, bearer=True)
    inspection = Inspection(ceiling, NoToken(), b"10.0.0.1:6443", bearer=True)
    checked = inspection.check(asked)
    return inspection.render(asked, checked.lines, checked.upgrade, 0.0)


TOKEN: Field = (b"Authorization", b"Bearer users-own")
HIDDEN = b"base64url.bearer.authorization.k8s.io.dG9rZW4"
NOBODY = b"address\x00192.0.2.1"


@pytest.mark.parametrize("caller", [NOBODY, b"user\0alice\0group\0devs\0address\x00192.0.2.1"])
def test_a_token_that_passes_through_is_kept_and_nothing_of_the_agents_is_added(caller: bytes) -> None:
    assert passed_through(
        request(fields=[(b"X-Remote-User", b"root"), TOKEN], audit=AUDIT, caller=caller)
    ) == (
        b"GET /api HTTP/1.1\r\n"
        b"Host: 10.0.0.1:6443\r\n"
        b"Authorization: Bearer users-own\r\n"
        b"X-Forwarded-For: 192.0.2.1\r\n"
        b"Audit-ID: 00010203-0405-0607-0809-0a0b0c0d0e0f\r\n\r\n"
    )


def test_a_websockets_token_passes_through_where_it_stands() -> None:
    protocols = HIDDEN + b", v5.channel.k8s.io"
    fields = [(b"Sec-WebSocket-Key", b"x"), (b"Sec-WebSocket-Protocol", protocols)]
    assert b"\r\nSec-WebSocket-Protocol: " + protocols in passed_through(request(fields=fields, upgrade=True))


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [(b"Authorization", b"Basic YTpi")],
        [TOKEN, (b"Connection", b"authorization")],
        [(b"Authorization", b"Bearer  users-own")],
        [(b"Sec-WebSocket-Key", b"x"), (b"Sec-WebSocket-Protocol", HIDDEN)],
    ],
)
@pytest.mark.parametrize("caller", [NOBODY, b"user\0alice"])
def test_without_a_token_of_its_own_a_request_is_nobodys(fields: list[Field], caller: bytes) -> None:
    """It would run as system:anonymous, and its user wonder."""
    with pytest.raises(Unauthorized, match="bearer: forward"):
        passed_through(request(fields=fields, caller=caller))


def test_who_asks_is_not_told_where_it_cannot_be_read() -> None:
    inspection = Inspection(Ceiling(impersonate=True), StaticToken("t"), b"h")
    assert inspection.caller(request(caller=b"user")) is None
    assert inspection.account(request()) is None


# Upgrades ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "kind"),
    [([], Upgrade.SPDY), ([(b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ==")], Upgrade.WEBSOCKET)],
)
def test_an_upgrade_is_asked_for_anew(fields: list[Field], kind: Upgrade) -> None:
    head = rendered(request(fields=fields, upgrade=True))
    assert head.endswith(b"Connection: Upgrade\r\nUpgrade: " + kind.value + b"\r\n\r\n")


@pytest.mark.parametrize(
    "asked",
    [
        request(method=b"POST", upgrade=True, body=b"x"),
        request(method=b"POST", upgrade=True, body_stream=True, body_length=-1),
        request(method=b"PUT", upgrade=True),
        request(method=b"POST", upgrade=True, fields=[(b"Sec-WebSocket-Key", b"x")]),
    ],
)
def test_an_upgrade_with_a_body_or_another_method_is_refused(asked: Request) -> None:
    with pytest.raises(BadRequest):
        rendered(asked)


def test_without_the_flag_nothing_in_the_fields_makes_an_upgrade() -> None:
    head = rendered(request(fields=[(b"Sec-WebSocket-Key", b"x"), (b"Upgrade", b"websocket")]))
    assert b"\r\nUpgrade:" not in head
    assert b"\r\nConnection:" not in head
