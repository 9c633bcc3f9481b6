"""Certificate requests: how a key that never leaves its machine gets a certificate.

Nothing in a request is believed but its key: who the certificate is for is decided by what came beside it (a join token, the
old certificate, an id-token), never by the subject that the sender wrote.
"""

import hashlib
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

from certs.pem import UNPARSABLE, public_der

REQUEST_BYTES: Final = 8 * 1024
"""A request with a key on P-521 has 600 bytes; the rest is for what a foreign tool puts into the subject."""

_CURVES: Final = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
"""P-256 or stronger, on curves that OpenSSL and Go both verify."""


class RequestRefused(Exception):
    """A certificate request cannot be signed; the text says why."""


def make_key() -> CertificateIssuerPrivateKeyTypes:
    """Return a new private key on P-256."""
    return ec.generate_private_key(ec.SECP256R1())


def private_pem(key: CertificateIssuerPrivateKeyTypes) -> bytes:
    """Return a private key as unencrypted PKCS #8 PEM: a secret."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def make_request(key: CertificateIssuerPrivateKeyTypes) -> bytes:
    """Return a request for this key as PEM, with an empty subject."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def read_request(text: bytes) -> ec.EllipticCurvePublicKey:
    """Return the public key of a PEM request whose sender holds the private one.

    Raises:
        RequestRefused: it cannot be parsed, its signature is wrong, or its key is not on P-256 or a stronger curve.
    """
    if len(text) > REQUEST_BYTES:
        raise RequestRefused(f"the certificate request is larger than {REQUEST_BYTES} bytes")
    try:
        request = x509.load_pem_x509_csr(text)
        key = request.public_key()
        whole = request.is_signature_valid
    except UNPARSABLE as error:
        raise RequestRefused(f"the certificate request cannot be parsed: {type(error).__name__}") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, _CURVES):
        raise RequestRefused("the certificate request's key must be on P-256, P-384 or P-521")
    if not whole:
        raise RequestRefused("the certificate request is not signed by its own key")
    return key


def key_fingerprint(key: ec.EllipticCurvePublicKey) -> str:
    """Return SHA-256 of a public key in hexadecimal."""
    return hashlib.sha256(public_der(key)).hexdigest()
