"""A throw-away certificate authority for tests: P-256, strict X.509 (key identifiers and critical usages everywhere)."""

import datetime
import ipaddress
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its key, in memory and on disk."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    cert_path: Path
    key_path: Path

    @property
    def der(self) -> bytes:
        """The certificate as DER, as `TlsFacts.certificate` holds it."""
        return self.certificate.public_bytes(serialization.Encoding.DER)


@dataclass
class Authority:
    """A certificate authority that keeps its files in `directory`.

    Args:
        directory: an existing folder.
        name: the authority's common name, and the stem of its files.
    """

    directory: Path
    name: str = "test-ca"
    own: KeyPair = field(init=False)
    _count: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        builder = (
            _builder(subject, subject, key, -DAY, 3650 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
        )
        self.own = self._store(builder.sign(key, hashes.SHA256()), key, self.name)

    @property
    def path(self) -> Path:
        """The authority's certificate as a PEM file."""
        return self.own.cert_path

    def server(
        self,
        names: Sequence[str] = LOCAL_NAMES,
        *,
        not_before: datetime.timedelta = -DAY,
        not_after: datetime.timedelta = 30 * DAY,
        usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.SERVER_AUTH,
    ) -> KeyPair:
        """Issue a server certificate for `names` (DNS names and IP addresses); times count from now."""
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        alternatives: list[x509.GeneralName] = [_general_name(name) for name in names]
        return self._issue(subject, alternatives, usage, not_before, not_after)

    def client(
        self,
        user: str,
        groups: Sequence[str] = (),
        *,
        uri: str | None = None,
        not_before: datetime.timedelta = -DAY,
        not_after: datetime.timedelta = 30 * DAY,
        usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.CLIENT_AUTH,
    ) -> KeyPair:
        """Issue a client certificate: CN is `user`, one O per group, and `uri` as its alternative name."""
        attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        if user:
            attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, user))
        alternatives: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri)] if uri else []
        return self._issue(x509.Name(attributes), alternatives, usage, not_before, not_after)

    def _issue(
        self,
        subject: x509.Name,
        alternatives: list[x509.GeneralName],
        usage: x509.ObjectIdentifier,
        not_before: datetime.timedelta,
        not_after: datetime.timedelta,
    ) -> KeyPair:
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = self.own.certificate
        builder = (
            _builder(subject, issuer.subject, key, not_before, not_after)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(_authority_key(issuer), critical=False)
        )
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        self._count += 1
        return self._store(builder.sign(self.own.key, hashes.SHA256()), key, f"{self.name}-{self._count}")

    def _store(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey, stem: str) -> KeyPair:
        pair = KeyPair(certificate, key, self.directory / f"{stem}.crt", self.directory / f"{stem}.key")
        pair.cert_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        pair.key_path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        pair.key_path.chmod(0o600)
        return pair


def server_context(
    pair: KeyPair,
    *,
    client_ca: Authority | None = None,
    alpn: Sequence[str] = (),
    require_client: bool = True,
) -> ssl.SSLContext:
    """Return a server's context: tickets off, client certificates of `client_ca` required or only asked for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert_path, pair.key_path)
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 0
    if client_ca is not None:
        context.load_verify_locations(client_ca.path)
        context.verify_mode = ssl.CERT_REQUIRED if require_client else ssl.CERT_OPTIONAL
    return _finish(context, alpn)


def client_context(
    server_ca: Authority, *, pair: KeyPair | None = None, alpn: Sequence[str] = ()
) -> ssl.SSLContext:
    """Return a client's context that trusts `server_ca` and shows `pair`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(server_ca.path)
    if pair is not None:
        context.load_cert_chain(pair.cert_path, pair.key_path)
    return _finish(context, alpn)


def _finish(context: ssl.SSLContext, alpn: Sequence[str]) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    not_before: datetime.timedelta,
    not_after: datetime.timedelta,
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + not_before)
        .not_valid_after(now + not_after)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _authority_key(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
