import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.core.http.strategies import SENSITIVE_NAMES, fields, names, respelt, values
from tunnel.core import limits
from tunnel.core.errors import BadGateway, BadRequest, Forbidden, HeadTooLarge, PeerViolation
from tunnel.core.http.fields import (
    check_fields,
    check_peer_fields,
    check_request_fields,
    check_upstream_fields,
    connection_tokens,
    field_fault,
    lookup,
    sanitise_request,
    sanitise_response,
    single,
    strip_bearer_subprotocol,
)
from tunnel.core.http.message import Field

PLAIN: list[Field] = [(b"Accept", b"*/*"), (b"Kubectl-Command", b"kubectl get")]
BEARER = b"base64url.bearer.authorization.k8s.io.c2VjcmV0"
UPGRADE: list[Field] = [
    (b"Connection", b"Upgrade"),
    (b"Upgrade", b"websocket"),
    (b"Sec-WebSocket-Key", b"k"),
]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"", b"x"),
        (b"A B", b"x"),
        (b"A ", b"x"),
        (b"A:", b"x"),
        (b"A\r\nB", b"x"),
        (b"A\n", b"x"),
        (b"\xc3\xa4", b"x"),
        (b"A", b"x\ry"),
        (b"A", b"x\ny"),
        (b"A", b"x\x00"),
        (b"A", b"x\x0b"),
        (b"A", b"\x1f"),
        (b"A", b"\x7f"),
    ],
)
def test_a_malformed_field_is_refused_whoever_sent_it(name: bytes, value: bytes) -> None:
    head = [*PLAIN, (name, value)]
    with pytest.raises(BadRequest) as caught:
        check_fields(head)
    assert caught.value.close
    with pytest.raises(PeerViolation):
        check_peer_fields(head)
    with pytest.raises(BadGateway):
        check_upstream_fields(head)


def test_tabs_and_bytes_above_ascii_are_legal_in_values() -> None:
    check_fields([(b"A", b"x\ty"), (b"B", "jörg".encode()), (b"C", b"\xff\x80"), (b"D", b"")])
    check_fields([])


def test_a_fault_names_the_field_but_never_its_value() -> None:
    fault = field_fault([(b"Authorization", b"Bearer s3cret\n")])
    assert fault is not None
    assert "Authorization" in fault.text
    assert "s3cret" not in fault.text


@pytest.mark.parametrize(
    "head",
    [
        [(b"A", b"b")] * (limits.FIELD_COUNT + 1),
        [(b"A", b"b" * limits.FIELD_BYTES)],
        [(b"A", b"b" * (limits.FIELD_BYTES - 1))] * 5,
    ],
    ids=["count", "one field", "sum"],
)
def test_a_head_above_a_limit_is_told_so(head: list[Field]) -> None:
    with pytest.raises(HeadTooLarge, match="the limit is"):
        check_fields(head)


def test_a_head_at_the_limits_passes() -> None:
    check_fields([(b"A", b"b")] * limits.FIELD_COUNT)
    check_fields([(b"A", b"b" * (limits.FIELD_BYTES - 1))] * 3)


@pytest.mark.parametrize(
    "extra", [[], [(b"Host", b"a"), (b"host", b"a")], [(b"HOST", b"a"), *PLAIN, (b"Host", b"b")]]
)
def test_a_request_without_exactly_one_host_is_refused(extra: list[Field]) -> None:
    with pytest.raises(BadRequest, match=f"{len(lookup(extra, b'host'))} Host fields"):
        check_request_fields([*PLAIN, *extra], version_1_1=True)


def test_an_http_1_0_request_may_lack_host_but_not_have_two() -> None:
    check_request_fields(PLAIN, version_1_1=False)
    with pytest.raises(BadRequest):
        check_request_fields([(b"Host", b"a")] * 2, version_1_1=False)


@pytest.mark.parametrize(
    "name", [b"Authorization", b"content-length", b"Transfer-Encoding", b"Content_Length"]
)
def test_a_field_that_decides_must_not_be_repeated(name: bytes) -> None:
    head: list[Field] = [(b"Host", b"a"), (name, b"0")]
    check_request_fields(head, version_1_1=True)
    with pytest.raises(BadRequest, match="repeated"):
        check_request_fields([*head, (name.upper(), b"0")], version_1_1=True)


