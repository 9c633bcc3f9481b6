"""Certificate requests: only the key in them is believed."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from certs.csr import REQUEST_BYTES, RequestRefused, key_fingerprint, make_key, make_request, read_request

KEY = make_key()
REQUEST = make_request(KEY)


def request_of(key: object, name: str = "") -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else [])
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, digest)  # type: ignore[arg-type]
    return request.public_bytes(serialization.Encoding.PEM)


def test_the_key_of_a_request_is_its_sender_s() -> None:
    assert read_request(REQUEST) == KEY.public_key()
    assert key_fingerprint(read_request(REQUEST)) != key_fingerprint(make_key().public_key())


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_p_256_and_stronger_curves_are_taken(curve: ec.EllipticCurve) -> None:
    assert read_request(request_of(ec.generate_private_key(curve))).curve.name == curve.name


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP224R1()),
        ec.generate_private_key(ec.SECP256K1()),
        rsa.generate_private_key(65537, 2048),
        ed25519.Ed25519PrivateKey.generate(),
    ],
    ids=["secp224r1", "secp256k1", "rsa", "ed25519"],
)
def test_weaker_and_other_keys_are_refused(key: object) -> None:
    with pytest.raises(RequestRefused, match="must be on P-256"):
        read_request(request_of(key))


def test_a_subject_changes_nothing() -> None:
    assert read_request(request_of(KEY, "system:admin")) == KEY.public_key()


def test_a_request_for_somebody_else_s_key_is_refused() -> None:
    """Its signature proves that the sender holds the key; a copied public key would bind a name to it."""
    request = x509.load_pem_x509_csr(REQUEST).public_bytes(serialization.Encoding.DER)
    forged = bytearray(request)
    forged[-1] ^= 1
    text = x509.load_der_x509_csr(bytes(forged)).public_bytes(serialization.Encoding.PEM)
    with pytest.raises(RequestRefused, match="not signed by its own key"):
        read_request(text)


def test_a_request_without_end_is_refused_unread() -> None:
    with pytest.raises(RequestRefused, match="larger than"):
        read_request(REQUEST + b"\n" * REQUEST_BYTES)


@given(st.binary(max_size=200), st.integers(0, len(REQUEST)))
def test_garbage_gives_a_refusal_and_nothing_else(garbage: bytes, at: int) -> None:
    try:
        read_request(REQUEST[:at] + garbage + REQUEST[at:])
    except RequestRefused:
        return
