"""A client's own bearer token among its fields: in Authorization, or where a browser has to put it."""

from tunnel.core.http.fields import lookup, strip_bearer_subprotocol
from tunnel.core.http.message import Field

_SCHEME = b"bearer "


def carries_bearer(fields: list[Field]) -> bool:
    """Whether `fields` show a bearer token, and no credential of another kind in its place."""
    credentials = lookup(fields, b"authorization")
    if credentials:
        return all(credential[: len(_SCHEME)].lower() == _SCHEME for credential in credentials)
    return strip_bearer_subprotocol(fields) != fields