def test_lookup_keeps_order_and_strips_white_space() -> None:
    head: list[Field] = [(b"X-A", b"1 "), (b"X-B", b"2"), (b"x-a", b"\t3")]
    assert lookup(head, b"x-a") == [b"1", b"3"]
    assert single(head, b"x-b") == b"2"
    assert single(head, b"x-c") is None
    with pytest.raises(BadRequest, match="x-a is repeated"):
        single(head, b"x-a")


def test_connection_tokens_are_gathered_from_all_lines_in_lower_case() -> None:
    head: list[Field] = [(b"Connection", b"close, X-Foo ,,\tBar"), (b"connection", b" KEEP-alive ")]
    assert connection_tokens(head) == {b"close", b"x-foo", b"bar", b"keep-alive"}
    assert connection_tokens(PLAIN) == frozenset()


@pytest.mark.parametrize("context", [PLAIN, UPGRADE], ids=["plain", "upgrade"])
def test_fields_that_connection_names_are_dropped(context: list[Field]) -> None:
    head = [*context, (b"Connection", b"close, X_Custom , x_Remote_User"), (b"connecTION", b" Traceparent\t")]
    nominated: list[Field] = [
        (b"X-custom", b"1"),
        (b"X_cusTom", b"1"),
        (b"traceparent", b"2"),
        (b"X-Remote-User", b"3"),
    ]
    assert sanitise_request([*head, *nominated]) == sanitise_request(context)


def test_connection_cannot_take_away_what_is_added_later() -> None:
    head: list[Field] = [
        *PLAIN,
        (b"Connection", b"close, Impersonate-User , X-Remote-User, Impersonate-Group"),
    ]
    added: Field = (b"Impersonate-User", b"alice")
    assert [*sanitise_request(head), added] == [*PLAIN, added]


@pytest.mark.parametrize("context", [PLAIN, UPGRADE], ids=["plain", "upgrade"])
@pytest.mark.parametrize(
    "name",
    [
        b"Impersonate-User",
        b"impersonate-group",
        b"Impersonate_User",
        b"IMPERSONATE-Extra-scopes",
        b"Impersonate-Uid",
        b"Impersonated",
    ],
)
def test_a_client_that_impersonates_is_told_so(name: bytes, context: list[Field]) -> None:
    with pytest.raises(Forbidden, match="--as") as caught:
        sanitise_request([*context, (name, b"admin")], forward_authorization=True)
    assert name.decode() in caught.value.message
    assert "admin" not in caught.value.message


@pytest.mark.parametrize("context", [PLAIN, UPGRADE], ids=["plain", "upgrade"])
@pytest.mark.parametrize("name", SENSITIVE_NAMES)
def test_a_sensitive_field_is_dropped_in_every_spelling(name: str, context: list[Field]) -> None:
    for spelling in (name, name.lower(), name.upper(), name.replace("-", "_")):
        assert sanitise_request([*context, (spelling.encode(), b"1")]) == sanitise_request(context)


def test_what_is_left_keeps_order_spelling_and_repeats() -> None:
    head: list[Field] = [
        (b"x-stream-protocol-version", b"v5.channel.k8s.io"),
        (b"X-Stream-Protocol-Version", b"v4.channel.k8s.io"),
        (b"Host", b"stub"),
        (b"user-AGENT", b"kubectl"),
        (b"X-Remotely", b"kept"),
        (b"Kubectl-Session", b"1"),
        (b"X-Stream-Protocol-Version", b"channel.k8s.io"),
    ]
    assert sanitise_request(head) == [field for field in head if field[0] != b"Host"]
    assert sanitise_request([]) == []


def test_credentials_travel_only_where_they_are_let() -> None:
    head: list[Field] = [(b"Authorization", b"Bearer t"), (b"Cookie", b"c=1"), (b"Proxy-Authorization", b"p")]
    assert sanitise_request(head) == []
    assert sanitise_request(head, forward_authorization=True) == head[:1]
    assert sanitise_request(head, forward_cookies=True) == head[1:2]


