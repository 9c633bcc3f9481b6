"""Reading certificates and private keys, with errors that name the file."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, cast

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import (
    CertificateIssuerPrivateKeyTypes,
    CertificatePublicKeyTypes,
)

from certs.errors import CertificateProblem, FileMissing

FILE_BYTES: Final = 4 * 1024 * 1024
"""The largest bundle in use, a distribution's list of public authorities, has a quarter of this."""

UNPARSABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What reading a broken or exotic certificate or key may raise."""


class PemSource(Protocol):
    """Where a PEM text comes from."""

    @property
    def name(self) -> str:
        """What an error calls it."""

    def read(self) -> bytes:
        """Return the text as it is now. Raises CertificateProblem where it cannot be read."""


@dataclass(frozen=True, slots=True)
class PemFile:
    """A file, read anew each time, because certificates are renewed in place."""

    path: Path

    @property
    def name(self) -> str:
        return str(self.path)

    def read(self) -> bytes:
        return read_bounded(self.path)


@dataclass(frozen=True, slots=True)
class PemText:
    """A text that was embedded somewhere; `name` says where."""

    name: str
    text: bytes = field(repr=False)

    def read(self) -> bytes:
        return self.text


def read_bounded(path: Path, limit: int = FILE_BYTES) -> bytes:
    """Return a file's content.

    Raises:
        FileMissing: it is not there.
        CertificateProblem: it is unreadable, or larger than `limit` bytes.
    """
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except FileNotFoundError:
        raise FileMissing(f"{path}: there is no such file") from None
    except OSError as error:
        raise CertificateProblem(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > limit:
        raise CertificateProblem(f"{path}: is larger than {limit} bytes")
    return content


def read_certificates(source: PemSource) -> tuple[x509.Certificate, ...]:
    """Return the certificates in a PEM text, in order; at least one.

    Raises:
        CertificateProblem: it cannot be read, or is not made of PEM certificates.
    """
    text = source.read()
    if b"-----BEGIN " not in text:
        raise CertificateProblem(f"{source.name}: is not PEM: there is no '-----BEGIN' line")
    if b"-----BEGIN CERTIFICATE-----" not in text:
        raise CertificateProblem(f"{source.name}: holds no certificate")
    try:
        certificates = tuple(x509.load_pem_x509_certificates(text))
        for certificate in certificates:
            _parse_wholly(certificate)
        return certificates
    except UNPARSABLE as error:
        raise CertificateProblem(
            f"{source.name}: a certificate cannot be parsed: {_first_line(error)}"
        ) from None


def read_key(source: PemSource) -> CertificateIssuerPrivateKeyTypes:
    """Return the private key in a PEM text.

    Raises:
        CertificateProblem: it cannot be read, is not a PEM key, is encrypted, or is of a kind that TLS cannot use.
    """
    text = source.read()
    if b"PRIVATE KEY-----" not in text:
        raise CertificateProblem(f"{source.name}: holds no PEM private key")
    if b"ENCRYPTED" in text:
        raise CertificateProblem(f"{source.name}: the private key is encrypted, which is not supported")
    try:
        key = serialization.load_pem_private_key(text, password=None)
    except UNPARSABLE as error:
        raise CertificateProblem(f"{source.name}: the key cannot be parsed: {_first_line(error)}") from None
    if not hasattr(key, "sign"):
        raise CertificateProblem(f"{source.name}: the key is of a kind that cannot sign")
    return cast(CertificateIssuerPrivateKeyTypes, key)


def _parse_wholly(certificate: x509.Certificate) -> None:
    # Parsed when first asked for; here an error can still be given the file's name.
    certificate.subject, certificate.issuer, certificate.extensions, certificate.public_key()


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A private key and the certificate chain that speaks for it, leaf first."""

    chain: tuple[x509.Certificate, ...]
    key: CertificateIssuerPrivateKeyTypes = field(repr=False)

    @property
    def certificate(self) -> x509.Certificate:
        """The certificate of the key itself."""
        return self.chain[0]

    @property
    def certificate_pem(self) -> bytes:
        """The chain as PEM."""
        return certificates_pem(self.chain)

    @property
    def key_pem(self) -> bytes:
        """The private key as unencrypted PKCS #8 PEM: a secret."""
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )


def read_pair(certificate: PemSource, key: PemSource) -> KeyPair:
    """Return a certificate chain and its private key.

    Raises:
        CertificateProblem: one of them cannot be read, or they do not belong together.
    """
    chain, private = read_certificates(certificate), read_key(key)
    if public_der(chain[0].public_key()) != public_der(private.public_key()):
        raise CertificateProblem(
            f"{key.name}: the key does not belong to the certificate in {certificate.name}"
        )
    return KeyPair(chain, private)


def public_der(key: CertificatePublicKeyTypes) -> bytes:
    """Return a public key in the one form in which two can be compared."""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def certificates_pem(certificates: Sequence[x509.Certificate]) -> bytes:
    """Return certificates as one PEM text."""
    return b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in certificates)
