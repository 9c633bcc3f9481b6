"""Join tokens as a text: what an agent is given so that it can get its first certificate.

    ctjoin1.ID.SECRET.PIN

The stub knows ID and a digest of SECRET. PIN is the digest of the key of the authority behind the stub's own certificate: by it
the agent knows the right stub before it says the secret.
"""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from certs.errors import CertificateProblem
from certs.pem import PemSource, certificates_pem, public_der, read_bounded, read_certificates

PREFIX: Final = "ctjoin1"
"""Secret scanners find a token by this."""

SECRET_BYTES: Final = 32
"""As random as a key: a plain digest of it can be stored, and nobody guesses it."""

_PIN_BYTES: Final = 32
_ID: Final = re.compile(r"[0-9a-f]{10}\Z")
_FILE_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class JoinToken:
    """A token taken apart.

    Attributes:
        id: names it in lists and logs.
        secret: its power.
        pin: SHA-256 of the public key of the authority of the stub's certificate.
    """

    id: str
    secret: bytes = field(repr=False)
    pin: bytes

    @property
    def text(self) -> str:
        """The token as it is handed out: a secret."""
        return ".".join((PREFIX, self.id, _encode(self.secret), _encode(self.pin)))

    @property
    def digest(self) -> str:
        """What may be stored of the secret."""
        return hashlib.sha256(self.secret).hexdigest()

    def is_of(self, digest: str) -> bool:
        """Whether `digest` is this token's, in a time that says nothing about it."""
        return hmac.compare_digest(self.digest, digest)


def new_token(pin: bytes) -> JoinToken:
    """Return a token that nobody can guess."""
    return JoinToken(secrets.token_hex(5), secrets.token_bytes(SECRET_BYTES), pin)


def parse_token(text: str) -> JoinToken:
    """Return the token in a text.

    Raises:
        ValueError: it is none; the message does not repeat it.
    """
    parts = text.strip().split(".")
    if len(parts) != 4 or parts[0] != PREFIX or not _ID.match(parts[1]):
        raise ValueError(f"not a join token: one begins with '{PREFIX}.' and has four parts")
    secret, pin = (_decode(part) for part in parts[2:])
    if len(secret) != SECRET_BYTES or len(pin) != _PIN_BYTES:
        raise ValueError("not a whole join token: a part of it is missing")
    return JoinToken(parts[1], secret, pin)


def read_token(path: Path) -> JoinToken:
    """Return the token in a file.

    Raises:
        CertificateProblem: it cannot be read, or holds none.
    """
    try:
        return parse_token(read_bounded(path, _FILE_BYTES).decode("ascii", errors="replace"))
    except ValueError as error:
        raise CertificateProblem(f"{path}: {error}") from None


def pin_of(authority: PemSource) -> bytes:
    """Return the pin of an authority: of the first certificate, which is the one that signs.

    Raises:
        CertificateProblem: it cannot be read.
    """
    return _digest_of(read_certificates(authority)[0].public_key())


def pinned(authority: PemSource, pin: bytes) -> bytes | None:
    """Return the one certificate of a bundle that the pin stands for, as PEM, or None where none is there.

    The others in the bundle are nobody's word yet.
    """
    found: Sequence[x509.Certificate] = [
        each
        for each in read_certificates(authority)
        if hmac.compare_digest(_digest_of(each.public_key()), pin)
    ]
    return certificates_pem(found[:1]) if found else None


def _digest_of(key: CertificatePublicKeyTypes) -> bytes:
    return hashlib.sha256(public_der(key)).digest()


def _encode(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode("ascii")


def _decode(part: str) -> bytes:
    try:
        return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""
