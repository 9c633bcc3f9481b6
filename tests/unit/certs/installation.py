"""An installation's certificates on disk, made once, and a TLS handshake without sockets."""

import ssl
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from certs.authority import Authority, authority_identifier, unsigned
from certs.issue import issue_user
from certs.lifetime import Lifetime, utc_now
from certs.pem import KeyPair
from certs.store import CertificateStore, PairFiles

DAY = timedelta(days=1)
FAR = 32503680000.0


def lasting(days: float = 1) -> Lifetime:
    """A lifetime around now; a negative one is over."""
    now = utc_now()
    if days > 0:
        return Lifetime.starting(now, days * DAY)
    return Lifetime(now + (days - 1) * DAY, now + days * DAY)


@dataclass(frozen=True)
class Installation:
    """A folder with three authorities, a stub (localhost, *.stub.example.com), the agent of `dev` and the user alice."""

    store: CertificateStore

    @classmethod
    def make(cls, folder: Path) -> "Installation":
        store = CertificateStore(folder)
        store.make_authorities(utc_now() - 30 * DAY)  # old enough to have signed what has expired since
        store.issue_server(["*.stub.example.com"], lasting())
        store.issue_agent("dev", lasting())
        store.issue_user("alice", ["devs", "ops"], lasting())
        return cls(store)

    def path(self, name: str) -> Path:
        return self.store.folder / name

    def user(
        self,
        name: str = "alice",
        groups: tuple[str, ...] = (),
        days: float = 1,
        *,
        until: float | None = FAR,
    ) -> KeyPair:
        """A user's pair that is not on disk; with negative days one that expired that long ago. It was made for a login that
        may last until then, or for none."""
        authority = self.store.authority("user-ca")
        return issue_user(authority, name, groups, lasting(days), renewable_until=until)


def der(pair: KeyPair) -> bytes:
    return der_of(pair.certificate)


def der_of(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def write_pair(folder: Path, stem: str, pair: KeyPair) -> PairFiles:
    files = CertificateStore(folder).files(stem)
    files.certificate.write_bytes(pair.certificate_pem)
    files.key.write_bytes(pair.key_pem)
    return files


def signed(
    authority: Authority,
    attributes: list[tuple[x509.ObjectIdentifier, str]],
    *extensions: x509.ExtensionType,
    lifetime: Lifetime | None = None,
    identifier: x509.AuthorityKeyIdentifier | None = None,
) -> KeyPair:
    """A leaf with any subject and any extensions, as another tool could have made it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(kind, text, _validate=False) for kind, text in attributes])
    certificate = authority.certificate
    builder = unsigned(subject, certificate.subject, key.public_key(), lifetime or lasting())
    builder = builder.add_extension(identifier or authority_identifier(certificate), critical=False)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return KeyPair((builder.sign(authority.pair.key, hashes.SHA256()),), key)


def self_signed(
    common_name: str, *extensions: tuple[x509.ExtensionType, bool], lifetime: Lifetime | None = None
) -> KeyPair:
    """A certificate that signed itself, with no extension but those given."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    life = lifetime or lasting()
    builder = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), life.not_before, life.not_after
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return KeyPair((builder.sign(key, hashes.SHA256()),), key)


class Handshake:
    """Two ends of TLS in memory. `run` hands their records to and fro until both are done."""

    def __init__(
        self,
        client: ssl.SSLContext,
        server: ssl.SSLContext,
        name: str = "localhost",
        session: ssl.SSLSession | None = None,
    ) -> None:
        self._to_server, self._to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = client.wrap_bio(self._to_client, self._to_server, server_hostname=name, session=session)
        self.server = server.wrap_bio(self._to_server, self._to_client, server_side=True)

    def run(self) -> "Handshake":
        """Finish both ends. Raises ssl.SSLError where one of them refuses the other."""
        ends = [self.client, self.server]
        for _ in range(10):
            ends = [end for end in ends if not self._finished(end)]
            if not ends:
                return self
        raise AssertionError("the handshake does not end")

    def cut_client(self) -> None:
        """Let the client see the connection end without a close_notify."""
        self._to_client.write_eof()

    @staticmethod
    def _finished(end: ssl.SSLObject) -> bool:
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True


def client_context(trust: Path, pair: PairFiles | None = None) -> ssl.SSLContext:
    """A client as strict as Python 3.13's default one."""
    context = ssl.create_default_context(cafile=str(trust))
    context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    # Builds of Python differ in this one; set, it makes a connection that was cut look like one that ended.
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    if pair is not None:
        context.load_cert_chain(pair.certificate, pair.key)
    return context
