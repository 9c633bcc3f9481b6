"""What `certs show` prints: what a file holds, for whom, until when, and what is wrong with it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from certs.authority import is_authority, lifetime_of
from certs.errors import CertificateProblem
from certs.lifetime import Lifetime, date_text, duration_text
from certs.names import AGENT_URI, AUTHORITIES, CLUSTER_URI, LOGIN_URI
from certs.peer import was_signed_by
from certs.pem import PemFile, public_der, read_bounded, read_certificates, read_key

Row = tuple[str, str]

_PURPOSES: Final = {
    ExtendedKeyUsageOID.SERVER_AUTH: "serverAuth",
    ExtendedKeyUsageOID.CLIENT_AUTH: "clientAuth",
}
_USAGES: Final = ("digital_signature", "key_encipherment", "key_agreement", "key_cert_sign", "crl_sign")


@dataclass(frozen=True, slots=True)
class Description:
    """A table to print, and whether something in it needs attention."""

    text: str
    sound: bool


def describe_file(path: Path, now: datetime) -> Description:
    """Return what a PEM file holds: one or more certificates, a private key, or both. No key is ever shown.

    Raises:
        CertificateProblem: it cannot be read, or holds neither.
    """
    content = read_bounded(path)
    tables: list[list[Row]] = []
    if b"BEGIN CERTIFICATE" in content or b"PRIVATE KEY-----" not in content:
        certificates = read_certificates(PemFile(path))
        tables += [_certificate_rows(path, certificate, now) for certificate in certificates]
    if b"PRIVATE KEY-----" in content:
        tables.append(_key_rows(path))
    sound = all(title != "problem" for rows in tables for title, _ in rows)
    return Description(f"{path}\n" + "\n".join(_table(rows) for rows in tables), sound)


def _table(rows: list[Row]) -> str:
    width = max(len(title) for title, _ in rows)
    return "".join(f"  {title:<{width}}  {_printable(value)}\n" for title, value in rows)


def _printable(text: str) -> str:
    # A name in a foreign certificate may hold the terminal's control sequences.
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)


def _certificate_rows(path: Path, certificate: x509.Certificate, now: datetime) -> list[Row]:
    lifetime = lifetime_of(certificate)
    rows = [
        ("kind", _kind(certificate)),
        ("subject", certificate.subject.rfc4514_string()),
        *_name_rows(certificate),
        ("issuer", certificate.issuer.rfc4514_string()),
        ("valid from", date_text(lifetime.not_before)),
        ("valid to", f"{date_text(lifetime.not_after)}{_remaining(lifetime, now)}"),
        ("names", ", ".join(_alternative_names(certificate)) or "none"),
        ("usage", ", ".join(_usages(certificate)) or "any"),
        ("key", _key_kind(certificate.public_key())),
        ("serial", f"{certificate.serial_number:x}"),
        ("fingerprint", f"SHA-256 {certificate.fingerprint(hashes.SHA256()).hex()}"),
    ]
    return rows + [("problem", problem) for problem in _problems(path, certificate, now)]


def _remaining(lifetime: Lifetime, now: datetime) -> str:
    if lifetime.problem_at(now):
        return ""
    return f" (expires in {duration_text(lifetime.not_after - now)})"


def _kind(certificate: x509.Certificate) -> str:
    if is_authority(certificate):
        return "authority"
    purposes = _purposes(certificate)
    if "serverAuth" in purposes:
        return "server certificate"
    if any(name.startswith(AGENT_URI) for name in _alternative_names(certificate)):
        return "agent certificate"
    return "user certificate" if "clientAuth" in purposes or not purposes else "certificate"


def _name_rows(certificate: x509.Certificate) -> Iterator[Row]:
    kind = _kind(certificate)
    if kind == "user certificate":
        yield "user", _subject_texts(certificate, NameOID.COMMON_NAME)
        yield "groups", _subject_texts(certificate, NameOID.ORGANIZATION_NAME) or "none"
        for text in _uri_texts(certificate, LOGIN_URI):
            yield "renews until", _second_text(text)
    elif kind == "agent certificate":
        yield "cluster", ", ".join(_uri_texts(certificate, AGENT_URI))
        for text in _uri_texts(certificate, CLUSTER_URI):
            yield "cluster UID", text


def _uri_texts(certificate: x509.Certificate, prefix: str) -> list[str]:
    return [name.removeprefix(prefix) for name in _alternative_names(certificate) if name.startswith(prefix)]


def _second_text(text: str) -> str:
    # Bounded: a foreign certificate may name a second beyond all calendars.
    return date_text(datetime.fromtimestamp(int(text), UTC)) if text.isdigit() and len(text) < 12 else text


def _subject_texts(certificate: x509.Certificate, kind: x509.ObjectIdentifier) -> str:
    return ", ".join(str(attribute.value) for attribute in certificate.subject.get_attributes_for_oid(kind))


def _alternative_names(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [str(name.value) for name in names]


def _purposes(certificate: x509.Certificate) -> list[str]:
    try:
        purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return []
    return [_PURPOSES.get(purpose, purpose.dotted_string) for purpose in purposes]


def _usages(certificate: x509.Certificate) -> list[str]:
    usage = _key_usage(certificate)
    named = [] if usage is None else [name.replace("_", " ") for name in _USAGES if getattr(usage, name)]
    return _purposes(certificate) + named


def _key_usage(certificate: x509.Certificate) -> x509.KeyUsage | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return None


def _key_kind(key: object) -> str:
    if isinstance(key, ec.EllipticCurvePublicKey | ec.EllipticCurvePrivateKey):
        return f"ECDSA {key.curve.name}"
    if isinstance(key, rsa.RSAPublicKey | rsa.RSAPrivateKey):
        return f"RSA {key.key_size}"
    return type(key).__name__.removesuffix("PublicKey").removesuffix("PrivateKey")


# Problems --------------------------------------------------------------------------------------


def _problems(path: Path, certificate: x509.Certificate, now: datetime) -> Iterator[str]:
    if problem := lifetime_of(certificate).problem_at(now):
        yield problem
    yield from _strictness_problems(certificate)
    key = path.with_suffix(".key")
    if path.suffix == ".crt" and key.exists():
        yield from _key_problems(key, certificate)
    yield from _signer_problems(path, certificate)


def _strictness_problems(certificate: x509.Certificate) -> Iterator[str]:
    """Yield what Python's VERIFY_X509_STRICT, on by default from 3.13, or Go would refuse."""
    extensions = {extension.oid: extension for extension in certificate.extensions}
    self_signed = certificate.subject == certificate.issuer
    if x509.AuthorityKeyIdentifier.oid not in extensions and not self_signed:
        yield "not strict: no authority key identifier"
    if not is_authority(certificate):
        return
    if x509.SubjectKeyIdentifier.oid not in extensions:
        yield "not strict: an authority without a subject key identifier"
    if not extensions[x509.BasicConstraints.oid].critical:
        yield "not strict: an authority's basic constraints are not critical"
    usage = _key_usage(certificate)
    if usage is None or not usage.key_cert_sign:
        yield "not strict: an authority whose key usage does not allow to sign certificates"


