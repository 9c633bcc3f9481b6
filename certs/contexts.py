"""Ready-made TLS contexts: the stub's two sides, the agent's two sides.

Made by hand and not by `ssl.create_default_context`, whose strictness differs between Python 3.12 and 3.13 and which
writes session keys to wherever `SSLKEYLOGFILE` points.
"""

import os
import ssl
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from certs.authority import is_authority, lifetime_of
from certs.errors import CertificateProblem
from certs.lifetime import utc_now
from certs.pem import KeyPair, PemFile, PemSource, certificates_pem, read_certificates, read_pair

NO_CHECK_TIME: Final = ssl.VerifyFlags(0x200000)
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME, for which Python has no name."""

CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: forward secrecy and authenticated encryption only. TLS 1.3 has nothing else."""

HTTP: Final = ("http/1.1",)


def stub_context(
    certificate: Path, key: Path, authorities: Sequence[Path], alpn: Sequence[str], *, strict: bool = True
) -> ssl.SSLContext:
    """Return the context of the stub's public port.

    A client may show no certificate. One that it shows must be signed by one of `authorities` and be for clients;
    whether its dates hold is left to each request (`PeerCertificate.valid_at`), because kubectl repeats a failed
    handshake for ten seconds and shows a 401 at once.

    Args:
        certificate, key: the stub's own.
        authorities: the files of those that may sign clients: user-ca, and agent-ca where agents use the same port.
        alpn: what is spoken here, the best first. A client without ALPN is served all the same: kubectl's upgrades.
        strict: whether clients' certificates must obey RFC 5280 to the letter, as all made here do.

    Raises:
        CertificateProblem: a file cannot be used; the text names it and says why.
    """
    return _server(certificate, key, authorities, alpn, strict, ssl.CERT_OPTIONAL, ssl.TLSVersion.TLSv1_2)


def agent_listener_context(
    certificate: Path, key: Path, authorities: Sequence[Path], alpn: Sequence[str], *, strict: bool = True
) -> ssl.SSLContext:
    """Return the context of a port for agents alone: TLS 1.3, and no handshake without a certificate of `authorities`.

    The dates are checked above the handshake here too, so that an agent is told why it is refused.

    Raises:
        CertificateProblem: a file cannot be used; the text names it and says why.
    """
    return _server(certificate, key, authorities, alpn, strict, ssl.CERT_REQUIRED, ssl.TLSVersion.TLSv1_3)


def agent_context(
    certificate: Path, key: Path, authority: Path, alpn: Sequence[str], *, strict: bool = True
) -> ssl.SSLContext:
    """Return the context with which an agent dials stubs: TLS 1.3, the stub's name verified against `authority`.

    Raises:
        CertificateProblem: a file cannot be used; the text names it and says why.
    """
    context = _client(strict=strict, alpn=alpn)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    _trust(context, _usable_authorities(authority))
    _show(
        context,
        _own_pair(PemFile(certificate), PemFile(key), ExtendedKeyUsageOID.CLIENT_AUTH),
        str(certificate),
    )
    return context


def calling_context(authority: PemSource | None, own: PemSource | None = None) -> ssl.SSLContext:
    """Return the context of a call to a stub's endpoints that issue certificates.

    Args:
        authority: whom to trust as the stub. None for nobody: then what comes back is proved by something else (a pin).
        own: a certificate to show and its key, in one text.

    Raises:
        CertificateProblem: a source cannot be used.
    """
    context = _client(strict=True, alpn=HTTP)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if authority is None:
        _trust_anybody(context, None)
    else:
        _trust(context, read_certificates(authority))
    if own is not None:
        _show(context, _own_pair(own, own, ExtendedKeyUsageOID.CLIENT_AUTH), own.name)
    return context


def upstream_context(
    *,
    ca: PemSource | None,
    certificate: PemSource | None = None,
    key: PemSource | None = None,
    insecure: bool = False,
    strict: bool = False,
    alpn: Sequence[str] = HTTP,
) -> ssl.SSLContext:
    """Return the context with which an agent calls its apiserver. The name to verify is given with each connection.

    Args:
        ca: whom to trust; None for the system's authorities.
        certificate, key: the agent's own towards the apiserver, both or neither.
        insecure: verify nothing. Excludes `ca`, as it does for kubectl.
        strict: RFC 5280 to the letter; many clusters' authorities lack the key identifiers it asks for.

    Raises:
        CertificateProblem: a source cannot be used, or the arguments contradict each other.
    """
    context = _client(strict=strict, alpn=alpn)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if insecure:
        _trust_anybody(context, ca)
    elif ca is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        _trust_as_it_is(context, ca)
    if certificate is not None and key is not None:
        _show(context, _own_pair(certificate, key, ExtendedKeyUsageOID.CLIENT_AUTH), certificate.name)
    elif lone := certificate or key:
        raise CertificateProblem(f"{lone.name}: a client certificate and its key are needed together")
    return context


