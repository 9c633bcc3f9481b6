"""Who is at the other end of a connection, read from the certificate it showed.

The handshake has checked the chain. What is left to this side: which authority signed it (both are trusted by one
listener), its dates (checked per request, so that kubectl gets an answer it can show), and the names in it.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certs.authority import lifetime_of
from certs.errors import CertificateProblem, PeerRefused
from certs.lifetime import Lifetime
from certs.names import (
    AGENT_URI,
    CLUSTER_URI,
    LOGIN_URI,
    READ_NAME_LENGTH,
    check_cluster,
    check_groups,
    check_user,
)
from certs.pem import UNPARSABLE, PemFile, public_der, read_certificates

Signer = Literal["user-ca", "agent-ca"]

CACHED_PEERS: Final = 4096
"""Certificates kept parsed; about 2 KiB each. kubectl shows the same one with every process it starts."""


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """A client's certificate, as far as decisions need it.

    Attributes:
        common_names: of the subject, in order; more than one is refused wherever a name is asked for.
        organizations: of the subject, in order.
        uris: the URIs among the subject's alternative names.
        not_before, not_after: its dates, cut to its authority's; POSIX seconds.
        own_not_before: its first date as it stands in it, by which a revocation tells it from what was issued since.
        serial: as the authority numbered it.
        issuer: the issuer's name in RFC 4514 form.
        fingerprint: SHA-256 of the DER, in lower-case hexadecimal.
        signed_part: the same of what its authority signed. A certificate's holder can encode the signature anew (of ECDSA's two
            numbers the second may be negated), which changes the fingerprint and leaves it valid; this cannot be changed.
        signed_by: the authority whose signature it bears, or None where it is neither's.
        for_clients: whether its extended key usage has clientAuth, or is absent.
        prefix: what the operator puts in front of the names of this authority's users.
        authority: SHA-256 of the signer's certificate in hexadecimal, empty where nobody trusted signed it.
    """

    common_names: tuple[str, ...]
    organizations: tuple[str, ...]
    uris: tuple[str, ...]
    not_before: float
    not_after: float
    serial: int
    issuer: str
    fingerprint: str
    signed_by: Signer | None
    for_clients: bool
    prefix: str = ""
    authority: str = ""
    signed_part: str = ""
    own_not_before: float = 0.0

    def valid_at(self, now: float) -> bool:
        """Whether the dates hold at `now`, in POSIX seconds; cheap enough for each request."""
        return self.not_before <= now <= self.not_after

    def problem_at(self, now: float) -> str | None:
        """Return why the certificate is not valid at `now` in words for its holder, or None where it is."""
        if self.valid_at(now):
            return None  # asked for each request
        problem = self.lifetime.problem_at(_moment(now))
        return problem and f"the client certificate {problem}"

    @property
    def lifetime(self) -> Lifetime:
        """Its dates."""
        return Lifetime(_moment(self.not_before), _moment(self.not_after))

    @property
    def issued(self) -> float:
        """About when it was made, by its own dates, in POSIX seconds."""
        return Lifetime(_moment(self.own_not_before), _moment(self.not_after)).issued.timestamp()

    @property
    def cluster_uid(self) -> str | None:
        """The UID of the cluster for which an agent's certificate was made; None where nobody had seen it."""
        return self._named(CLUSTER_URI)

    @property
    def renewable_until(self) -> float | None:
        """Until when a user's certificate may renew itself, in POSIX seconds; None where it was not made for a login."""
        text = self._named(LOGIN_URI)
        return None if text is None else float(text) if text.isdigit() and len(text) < 16 else 0.0

    def _named(self, prefix: str) -> str | None:
        return next((uri.removeprefix(prefix) for uri in self.uris if uri.startswith(prefix)), None)