def _key_problems(key: Path, certificate: x509.Certificate) -> Iterator[str]:
    try:
        private = read_key(PemFile(key))
    except CertificateProblem as error:
        yield str(error)
        return
    if public_der(private.public_key()) != public_der(certificate.public_key()):
        yield f"{key.name} is not the key of this certificate"
    yield from _mode_problems(key)


def _mode_problems(key: Path) -> Iterator[str]:
    mode = key.stat().st_mode & 0o777
    if mode & 0o077:
        yield f"{key.name} is open to others (mode {mode:04o}); `chmod 600` closes it"


def _signer_problems(path: Path, certificate: x509.Certificate) -> Iterator[str]:
    """Yield where an authority of the issuer's name lies beside the file and did not sign it: remade, or mixed up."""
    issuer = certificate.issuer.rfc4514_string()
    name = next((name for name in AUTHORITIES if issuer == f"CN=cluster-tunnel {name}"), None)
    beside = path.with_name(f"{name}.crt")
    if name is None or not beside.exists():
        return
    if not any(was_signed_by(certificate, authority) for authority in read_certificates(PemFile(beside))):
        yield f"not signed by {beside.name} beside it, though by one of its name"


def _key_rows(path: Path) -> list[Row]:
    private = read_key(PemFile(path))
    rows = [("kind", "private key"), ("key", _key_kind(private))]
    certificate = path.with_suffix(".crt")
    if path.suffix == ".key" and certificate.exists():
        leaf = read_certificates(PemFile(certificate))[0]
        rows.append(("belongs to", certificate.name))
        rows += [("problem", problem) for problem in _key_problems(path, leaf)]
    else:
        rows += [("problem", problem) for problem in _mode_problems(path)]
    return rows
