"""Certificates for stubs, agents and users, each from its authority."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certs.authority import Authority
from certs.lifetime import Lifetime
from certs.names import (
    AGENT_URI,
    CLUSTER_URI,
    LOGIN_URI,
    check_cluster,
    check_groups,
    check_uid,
    check_user,
    parse_host,
)
from certs.pem import KeyPair

LOCAL_HOSTS: Final = ("localhost", "127.0.0.1", "::1")
"""In every server certificate, so that probes and port-forwards from the stub's own machine can verify it too."""

SIGNING: Final = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


def issue_server(authority: Authority, hosts: Sequence[str], lifetime: Lifetime) -> KeyPair:
    """Return a stub's key and its certificate for `hosts` (DNS names, `*.` names, IP addresses) and this machine itself.

    Raises:
        ValueError: one of the hosts is neither.
        CertificateProblem: the authority is not valid in that time.
    """
    parsed = dict.fromkeys(parse_host(host) for host in (*hosts, *LOCAL_HOSTS))
    names = x509.SubjectAlternativeName([_general_name(host) for host in parsed])
    key = ec.generate_private_key(ec.SECP256R1())
    subject, purpose = _subject("cluster-tunnel stub"), ExtendedKeyUsageOID.SERVER_AUTH
    return KeyPair((_leaf(authority, subject, key.public_key(), lifetime, purpose, names),), key)


def issue_agent(authority: Authority, cluster: str, lifetime: Lifetime) -> KeyPair:
    """Return an agent's key and its certificate, whose URI names the cluster it may serve.

    Raises:
        ValueError: `cluster` is no cluster id.
        CertificateProblem: the authority is not valid in that time.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    return KeyPair((sign_agent(authority, cluster, None, key.public_key(), lifetime),), key)


def sign_agent(
    authority: Authority,
    cluster: str,
    uid: str | None,
    public_key: CertificatePublicKeyTypes,
    lifetime: Lifetime,
) -> x509.Certificate:
    """Return an agent's certificate for a key that it made itself.

    Args:
        cluster: its id.
        uid: the cluster's own, of its namespace kube-system; None where nobody has seen it.

    Raises:
        ValueError: `cluster` or `uid` is none.
        CertificateProblem: the authority is not valid in that time.
    """
    uris = [AGENT_URI + check_cluster(cluster), *([CLUSTER_URI + check_uid(uid)] if uid is not None else [])]
    return _leaf(
        authority, _subject(cluster), public_key, lifetime, ExtendedKeyUsageOID.CLIENT_AUTH, _uris(uris)
    )


def issue_user(
    authority: Authority,
    user: str,
    groups: Sequence[str],
    lifetime: Lifetime,
    *,
    renewable_until: float | None = None,
) -> KeyPair:
    """Return a user's key and its certificate, which names the user and the groups in their order.

    Args:
        renewable_until: as for `sign_user`.

    Raises:
        ValueError: a name is empty, too long, or has a character that a header cannot carry.
        CertificateProblem: the authority is not valid in that time.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = sign_user(
        authority, user, groups, key.public_key(), lifetime, renewable_until=renewable_until
    )
    return KeyPair((certificate,), key)


def sign_user(
    authority: Authority,
    user: str,
    groups: Sequence[str],
    public_key: CertificatePublicKeyTypes,
    lifetime: Lifetime,
    *,
    renewable_until: float | None = None,
) -> x509.Certificate:
    """Return a user's certificate for a key that the user made.

    Args:
        renewable_until: until when the certificate may be shown to get another one, in POSIX seconds; None for never.

    Raises:
        ValueError: as `issue_user`.
        CertificateProblem: the authority is not valid in that time.
    """
    subject = _subject(check_user(user), check_groups(groups))
    names = None if renewable_until is None else _uris([f"{LOGIN_URI}{int(renewable_until)}"])
    return _leaf(authority, subject, public_key, lifetime, ExtendedKeyUsageOID.CLIENT_AUTH, names)


def _leaf(
    authority: Authority,
    subject: x509.Name,
    public_key: CertificatePublicKeyTypes,
    lifetime: Lifetime,
    purpose: x509.ObjectIdentifier,
    names: x509.SubjectAlternativeName | None,
) -> x509.Certificate:
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (SIGNING, True),
        (x509.ExtendedKeyUsage([purpose]), False),
    ]
    if names is not None:
        extensions.append((names, False))
    return authority.sign(subject, public_key, lifetime, extensions)


def _subject(common_name: str, organizations: Sequence[str] = ()) -> x509.Name:
    return x509.Name(
        [
            *(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization) for organization in organizations),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _uris(texts: Sequence[str]) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([x509.UniformResourceIdentifier(text) for text in texts])


def _general_name(host: str | IPv4Address | IPv6Address) -> x509.GeneralName:
    return x509.DNSName(host) if isinstance(host, str) else x509.IPAddress(host)
