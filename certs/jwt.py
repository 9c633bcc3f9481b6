"""Signed JSON web tokens (RFC 7515, 7517, 7519), as far as an id-token of OpenID Connect needs them.

Two algorithms, RS256 and ES256, each only with a key of its own kind: a token never chooses how it is judged.
"""

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

TOKEN_BYTES: Final = 32 * 1024
"""An id-token with 200 groups has about 12 KiB."""

ALGORITHMS: Final = ("RS256", "ES256")
CLOCK_SKEW_SECONDS: Final = 60.0
"""How far the issuer's clock may be ahead of or behind ours."""

_RSA_BITS: Final = 2048
_P256_BYTES: Final = 32
_KEYS: Final = 64
"""Keys read from one set; providers publish two or three."""


class TokenInvalid(Exception):
    """A token is malformed, not signed by a known key, or not for here and now; the text never repeats it."""


class KeyUnknown(TokenInvalid):
    """The token names a key that is not in the set: the issuer may have changed its keys meanwhile."""


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A public key of an issuer.

    Attributes:
        id: its `kid`, or None.
        algorithm: the only one it may verify.
    """

    id: str | None
    algorithm: str
    key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey = field(repr=False)


@dataclass(frozen=True, slots=True)
class SignedToken:
    """A token taken apart, of which nothing has been verified.

    Attributes:
        algorithm: one of `ALGORITHMS`.
        key_id: the `kid` it names, or None.
    """

    algorithm: str
    key_id: str | None
    claims: Mapping[str, Any]
    signed: bytes = field(repr=False)
    signature: bytes = field(repr=False)


# Keys ------------------------------------------------------------------------------------------


def read_key_set(document: object) -> list[VerificationKey]:
    """Return the keys of a JWK set that can verify tokens; keys for other uses and of other kinds are passed over.

    Raises:
        TokenInvalid: it is no JWK set, or none of its keys can be used.
    """
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise TokenInvalid("the issuer's key set is not a JWK set")
    keys = [key for entry in entries[:_KEYS] if (key := _key(entry)) is not None]
    if not keys:
        raise TokenInvalid("the issuer's key set has no key for RS256 or ES256")
    return keys


def _key(entry: Any) -> VerificationKey | None:
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
        return None
    read = {"RSA": _rsa_key, "EC": _ec_key}.get(str(entry.get("kty")))
    try:
        key = read(entry) if read is not None else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    if key is None or entry.get("alg", key.algorithm) != key.algorithm:
        return None
    return key


def _rsa_key(entry: dict[str, Any]) -> VerificationKey | None:
    key = rsa.RSAPublicNumbers(_number(entry["e"]), _number(entry["n"])).public_key()
    return VerificationKey(_key_id(entry), "RS256", key) if key.key_size >= _RSA_BITS else None


def _ec_key(entry: dict[str, Any]) -> VerificationKey | None:
    if entry["crv"] != "P-256":
        return None
    numbers = ec.EllipticCurvePublicNumbers(_number(entry["x"]), _number(entry["y"]), ec.SECP256R1())
    return VerificationKey(_key_id(entry), "ES256", numbers.public_key())


def _key_id(entry: dict[str, Any]) -> str | None:
    name = entry.get("kid")
    return name if isinstance(name, str) else None


def _number(text: str) -> int:
    return int.from_bytes(_decode(text), "big")


# Tokens ----------------------------------------------------------------------------------------


def parse_signed(text: str) -> SignedToken:
    """Take a token apart.

    Raises:
        TokenInvalid: it is no signed token, or signed with another algorithm than `ALGORITHMS`.
    """
    if len(text) > TOKEN_BYTES:
        raise TokenInvalid(f"the token is larger than {TOKEN_BYTES} bytes")
    try:
        head_text, claims_text, signature = text.split(".")
        head, claims = _object(head_text), _object(claims_text)
        signed = SignedToken(
            str(head.get("alg")),
            _key_id(head),
            claims,
            f"{head_text}.{claims_text}".encode("ascii"),
            _decode(signature),
        )
    except (ValueError, RecursionError):
        raise TokenInvalid("the token is not a signed JSON web token") from None
    if signed.algorithm not in ALGORITHMS:
        raise TokenInvalid(
            f"the token is signed with {signed.algorithm[:20]!r}; only RS256 and ES256 are taken"
        )
    if "crit" in head:
        raise TokenInvalid("the token demands extensions that are not known here")  # RFC 7515 4.1.11
    return signed


def verify_signature(token: SignedToken, keys: Iterable[VerificationKey]) -> None:
    """Make sure that one of `keys` signed the token: the one it names, or, if it names none, any.

    Raises:
        KeyUnknown: none of the keys is the one.
        TokenInvalid: the signature is wrong.
    """
    fitting = [
        key
        for key in keys
        if key.algorithm == token.algorithm and (token.key_id is None or key.id == token.key_id)
    ]
    if not fitting:
        raise KeyUnknown("the token is signed with a key that its issuer does not publish")
    if not any(_verifies(key, token) for key in fitting):
        raise TokenInvalid("the token's signature is wrong")


def _verifies(key: VerificationKey, token: SignedToken) -> bool:
    try:
        if isinstance(key.key, rsa.RSAPublicKey):
            key.key.verify(token.signature, token.signed, padding.PKCS1v15(), hashes.SHA256())
        else:
            key.key.verify(_as_der(token.signature), token.signed, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def _as_der(signature: bytes) -> bytes:
    # RFC 7518 3.4: the two numbers side by side, each as long as the curve.
    if len(signature) != 2 * _P256_BYTES:
        raise InvalidSignature
    first, second = signature[:_P256_BYTES], signature[_P256_BYTES:]
    return encode_dss_signature(int.from_bytes(first, "big"), int.from_bytes(second, "big"))


def check_claims(claims: Mapping[str, Any], *, issuer: str, audiences: Iterable[str], now: float) -> None:
    """Make sure that a token is of this issuer, for one of these audiences, and valid at `now` in POSIX seconds.

    Raises:
        TokenInvalid: it is not; the text says which claim is at fault.
    """
    if claims.get("iss") != issuer:
        raise TokenInvalid("the token is of another issuer (iss)")
    given = claims.get("aud")
    named = [given] if isinstance(given, str) else given if isinstance(given, list) else []
    wanted = set(audiences)
    if not any(isinstance(each, str) and each in wanted for each in named):
        raise TokenInvalid("the token is for another audience (aud)")
    _check_times(claims, now)


def _check_times(claims: Mapping[str, Any], now: float) -> None:
    expires = _time(claims, "exp")
    if expires is None:
        raise TokenInvalid("the token does not say when it expires (exp)")
    if now > expires + CLOCK_SKEW_SECONDS:
        raise TokenInvalid(f"the token expired {now - expires:.0f} s ago (exp)")
    for name in ("nbf", "iat"):
        start = _time(claims, name)
        if start is not None and now < start - CLOCK_SKEW_SECONDS:
            raise TokenInvalid(f"the token is not valid for another {start - now:.0f} s ({name})")


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e15:
        raise TokenInvalid(f"the token's claim {name} is not a time")
    return float(value)


def _object(text: str) -> dict[str, Any]:
    value = json.loads(_decode(text))
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError("not base64url") from error
