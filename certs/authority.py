"""The authorities that sign: one for the stub's certificate, one for users, one for agents.

Three, because each is trusted by somebody else for something else: a user's certificate must never dial as an agent,
and who holds the stub's key must not be able to make either.
"""

from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import NameOID

from certs.errors import CertificateProblem
from certs.lifetime import Lifetime
from certs.names import AuthorityName
from certs.pem import KeyPair

CERTIFICATE_SIGNING = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


@dataclass(frozen=True, slots=True)
class Authority:
    """A key that signs certificates, and the certificate that lets others check them."""

    pair: KeyPair
    name: str
    """What errors call it: its file."""

    @property
    def certificate(self) -> x509.Certificate:
        """The certificate to trust."""
        return self.pair.certificate

    @property
    def lifetime(self) -> Lifetime:
        """When the authority itself is valid; nothing that it signs outlives it."""
        return lifetime_of(self.certificate)

    def sign(
        self,
        subject: x509.Name,
        public_key: CertificatePublicKeyTypes,
        lifetime: Lifetime,
        extensions: list[tuple[x509.ExtensionType, bool]],
    ) -> x509.Certificate:
        """Return a certificate with the key identifiers of both sides and `extensions`, each with whether it is critical.

        Raises:
            CertificateProblem: the authority is not valid in that time.
        """
        lifetime = lifetime.within(self.lifetime)
        if lifetime.not_before >= lifetime.not_after:
            problem = self.lifetime.problem_at(lifetime.not_before)
            raise CertificateProblem(f"{self.name}: the authority {problem or 'is not valid then'}")
        builder = unsigned(subject, self.certificate.subject, public_key, lifetime)
        builder = builder.add_extension(authority_identifier(self.certificate), critical=False)
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical=critical)
        return _signed(builder, self.pair)


def make_authority(name: AuthorityName, lifetime: Lifetime) -> KeyPair:
    """Return a new self-signed authority on P-256 that can sign leaves but no further authority.

    It carries all that `VERIFY_X509_STRICT` (on by default from Python 3.13) and Go ask of one: key identifiers, critical
    basic constraints and critical key usage.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"cluster-tunnel {name}")])
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        unsigned(subject, subject, key.public_key(), lifetime)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(CERTIFICATE_SIGNING, critical=True)
    )
    return KeyPair((builder.sign(key, hashes.SHA256()),), key)


def unsigned(
    subject: x509.Name, issuer: x509.Name, key: CertificatePublicKeyTypes, lifetime: Lifetime
) -> x509.CertificateBuilder:
    """Return what every certificate has: names, key and its identifier, dates, and a random serial number of 159 bits."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(lifetime.not_before)
        .not_valid_after(lifetime.not_after)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def authority_identifier(authority: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """Return the identifier of `authority`'s key as its leaves must name it: the one in its own certificate, if it has one."""
    try:
        own = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        own = x509.SubjectKeyIdentifier.from_public_key(authority.public_key())
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def lifetime_of(certificate: x509.Certificate) -> Lifetime:
    """Return a certificate's dates."""
    return Lifetime(certificate.not_valid_before_utc, certificate.not_valid_after_utc)


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether a certificate says that its key may sign others."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _signed(builder: x509.CertificateBuilder, pair: KeyPair) -> x509.Certificate:
    # An operator's own authority may have an Edwards key, whose signature has no separate digest.
    if isinstance(pair.key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey):
        return builder.sign(pair.key, None)
    return builder.sign(pair.key, hashes.SHA256())