# Parts -----------------------------------------------------------------------------------------


def _server(
    certificate: Path,
    key: Path,
    authorities: Sequence[Path],
    alpn: Sequence[str],
    strict: bool,
    asking: ssl.VerifyMode,
    oldest: ssl.TLSVersion,
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _harden(context, strict=strict, alpn=alpn)
    context.minimum_version = oldest
    context.verify_mode = asking
    context.verify_flags |= NO_CHECK_TIME
    # A resumed session shows no certificate: with tickets, a login for one cluster was accepted for another. TLS 1.3
    # then cannot resume at all. TLS 1.2 still can by a session id, for which Python has no switch: whoever owns the
    # connection must refuse `session_reused`.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    context.options |= ssl.OP_NO_RENEGOTIATION
    # All that are offered are good; which is fast, the client's processor decides: kubectl's Go takes AES-128 where it has AES in
    # hardware and ChaCha20 where it has not, and OpenSSL's own first choice is AES-256.
    context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_ciphers(CIPHERS)
    for authority in authorities:
        _trust(context, _usable_authorities(authority))
    _show(
        context,
        _own_pair(PemFile(certificate), PemFile(key), ExtendedKeyUsageOID.SERVER_AUTH),
        str(certificate),
    )
    return context


def _client(*, strict: bool, alpn: Sequence[str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _harden(context, strict=strict, alpn=alpn)
    context.hostname_checks_common_name = False
    return context


def _harden(context: ssl.SSLContext, *, strict: bool, alpn: Sequence[str]) -> None:
    context.options |= ssl.OP_NO_COMPRESSION
    # Some builds of Python set this; it makes a connection that was cut look like one that ended.
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    # The files say whom to trust, also where that is an intermediate authority without its root.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if strict:
        context.verify_flags |= ssl.VERIFY_X509_STRICT
    if alpn:
        context.set_alpn_protocols(list(alpn))


def _trust_anybody(context: ssl.SSLContext, ca: PemSource | None) -> None:
    if ca is not None:
        raise CertificateProblem(
            f"{ca.name}: an authority makes no sense where the server's certificate is not verified"
        )
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE


def _usable_authorities(path: Path) -> tuple[x509.Certificate, ...]:
    certificates = read_certificates(PemFile(path))
    for certificate in certificates:
        if not is_authority(certificate):
            name = certificate.subject.rfc4514_string()
            raise CertificateProblem(
                f"{path}: {name} is not an authority's certificate but a server's or client's"
            )
    problems = [lifetime_of(certificate).problem_at(utc_now()) for certificate in certificates]
    if all(problems):
        raise CertificateProblem(f"{path}: the authority {problems[0]}")
    return certificates


def _trust(context: ssl.SSLContext, authorities: Sequence[x509.Certificate]) -> None:
    context.load_verify_locations(cadata=certificates_pem(authorities).decode("ascii"))


def _trust_as_it_is(context: ssl.SSLContext, ca: PemSource) -> None:
    # Not through read_certificates: a foreign cluster's authority need only please OpenSSL.
    try:
        context.load_verify_locations(cadata=ca.read().decode("ascii", errors="ignore"))
    except (ssl.SSLError, ValueError) as error:
        reason = error.reason if isinstance(error, ssl.SSLError) else None
        raise CertificateProblem(f"{ca.name}: holds no usable PEM certificate: {reason or error}") from None


def _own_pair(certificate: PemSource, key: PemSource, purpose: x509.ObjectIdentifier) -> KeyPair:
    pair = read_pair(certificate, key)
    problem = lifetime_of(pair.certificate).problem_at(utc_now())
    if problem is not None:
        raise CertificateProblem(f"{certificate.name}: the certificate {problem}")
    if not _serves(pair.certificate, purpose):
        side = "servers" if purpose == ExtendedKeyUsageOID.SERVER_AUTH else "clients"
        raise CertificateProblem(
            f"{certificate.name}: the certificate's extended key usage is not for {side}"
        )
    return pair


def _serves(certificate: x509.Certificate, purpose: x509.ObjectIdentifier) -> bool:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return purpose in usage or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in usage


def _show(context: ssl.SSLContext, pair: KeyPair, name: str) -> None:
    # What was checked is what is loaded: the files may change in between. OpenSSL takes it only by path.
    with _secret_path(pair.certificate_pem + pair.key_pem) as path:
        try:
            context.load_cert_chain(path)
        except ssl.SSLError as error:
            raise CertificateProblem(f"{name}: OpenSSL refuses it: {error.reason or error}") from None


@contextmanager
def _secret_path(content: bytes) -> Iterator[str]:
    """Lend a path under which `content` can be read once: in memory where the system can do that, so that a key that was
    embedded in a kubeconfig reaches no disk and a read-only container needs no temporary folder."""
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("certificate"), "wb") as file:
            file.write(content)
            file.flush()
            yield f"/proc/self/fd/{file.fileno()}"
    else:
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            yield file.name
