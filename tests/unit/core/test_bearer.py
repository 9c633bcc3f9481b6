"""Which fields carry a client's own bearer token."""

import pytest

from tunnel.core.bearer import carries_bearer
from tunnel.core.http.message import Field

HIDDEN = b"base64url.bearer.authorization.k8s.io.dG9rZW4"


PREFIX = HIDDEN.removesuffix(b"dG9rZW4")


@pytest.mark.parametrize(
    "fields",
    [
        [(b"Authorization", b"Bearer t")],
        [(b"AUTHORIZATION", b"bearer t")],
        [(b"Authorization", b" Bearer abc.d-e_f~+/== ")],
        [(b"Sec-WebSocket-Protocol", HIDDEN + b", v4.channel.k8s.io")],
        [(b"Sec-WebSocket-Protocol", b"v4.channel.k8s.io"), (b"sec-websocket-protocol", HIDDEN)],
    ],
)
def test_a_token_is_found_in_both_places(fields: list[Field]) -> None:
    assert carries_bearer(fields, websocket=True)


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [(b"Authorization", b"Basic t")],
        [(b"Authorization", b"Bearer")],
        [(b"Authorization", b"")],
        [(b"X-Authorization", b"Bearer t")],
        [(b"Sec-WebSocket-Protocol", b"v4.channel.k8s.io")],
        [(b"Authorization", b"Basic t"), (b"Sec-WebSocket-Protocol", HIDDEN)],
        [(b"Authorization", b"Bearer t"), (b"Authorization", b"Basic t")],
    ],
)
def test_nothing_else_passes_for_one(fields: list[Field]) -> None:
    assert not carries_bearer(fields, websocket=True)


@pytest.mark.parametrize(
    "fields",
    [
        [(b"Authorization", b"Bearer  t")],
        [(b"Authorization", b"Bearer\tt")],
        [(b"Authorization", b"Bearer \xc2\xa0")],
        [(b"Authorization", b"Bearer t u")],
        [(b"Sec-WebSocket-Protocol", PREFIX)],
        [(b"Sec-WebSocket-Protocol", PREFIX + b"\xc2\xa0, v4.channel.k8s.io")],
        [(b"Sec-WebSocket-Protocol", HIDDEN.upper())],
        [(b"Sec_WebSocket_Protocol", HIDDEN)],
    ],
)
def test_what_the_apiserver_passes_over_as_no_token_is_none(fields: list[Field]) -> None:
    """It would go on as system:anonymous, without a certificate."""
    assert not carries_bearer(fields, websocket=True)


def test_a_subprotocol_is_a_token_only_where_a_websocket_is_asked_for() -> None:
    assert not carries_bearer([(b"Sec-WebSocket-Protocol", HIDDEN)], websocket=False)