def test_the_agent_keeps_only_the_client_address_its_stub_has_put_there() -> None:
    head: list[Field] = [
        (b"X-Forwarded-For", b"192.0.2.1"),
        (b"X-Forwarded-Host", b"h"),
        (b"X-Real-Ip", b"::1"),
    ]
    assert sanitise_request(head) == []
    assert sanitise_request(head, forward_client_address=True) == head[:1]


def test_the_bearer_subprotocol_is_stripped_and_the_others_kept_in_order() -> None:
    head: list[Field] = [
        (b"Sec-WebSocket-Protocol", b"v5.channel.k8s.io, " + BEARER + b" ,v4.channel.k8s.io"),
        (b"sec-websocket-protocol", BEARER.upper()),
        (b"Sec-WebSocket-Protocol", b"SPDY/3.1+portforward.k8s.io,x"),
    ]
    expected = [(head[0][0], b"v5.channel.k8s.io, v4.channel.k8s.io"), head[2]]
    assert strip_bearer_subprotocol(head) == expected
    assert sanitise_request(head) == expected
    assert sanitise_request(head, forward_authorization=True) == head


def test_a_response_keeps_what_is_the_clusters() -> None:
    kept: list[Field] = [
        (b"Warning", b'299 - "a"'),
        (b"warning", b'299 - "b"'),
        (b"Content-Encoding", b"gzip"),
        (b"Date", b"d"),
        (b"Audit-Id", b"1"),
        (b"X-Stream-Protocol-Version", b"v4"),
        (b"Www-Authenticate", b"Basic"),
    ]
    assert sanitise_response(kept) == kept
    assert sanitise_response([]) == []


@pytest.mark.parametrize(
    "name",
    [
        b"Connection",
        b"Keep-Alive",
        b"transfer_encoding",
        b"Content-Length",
        b"TRAILER",
        b"Upgrade",
        b"Set-Cookie",
        b"Alt-Svc",
        b"X-Cluster-Tunnel-Request-Id",
    ],
)
def test_a_response_loses_what_is_this_hops(name: bytes) -> None:
    assert sanitise_response([*PLAIN, (name, b"1")]) == PLAIN


def test_a_response_loses_what_its_connection_names_and_cookies_unless_let() -> None:
    head: list[Field] = [(b"Connection", b"close, X-Foo"), (b"x-foo", b"1"), (b"Set-Cookie", b"a=b")]
    assert sanitise_response(head) == []
    assert sanitise_response(head, forward_set_cookie=True) == head[2:]


def _folded(name: bytes) -> str:
    return name.decode().lower().replace("_", "-")


@given(fields)
def test_nothing_sensitive_survives_the_sanitiser(head: list[Field]) -> None:
    nominated = {_folded(token) for token in connection_tokens(head)}
    try:
        kept = sanitise_request(head)
    except Forbidden:
        assert any(_folded(name).startswith("impersonate") for name, _ in head)
        return
    sensitive = {name.lower() for name in SENSITIVE_NAMES} | nominated
    for name, value in kept:
        assert _folded(name) not in sensitive
        assert not _folded(name).startswith(("impersonate", "x-remote-", "x-forwarded-", "x-cluster-tunnel-"))
        assert (name, value) in head or _folded(name) == "sec-websocket-protocol"
    assert sanitise_request(kept) == kept


@given(
    fields,
    respelt("Impersonate-User") | names.map(lambda tail: b"imPersonate_" + tail),
    values,
    st.booleans(),
)
def test_impersonation_never_passes(head: list[Field], name: bytes, value: bytes, forward: bool) -> None:
    for place in (0, len(head)):
        with pytest.raises(Forbidden):
            sanitise_request([*head[:place], (name, value), *head[place:]], forward_authorization=forward)


@given(st.lists(st.tuples(st.binary(max_size=8), st.binary(max_size=8)), max_size=6))
def test_whatever_bytes_come_are_good_fields_or_one_refusal(head: list[Field]) -> None:
    try:
        check_fields(head)
    except BadRequest:
        return
    block = b"".join(b"%b: %b\r\n" % field for field in head)
    assert block.count(b"\n") == block.count(b"\r") == len(head)
    assert b"\x00" not in block
