"""Which fields carry a client's own bearer token."""

import pytest

from tunnel.core.bearer import carries_bearer
from tunnel.core.http.message import Field

HIDDEN = b"base64url.bearer.authorization.k8s.io.dG9rZW4"


@pytest.mark.parametrize(
    "fields",
    [
        [(b"Authorization", b"Bearer t")],
        [(b"AUTHORIZATION", b"bearer t")],
        [(b"Sec-WebSocket-Protocol", HIDDEN + b", v4.channel.k8s.io")],
        [(b"Sec-WebSocket-Protocol", b"v4.channel.k8s.io"), (b"sec-websocket-protocol", HIDDEN)],
    ],
)
def test_a_token_is_found_in_both_places(fields: list[Field]) -> None:
    assert carries_bearer(fields)


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
    assert not carries_bearer(fields)
