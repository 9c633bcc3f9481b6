"""The simulated cluster's certificates: an authority, the server's, and clients'."""

import datetime
import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_NAMES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
          "localhost")  # fmt: skip
_ADDRESSES = ("127.0.0.1", "::1", "10.96.0.1")


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, in files."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority that lives in a directory; an existing one is used again."""

    def __init__(self, directory: Path) -> None:
        self.pair = Pair(directory / "ca.crt", directory / "ca.key")
        self._directory = directory
        if self.pair.certificate.exists():
            self._certificate = x509.load_pem_x509_certificate(self.pair.certificate.read_bytes())
            key = serialization.load_pem_private_key(self.pair.key.read_bytes(), None)
            assert isinstance(key, ec.EllipticCurvePrivateKey)
            self._key = key
            return
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubesim-ca")])
        usage = _usage(certificates=True)
        builder = _builder(name, name, self._key).add_extension(
            x509.BasicConstraints(True, None), critical=True
        )
        self._certificate = builder.add_extension(usage, critical=True).sign(self._key, hashes.SHA256())
        _write(self.pair, self._certificate, self._key)

    def server(self) -> Pair:
        """Issue the server's certificate, for loopback addresses and the cluster-internal names."""
        names = [x509.DNSName(name) for name in _NAMES]
        addresses = [x509.IPAddress(ipaddress.ip_address(text)) for text in _ADDRESSES]
        alternatives = x509.SubjectAlternativeName([*names, *addresses])
        return self._issue("server", "kube-apiserver", (), ExtendedKeyUsageOID.SERVER_AUTH, alternatives)

    def client(self, file: str, name: str, groups: tuple[str, ...]) -> Pair:
        """Issue a client's certificate: the user is its CN, the groups are its O.

        Args:
            file: the file's name without ending.
        """
        return self._issue(file, name, groups, ExtendedKeyUsageOID.CLIENT_AUTH, None)

    def _issue(
        self, file: str, name: str, groups: tuple[str, ...], use: x509.ObjectIdentifier,
        alternatives: x509.SubjectAlternativeName | None,
    ) -> Pair:  # fmt: skip
        key = ec.generate_private_key(ec.SECP256R1())
        attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        subject = x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, name)])
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = (
            _builder(subject, self._certificate.subject, key)
            .add_extension(x509.BasicConstraints(False, None), critical=True)
            .add_extension(_usage(certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
            .add_extension(authority, critical=False)
        )
        if alternatives is not None:
            builder = builder.add_extension(alternatives, critical=False)
        pair = Pair(self._directory / f"{file}.crt", self._directory / f"{file}.key")
        _write(pair, builder.sign(self._key, hashes.SHA256()), key)
        return pair


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=365))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certificates, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=certificates, crl_sign=certificates,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _write(pair: Pair, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    descriptor = os.open(pair.key, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(text)
