"""Target: id-tokens of an issuer, its key sets and the claims in them."""

import base64
import json
from contextlib import suppress
from typing import Any

from certs.jwt import (
    SignedToken,
    TokenInvalid,
    VerificationKey,
    check_claims,
    parse_signed,
    read_key_set,
    verify_signature,
)
from stub.signing.oidc import OidcRules, claimed_identity
from tests.fuzz.material import Material
from tunnel.core.errors import Forbidden
from tunnel.core.http.fields import field_fault
from tunnel.core.identity import check_identity, impersonation_fields


def encoded(value: object) -> str:
    """JSON in base64url without padding."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


# The example key of RFC 7515 A.3 (its public half) verifies the tokens that this target never sees.
KEY: dict[str, Any] = {
    "kty": "EC",
    "crv": "P-256",
    "kid": "1",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}
CLAIMS = {"iss": "https://i", "aud": ["a"], "exp": 2e9, "sub": "alice", "groups": ["devs"], "email": "a@b"}
SEEDS = (
    b"\0" + f"{encoded({'alg': 'ES256', 'kid': '1'})}.{encoded(CLAIMS)}.{'A' * 86}".encode(),
    b"\0" + f"{encoded({'alg': 'none'})}.{encoded(CLAIMS)}.".encode(),
    b"\0" + f"{encoded({'alg': 'RS256', 'crit': ['x']})}.{encoded([])}.AA".encode(),
    b"\1"
    + json.dumps({"keys": [KEY, {**KEY, "use": "enc"}, {"kty": "RSA", "e": "AQAB", "n": "AA"}]}).encode(),
    b"\2" + json.dumps(CLAIMS).encode(),
    b'\2{"iss": "https://i", "aud": "a", "exp": 1e400, "sub": "\\ud800", "nbf": -1}',
)

KEYS: list[VerificationKey] = read_key_set({"keys": [KEY]})
RULES = OidcRules("https://i", ("a",))


def check_token(text: str) -> None:
    """A token that nobody signed never verifies."""
    with suppress(TokenInvalid):
        token = parse_signed(text)
        assert token.algorithm in ("RS256", "ES256")
        verified = True
        try:
            verify_signature(token, KEYS)
        except TokenInvalid:
            verified = False
        assert not verified, "a forged token"


def check_key_set(document: object) -> None:
    """A key set has keys that can be used, each for one algorithm."""
    with suppress(TokenInvalid):
        for key in read_key_set(document):
            with suppress(TokenInvalid):
                verify_signature(SignedToken(key.algorithm, key.id, {}, b"x", b"y" * 64), [key])


def check_identity_in(claims: dict[str, Any]) -> None:
    """Claims that hold give names that can stand in a header, or are refused."""
    with suppress(TokenInvalid, Forbidden):
        check_claims(claims, issuer="https://i", audiences=("a",), now=1.8e9)
        identity = claimed_identity(claims, RULES)
        check_identity(identity)
        assert field_fault(impersonation_fields(identity)) is None


def one_input(data: bytes) -> None:
    """Invariants: a token, a key set and claims are taken or refused by TokenInvalid or Forbidden; a token that the key did not
    sign never verifies; names that pass can stand in a header."""
    material = Material(data)
    kind, text = material.byte() % 3, material.rest()
    if kind == 0:
        check_token(text.decode("latin-1"))
        return
    with suppress(ValueError, RecursionError):
        document = json.loads(text)
        if kind == 1:
            check_key_set(document)
        elif isinstance(document, dict):
            check_identity_in(document)