def user_names(peer: PeerCertificate) -> tuple[str, tuple[str, ...]]:
    """Return the user and the groups, in order, that a user's certificate names, behind its authority's prefix.

    Raises:
        PeerRefused: another authority signed it, it is not for clients, or its names are missing, ambiguous or unfit
            for a header. Names that Kubernetes reserves pass: the access rules decide about those.
    """
    _require(peer, "user-ca", "a user's")
    try:
        user = check_user(_common_name(peer), READ_NAME_LENGTH)
        groups = check_groups(peer.organizations, READ_NAME_LENGTH)
    except ValueError as error:
        raise PeerRefused(f"the client certificate's subject: {error}") from None
    return peer.prefix + user, tuple(peer.prefix + group for group in groups)


def agent_cluster(peer: PeerCertificate) -> str:
    """Return the id of the cluster that an agent's certificate stands for.

    Raises:
        PeerRefused: another authority signed it, it is not for clients, or it has not exactly one agent URI.
    """
    _require(peer, "agent-ca", "an agent's")
    clusters = [uri.removeprefix(AGENT_URI) for uri in peer.uris if uri.startswith(AGENT_URI)]
    if len(clusters) != 1:
        raise PeerRefused(f"the agent certificate has {len(clusters)} URIs {AGENT_URI}ID; one is needed")
    try:
        return check_cluster(clusters[0])
    except ValueError as error:
        raise PeerRefused(f"the agent certificate's URI: {error}") from None


def _require(peer: PeerCertificate, signer: Signer, whose: str) -> None:
    if peer.signed_by != signer:
        raise PeerRefused(
            f"the certificate is not {whose}: signed by {peer.signed_by or 'neither authority'}, not {signer}"
        )
    if not peer.for_clients:
        raise PeerRefused("the certificate's extended key usage does not have clientAuth")


def _common_name(peer: PeerCertificate) -> str:
    if len(peer.common_names) > 1:
        raise ValueError(f"it has {len(peer.common_names)} common names, which is ambiguous")
    return peer.common_names[0] if peer.common_names else ""


@dataclass(frozen=True, slots=True)
class ClientAuthority:
    """An authority whose leaves are let in.

    Attributes:
        signer: as what.
        certificate: its own.
        prefix: in front of its users' and groups' names, so that they cannot be taken for another authority's.
        foreign: whether somebody else issues with it; then its leaves cannot renew themselves here.
    """

    signer: Signer
    certificate: x509.Certificate
    prefix: str = ""
    foreign: bool = False


class PeerReader:
    """Reads the certificates of clients and tells which authority each is from; remembers the last ones.

    Not for several threads at once.

    Args:
        user_ca: the authorities whose leaves are users; several while one replaces another.
        agent_ca: the authorities whose leaves are agents.
        capacity: how many certificates are remembered.
        foreign: further authorities of users, which others issue with.

    Raises:
        CertificateProblem: a key is on both sides, so that users and agents could not be told apart.
    """

    def __init__(
        self,
        user_ca: Sequence[x509.Certificate],
        agent_ca: Sequence[x509.Certificate],
        capacity: int = CACHED_PEERS,
        foreign: Sequence[ClientAuthority] = (),
    ) -> None:
        self._capacity = capacity
        self._known: OrderedDict[bytes, PeerCertificate] = OrderedDict()
        self._authorities: dict[str, ClientAuthority] = {}
        self.trust(user_ca, agent_ca, foreign)

    @classmethod
    def load(cls, user_ca: Path, agent_ca: Path) -> "PeerReader":
        """Return a reader with the authorities in two PEM files. Raises CertificateProblem, naming the file."""
        return cls(read_certificates(PemFile(user_ca)), read_certificates(PemFile(agent_ca)))

    def trust(
        self,
        user_ca: Sequence[x509.Certificate],
        agent_ca: Sequence[x509.Certificate],
        foreign: Sequence[ClientAuthority] = (),
    ) -> None:
        """Trust these authorities from now on, and no others. Raises as the constructor; then nothing changes."""
        users = [
            *(ClientAuthority("user-ca", certificate) for certificate in user_ca),
            *foreign,
        ]
        agents = [ClientAuthority("agent-ca", certificate) for certificate in agent_ca]
        if _keys(users) & _keys(agents):
            raise CertificateProblem("user-ca and agent-ca have the same key: users could connect as agents")
        self._authorities = {}
        for each in (*users, *agents):
            # Of two entries for one certificate the first counts: the stub's own folder stands in front.
            self._authorities.setdefault(_fingerprint(each.certificate), each)
        self._known.clear()

    def trusts(self, peer: PeerCertificate) -> bool:
        """Whether the authority of a certificate that was read earlier is still among the trusted ones."""
        return peer.authority in self._authorities

    def is_own(self, peer: PeerCertificate) -> bool:
        """Whether a trusted authority signed it with which nobody else issues."""
        authority = self._authorities.get(peer.authority)
        return authority is not None and not authority.foreign

    def read(self, der: bytes) -> PeerCertificate:
        """Return what the certificate says.

        Raises:
            PeerRefused: it cannot be parsed.
        """
        known = self._known.get(der)
        if known is not None:
            self._known.move_to_end(der)
            return known
        peer = self._parse(der)
        self._known[der] = peer
        if len(self._known) > self._capacity:
            self._known.popitem(last=False)
        return peer

    def _parse(self, der: bytes) -> PeerCertificate:
        try:
            certificate = x509.load_der_x509_certificate(der)
            peer = _describe(certificate, der)
            for fingerprint, authority in self._authorities.items():
                if was_signed_by(certificate, authority.certificate):
                    return _signed(peer, fingerprint, authority)
            return peer
        except UNPARSABLE as error:
            raise PeerRefused(f"the client certificate cannot be parsed: {type(error).__name__}") from None


