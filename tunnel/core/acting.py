"""`kubectl --as`: the fields by which a client asks to act as somebody else, apart from all others."""

from typing import Final
from urllib.parse import unquote_to_bytes

from tunnel.core import extras
from tunnel.core.errors import BadRequest
from tunnel.core.http.message import Field
from tunnel.core.identity import Identity

_PREFIX: Final = b"impersonate"
_EXTRA: Final = b"impersonate-extra-"


def split_acting(fields: list[Field]) -> tuple[list[Field], list[Field]]:
    """Return all other fields, and those whose names begin with `Impersonate`; both in order.

    To be called before any sanitising, so that a Connection field cannot name one of them away: the request would run with
    the user's own rights.
    """
    acting = [field for field in fields if field[0][: len(_PREFIX)].lower() == _PREFIX]
    if not acting:
        return fields, []
    return [field for field in fields if field[0][: len(_PREFIX)].lower() != _PREFIX], acting


def read_acting(fields: list[Field]) -> Identity:
    """Return whom a client wants to act as.

    Args:
        fields: from `split_acting`, at least one.

    Raises:
        BadRequest: the apiserver could read them otherwise, or would take them for none.
    """
    users: list[str] = []
    uids: list[str] = []
    groups: list[str] = []
    extra: dict[str, list[str]] = {}
    for name, value in fields:
        text = _text(name, value)
        match name.lower():
            case b"impersonate-user":
                users.append(text)
            case b"impersonate-uid":
                uids.append(text)
            case b"impersonate-group":
                groups.append(text)
            case folded if folded.startswith(_EXTRA):
                extra.setdefault(_extra_key(name), []).append(text)
            case _:
                raise BadRequest(f"the field {_shown(name)} is none that Kubernetes knows")
    if len(users) != 1 or not users[0] or len(uids) > 1:
        raise BadRequest("kubectl --as needs exactly one user, and at most one uid")
    pairs = tuple((key, tuple(values)) for key, values in extra.items())
    return Identity(users[0], tuple(groups), uids[0] if uids else None, pairs)


def _extra_key(name: bytes) -> str:
    """As the apiserver does: folded, then unescaped; and folded again, because we write keys in lower case."""
    try:
        key = unquote_to_bytes(name[len(_EXTRA) :].lower()).decode().lower()
    except UnicodeDecodeError:
        key = ""
    if not key or key.startswith(extras.PREFIX):
        raise BadRequest(f"the field {_shown(name)} is none that a user may send")
    return key


def _text(name: bytes, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise BadRequest(f"the value of {_shown(name)} is not UTF-8") from None


def _shown(name: bytes) -> str:
    return repr(name[:64].decode("latin-1"))
