"""Who asks, in the words of a REQUEST. Nothing of it is believed before the ceiling has looked at it."""

import re
from dataclasses import dataclass
from typing import Final

from tunnel.core import extras
from tunnel.core.errors import BadRequest, PeerViolation
from tunnel.core.identity import Identity
from tunnel.core.wire.exchange import caller_pairs

_EXTRA: Final = b"extra/"
_CERTIFICATE: Final = _EXTRA + extras.CERTIFICATE.encode()
_FINGERPRINT: Final = re.compile(rb"[0-9a-f]{64}\Z")
_ADDRESS_CHARACTERS: Final = b"0123456789abcdefABCDEF.:"
_ADDRESS_BYTES: Final = 64

REMEMBERED_BYTES: Final = 4096
"""What is decided about a larger caller is not remembered. An honest one is far smaller; a stub can invent thousands, each as large as a
frame."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Attributes:
        identity: the user; None for somebody whom the stub let in for the sake of a bearer token, and does not know.
        address: where that user connects from; empty where the stub does not say.
        certificate: the fingerprint of the certificate that the user showed; empty likewise.
    """

    identity: Identity | None
    address: str = ""
    certificate: str = ""


def is_remembered(identity: Identity) -> bool:
    """Whether an identity is small enough to be kept beside what was decided about it."""
    texts = (identity.user, identity.uid or "", *identity.groups)
    extra = sum(len(key) + sum(map(len, values)) for key, values in identity.extra)
    return sum(map(len, texts)) + extra <= REMEMBERED_BYTES


def parse_caller(block: bytes) -> Caller:
    """Return whom a REQUEST's caller block names.

    Raises:
        BadRequest: it cannot be read, or says something that this version does not know: to overlook part of an identity
            could mean more rights than the stub meant to give.
    """
    try:
        return _parse(block)
    except (UnicodeDecodeError, PeerViolation):
        raise BadRequest("the stub's description of the caller cannot be read") from None


def _parse(block: bytes) -> Caller:
    user, uid, address, certificate = "", None, "", ""
    groups: list[str] = []
    extra: dict[str, list[str]] = {}
    pairs = caller_pairs(block)
    for name, value in pairs:
        match name:
            case b"user":
                user = value.decode()
            case b"uid":
                uid = value.decode()
            case b"group":
                groups.append(value.decode())
            case b"address":
                address = _address(value)
            case _ if name == _CERTIFICATE:
                certificate = _fingerprint(value)
            case _:
                extra.setdefault(_extra_key(name), []).append(value.decode())
    if all(name == b"address" for name, _ in pairs):
        return Caller(None, address)
    others = tuple((key, tuple(values)) for key, values in extra.items())
    return Caller(Identity(user, tuple(groups), uid, others), address, certificate)


def _extra_key(name: bytes) -> str:
    """The apiserver folds case, so no spelling of the tunnel's own keys may come from outside."""
    key = name.removeprefix(_EXTRA).decode()
    if not name.startswith(_EXTRA) or key.lower().startswith(extras.PREFIX):
        raise BadRequest("the stub names the caller in a way this agent does not know; upgrade the agent")
    return key


def _fingerprint(value: bytes) -> str:
    if not _FINGERPRINT.match(value):
        raise BadRequest("the stub's word for the user's certificate is not a SHA-256")
    return value.decode()


def _address(value: bytes) -> str:
    address = value.partition(b"%")[0]  # a link-local one's zone means nothing on another machine
    if len(value) > _ADDRESS_BYTES or address.translate(None, _ADDRESS_CHARACTERS):
        raise BadRequest("the stub's word for the client's address is not an address")
    return address.decode()
