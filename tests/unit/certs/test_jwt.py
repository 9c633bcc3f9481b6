"""Id-tokens: which keys, which algorithms, which claims."""

import hashlib
import hmac
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from certs.jwt import (
    CLOCK_SKEW_SECONDS,
    TOKEN_BYTES,
    KeyUnknown,
    TokenInvalid,
    check_claims,
    parse_signed,
    read_key_set,
    verify_signature,
)
from tests.unit.certs.id_tokens import IssuerKey, encode, number

RSA, EC = IssuerKey("rsa", "RS256"), IssuerKey("ec", "ES256")
KEYS = read_key_set({"keys": [RSA.public, EC.public]})
CLAIMS: dict[str, Any] = {"iss": "https://issuer", "aud": "client", "exp": 1000, "sub": "alice"}
TOKEN = EC.sign(CLAIMS)


def verify(token: str) -> None:
    verify_signature(parse_signed(token), KEYS)


def check(now: float = 900, **claims: Any) -> None:
    merged = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not None}
    check_claims(merged, issuer="https://issuer", audiences=("other", "client"), now=now)


# Signatures ------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [RSA, EC])
def test_a_token_of_a_published_key_is_good(key: IssuerKey) -> None:
    token = parse_signed(key.sign(CLAIMS))
    verify_signature(token, KEYS)
    assert token.claims["sub"] == "alice"
    verify(key.sign(CLAIMS, kid=None))


@pytest.mark.parametrize("key", [RSA, EC])
def test_a_changed_claim_breaks_the_signature(key: IssuerKey) -> None:
    head, _, signature = key.sign(CLAIMS).split(".")
    with pytest.raises(TokenInvalid, match="signature is wrong"):
        verify(f"{head}.{encode(json.dumps({**CLAIMS, 'sub': 'root'}).encode())}.{signature}")


@pytest.mark.parametrize("algorithm", ["none", "HS256", "RS512", "PS256", "EdDSA", "", None, 5])
def test_other_algorithms_are_refused(algorithm: Any) -> None:
    with pytest.raises(TokenInvalid, match="only RS256 and ES256"):
        parse_signed(EC.sign(CLAIMS, alg=algorithm))


def test_a_public_key_is_no_shared_secret() -> None:
    """The old trick: HS256 with the published key as the secret."""
    head, claims, _ = RSA.sign(CLAIMS, alg="HS256").split(".")
    secret = json.dumps(RSA.public).encode()
    forged = encode(hmac.new(secret, f"{head}.{claims}".encode(), hashlib.sha256).digest())
    with pytest.raises(TokenInvalid, match="only RS256"):
        parse_signed(f"{head}.{claims}.{forged}")


def test_a_token_does_not_choose_how_its_key_is_used() -> None:
    with pytest.raises(KeyUnknown):
        verify(EC.sign(CLAIMS, alg="RS256"))


def test_a_key_that_is_not_published_is_told_from_a_wrong_signature() -> None:
    with pytest.raises(KeyUnknown):
        verify(IssuerKey("new").sign(CLAIMS))
    with pytest.raises(TokenInvalid, match="signature is wrong") as raised:
        verify(IssuerKey("ec").sign(CLAIMS))
    assert not isinstance(raised.value, KeyUnknown)


@pytest.mark.parametrize("signature", ["", "AA", encode(bytes(64)), encode(b"\xff" * 64), encode(bytes(70))])
def test_a_signature_of_any_length_is_only_wrong(signature: str) -> None:
    head, claims, _ = TOKEN.split(".")
    with pytest.raises(TokenInvalid, match="signature is wrong"):
        verify(f"{head}.{claims}.{signature}")


def test_what_a_token_demands_and_is_not_known_refuses_it() -> None:
    with pytest.raises(TokenInvalid, match="demands extensions"):
        parse_signed(EC.sign(CLAIMS, crit=["exp"]))


@pytest.mark.parametrize("text", ["", "a.b", "a.b.c", f"{TOKEN}.x", "W10.W10.W10", "é.é.é", f"{TOKEN} "])
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(TokenInvalid):
        verify(text)


def test_a_token_without_end_is_refused_unread() -> None:
    with pytest.raises(TokenInvalid, match="larger than"):
        parse_signed("a" * (TOKEN_BYTES + 1))


@given(st.integers(0, len(TOKEN) - 1), st.characters())
def test_a_changed_character_is_a_refusal_and_nothing_else(at: int, character: str) -> None:
    changed = TOKEN[:at] + character + TOKEN[at + 1 :]
    try:
        verify(changed)
    except TokenInvalid:
        return
    # The last character of a base64 text has bits that stand for nothing.
    assert changed.split(".")[:2] == TOKEN.split(".")[:2]


# Key sets --------------------------------------------------------------------------------------


def test_keys_for_other_uses_and_of_other_kinds_are_passed_over() -> None:
    small = rsa.generate_private_key(65537, 1024).public_key().public_numbers()
    strange: list[Any] = [
        {**EC.public, "use": "enc"},
        {**RSA.public, "alg": "RS512"},
        {**EC.public, "crv": "P-384"},
        {**EC.public, "x": "AAAA"},
        {"kty": "RSA", "n": number(small.n), "e": number(small.e)},
        {"kty": "oct", "k": "c2VjcmV0"},
        {"kty": "RSA"},
        {"kty": ["RSA"]},
        "key",
        None,
    ]
    assert [key.id for key in read_key_set({"keys": [*strange, EC.public]})] == ["ec"]
    with pytest.raises(TokenInvalid, match="no key for RS256 or ES256"):
        read_key_set({"keys": strange})


@pytest.mark.parametrize("document", [None, [], {}, {"keys": {}}, "keys"])
def test_what_is_no_key_set_is_refused(document: object) -> None:
    with pytest.raises(TokenInvalid, match="is not a JWK set"):
        read_key_set(document)


# Claims ----------------------------------------------------------------------------------------


def test_a_token_for_here_and_now_is_good() -> None:
    check()
    check(aud=["somebody", "client"])
    check(now=1000 + CLOCK_SKEW_SECONDS)
    check(nbf=900 + CLOCK_SKEW_SECONDS, iat=900.5)


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"iss": "https://issuer/"}, "another issuer"),
        ({"iss": None}, "another issuer"),
        ({"iss": ["https://issuer"]}, "another issuer"),
        ({"aud": "clients"}, "another audience"),
        ({"aud": None}, "another audience"),
        ({"aud": [["client"]]}, "another audience"),
        ({"aud": {"client": 1}}, "another audience"),
        ({"exp": None}, "does not say when it expires"),
        ({"exp": 800}, "expired 100 s ago"),
        ({"exp": "1000"}, "exp is not a time"),
        ({"exp": True}, "exp is not a time"),
        ({"exp": float("nan")}, "exp is not a time"),
        ({"exp": float("inf")}, "exp is not a time"),
        ({"nbf": 1000}, "not valid for another 100 s"),
        ({"iat": 1000}, "not valid for another 100 s"),
        ({"nbf": []}, "nbf is not a time"),
    ],
)
def test_a_token_for_somebody_else_or_another_time_names_the_claim(
    claims: dict[str, Any], reason: str
) -> None:
    with pytest.raises(TokenInvalid, match=reason):
        check(**claims)
