"""Who a user is, which identities are refused, and how one is told to the apiserver."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tunnel.core.errors import Forbidden
from tunnel.core.http.message import Field

NAME_CHARACTERS: Final = 1024
"""One name or value. X.509 bounds CN and O to 64; names from other sources (DNs, e-mail addresses) are longer."""

ATTRIBUTE_COUNT: Final = 256
"""Groups plus extra values: each becomes a field of the request to the apiserver."""

_SYSTEM: Final = "system:"
# Neither empty nor padded nor over-long, no control character (C0, DEL, C1), no lone surrogate: those cannot be UTF-8.
_NAME: Final = re.compile(rf"(?!\s)[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{{1,{NAME_CHARACTERS}}}(?<!\s)\Z")
_NOT_IN_KEY: Final = re.compile(rb"[^!#$&'*+.^_`|~0-9a-z-]")


@dataclass(frozen=True, slots=True)
class Identity:
    """A user as Kubernetes knows one.

    Attributes:
        user: never empty once checked: the apiserver takes an empty Impersonate-User for no impersonation at all and
            would run the request as the agent.
        groups: without `system:authenticated`, which the apiserver adds.
        uid: None where there is none.
        extra: keys with their values.
    """

    user: str
    groups: tuple[str, ...] = ()
    uid: str | None = None
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()


def check_identity(
    identity: Identity,
    *,
    allow_users: frozenset[str] = frozenset(),
    allow_groups: frozenset[str] = frozenset(),
) -> None:
    """Refuse an identity that could be taken for another, or for a part of the cluster itself.

    Args:
        identity: whoever made it.
        allow_users: names beginning with `system:` that the owner lets in all the same, spelt out.
        allow_groups: groups likewise; `system:masters`, which stands above RBAC, only if it is among them.

    Raises:
        Forbidden: the message names the attribute at fault.
    """
    if not _NAME.match(identity.user):
        raise _unfit("user name", identity.user)
    if _is_system(identity.user) and identity.user not in allow_users:
        raise _reserved("user name", identity.user)
    for group in identity.groups:
        if not _NAME.match(group):
            raise _unfit("group", group)
        if _is_system(group) and group not in allow_groups:
            raise _reserved("group", group)
    if identity.uid is not None and not _NAME.match(identity.uid):
        raise _unfit("uid", identity.uid)
    _check_extra(identity)


def _check_extra(identity: Identity) -> None:
    count = len(identity.groups)
    for key, values in identity.extra:
        count += len(values)
        if not _NAME.match(key):
            raise _unfit("extra key", key)
        for value in values:
            if not _NAME.match(value):
                raise _unfit(f"value of the extra key {key!a}", value)
    if count > ATTRIBUTE_COUNT:
        raise Forbidden(f"the identity has {count} groups and extra values, the limit is {ATTRIBUTE_COUNT}")


def _is_system(name: str) -> bool:
    # The apiserver compares case too; no honest name differs from a reserved one by case alone.
    return name[:7].lower() == _SYSTEM


def _unfit(attribute: str, value: str) -> Forbidden:
    if not value:
        fault = "is empty"
    elif len(value) > NAME_CHARACTERS:
        fault = f"has {len(value)} characters, the limit is {NAME_CHARACTERS}"
    elif value != value.strip():
        fault = f"{value[:64]!a} begins or ends with white space"
    else:
        fault = f"{value[:64]!a} holds a control character or a lone surrogate"
    return Forbidden(f"the identity is refused: its {attribute} {fault}")


def _reserved(attribute: str, value: str) -> Forbidden:
    return Forbidden(
        f"the identity is refused: its {attribute} {value[:64]!a} is reserved for the cluster's own parts; "
        f"the cluster's owner can allow it by name"
    )


def impersonation_fields(identity: Identity) -> list[Field]:
    """The fields that make the apiserver act as `identity`, which must have passed `check_identity`. They go behind the
    sanitised fields of the client, and nowhere but to the apiserver."""
    return list(_impersonation(identity))


def _impersonation(identity: Identity) -> Iterator[Field]:
    yield b"Impersonate-User", identity.user.encode()
    for group in identity.groups:
        yield b"Impersonate-Group", group.encode()
    if identity.uid is not None:
        yield b"Impersonate-Uid", identity.uid.encode()
    for key, values in identity.extra:
        name = b"Impersonate-Extra-" + _escaped(key)
        for value in values:
            yield name, value.encode()


def _escaped(key: str) -> bytes:
    """The apiserver lower-cases a key and undoes percent-escapes, in this order; so we do the same before escaping."""
    return _NOT_IN_KEY.sub(lambda match: b"%%%02x" % match[0][0], key.lower().encode())