def _keys(authorities: Sequence[ClientAuthority]) -> set[bytes]:
    return {public_der(authority.certificate.public_key()) for authority in authorities}


def _fingerprint(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex()


def _signed(peer: PeerCertificate, fingerprint: str, authority: ClientAuthority) -> PeerCertificate:
    # The handshake's date checks are off for the whole chain, so an authority's end counts here.
    lifetime = peer.lifetime.within(lifetime_of(authority.certificate))
    return replace(
        peer,
        not_before=lifetime.not_before.timestamp(),
        not_after=lifetime.not_after.timestamp(),
        signed_by=authority.signer,
        prefix=authority.prefix,
        authority=fingerprint,
    )


def cluster_uid_of(certificate: x509.Certificate) -> str | None:
    """Return the UID of the cluster for which an agent's certificate was made, or None where it has none."""
    found = (uri.removeprefix(CLUSTER_URI) for uri in _uris(certificate) if uri.startswith(CLUSTER_URI))
    return next(found, None)


def was_signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Whether `authority` issued the certificate: by its name, by its key identifier where both have one, and by its signature."""
    if not _identifiers_agree(certificate, authority):
        return False
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _identifiers_agree(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        named = certificate.extensions.get_extension_for_class(
            x509.AuthorityKeyIdentifier
        ).value.key_identifier
        own = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        return True
    return named is None or named == own


def _describe(certificate: x509.Certificate, der: bytes) -> PeerCertificate:
    lifetime = lifetime_of(certificate)
    return PeerCertificate(
        common_names=_texts(certificate.subject, NameOID.COMMON_NAME),
        organizations=_texts(certificate.subject, NameOID.ORGANIZATION_NAME),
        uris=_uris(certificate),
        not_before=lifetime.not_before.timestamp(),
        not_after=lifetime.not_after.timestamp(),
        serial=certificate.serial_number,
        issuer=certificate.issuer.rfc4514_string(),
        fingerprint=hashlib.sha256(der).hexdigest(),
        signed_by=None,
        for_clients=_is_for_clients(certificate),
        signed_part=hashlib.sha256(certificate.tbs_certificate_bytes).hexdigest(),
        own_not_before=lifetime.not_before.timestamp(),
    )


def _texts(name: x509.Name, kind: x509.ObjectIdentifier) -> tuple[str, ...]:
    values = (attribute.value for attribute in name.get_attributes_for_oid(kind))
    return tuple(value if isinstance(value, str) else value.decode("utf-8") for value in values)


def _uris(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(names.get_values_for_type(x509.UniformResourceIdentifier))


def _is_for_clients(certificate: x509.Certificate) -> bool:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return ExtendedKeyUsageOID.CLIENT_AUTH in usage


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
