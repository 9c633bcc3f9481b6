"""A client's own bearer token among its fields: in Authorization, or where a browser has to put it.

Stricter than the apiserver, which takes a request whose token it does not find (two spaces in front of it, say) for one of
system:anonymous instead of refusing it.
"""

import re
from typing import Final

from tunnel.core.http.fields import lookup
from tunnel.core.http.message import Field

# Visible ASCII: Go cuts further kinds of white space off both ends.
_CREDENTIAL: Final = re.compile(rb"(?i:bearer) [!-~]+")
_SUBPROTOCOL: Final = re.compile(rb"base64url\.bearer\.authorization\.k8s\.io\.[A-Za-z0-9_-]+")


def carries_bearer(fields: list[Field], *, websocket: bool) -> bool:
    """Whether `fields` show a bearer token that the apiserver will look at, and no credential of another kind in its place.

    Args:
        fields: of a request.
        websocket: whether it asks for an upgrade to a WebSocket; in no other may a subprotocol be a token.
    """
    credentials = lookup(fields, b"authorization")
    if credentials:
        return all(_CREDENTIAL.fullmatch(credential) for credential in credentials)
    protocols = b",".join(lookup(fields, b"sec-websocket-protocol")).split(b",")
    return websocket and any(_SUBPROTOCOL.fullmatch(protocol.strip(b" \t")) for protocol in protocols)
