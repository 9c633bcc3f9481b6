"""What is issued is strict: cryptography's verifier and OpenSSL's -x509_strict agree. Go's is in tests/integration."""

import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from certs.authority import (
    Authority,
    authority_identifier,
    is_authority,
    lifetime_of,
    make_authority,
    unsigned,
)
from certs.errors import CertificateProblem
from certs.issue import issue_user
from certs.pem import KeyPair, PemFile, read_certificates
from tests.unit.certs.installation import Installation, lasting, self_signed


def certificate(installation: Installation, name: str) -> x509.Certificate:
    return read_certificates(PemFile(installation.path(f"{name}.crt")))[0]


def policy(installation: Installation, authority: str) -> PolicyBuilder:
    return PolicyBuilder().store(Store([certificate(installation, authority)]))


def without_names(builder: PolicyBuilder) -> PolicyBuilder:
    # The verifier asks every leaf for alternative names; users have none, as with a cluster's own user certificates.
    leaf = ExtensionPolicy.webpki_defaults_ee().may_be_present(
        x509.SubjectAlternativeName, Criticality.AGNOSTIC, None
    )
    return builder.extension_policies(ca_policy=ExtensionPolicy.webpki_defaults_ca(), ee_policy=leaf)


def test_the_strict_verifier_accepts_an_agent(installation: Installation) -> None:
    verifier = policy(installation, "agent-ca").build_client_verifier()
    assert len(verifier.verify(certificate(installation, "agent-dev"), []).chain) == 2


def test_the_strict_verifier_accepts_a_user(installation: Installation) -> None:
    verifier = without_names(policy(installation, "user-ca")).build_client_verifier()
    assert len(verifier.verify(certificate(installation, "user-alice"), []).chain) == 2


@pytest.mark.parametrize("host", ["localhost", "dev.stub.example.com"])
def test_the_strict_verifier_accepts_the_server(installation: Installation, host: str) -> None:
    verifier = policy(installation, "server-ca").build_server_verifier(x509.DNSName(host))
    assert len(verifier.verify(certificate(installation, "server"), [])) == 2


@pytest.mark.parametrize(("name", "authority"), [("agent-dev", "user-ca"), ("user-alice", "agent-ca")])
def test_no_authority_vouches_for_another_s_leaf(
    installation: Installation, name: str, authority: str
) -> None:
    verifier = without_names(policy(installation, authority)).build_client_verifier()
    with pytest.raises(VerificationError):
        verifier.verify(certificate(installation, name), [])


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl on PATH")
@pytest.mark.parametrize(
    ("name", "authority", "purpose"),
    [
        ("server", "server-ca", "sslserver"),
        ("agent-dev", "agent-ca", "sslclient"),
        ("user-alice", "user-ca", "sslclient"),
    ],
)
def test_openssl_accepts_it_strictly(
    installation: Installation, name: str, authority: str, purpose: str
) -> None:
    trust, leaf = installation.path(f"{authority}.crt"), installation.path(f"{name}.crt")
    words = ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile", str(trust), str(leaf)]
    result = subprocess.run(words, capture_output=True, text=True, timeout=20)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("name", ["server-ca", "user-ca", "agent-ca"])
def test_an_authority_signs_leaves_and_no_authorities(installation: Installation, name: str) -> None:
    extensions = certificate(installation, name).extensions
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert constraints.critical
    assert constraints.value == x509.BasicConstraints(ca=True, path_length=0)
    assert usage.critical
    assert (usage.value.key_cert_sign, usage.value.crl_sign, usage.value.digital_signature) == (
        True,
        True,
        False,
    )


@pytest.mark.parametrize("name", ["server", "agent-dev", "user-alice"])
def test_a_leaf_signs_nothing_and_names_both_keys(installation: Installation, name: str) -> None:
    extensions = certificate(installation, name).extensions
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert not is_authority(certificate(installation, name))
    assert usage.critical
    assert (usage.value.digital_signature, usage.value.key_cert_sign) == (True, False)
    present = {extension.oid for extension in extensions}
    assert {x509.SubjectKeyIdentifier.oid, x509.AuthorityKeyIdentifier.oid} <= present


def test_serial_numbers_are_long_and_never_the_same(installation: Installation) -> None:
    serials = [installation.user().certificate.serial_number for _ in range(20)]
    assert len(set(serials)) == 20
    assert 140 < max(serials).bit_length() <= 159  # RFC 5280 4.1.2.2: 20 octets, positive


def test_nothing_outlives_its_authority() -> None:
    authority = Authority(make_authority("user-ca", lasting(2)), "user-ca.crt")
    issued = issue_user(authority, "alice", [], lasting(30)).certificate
    assert lifetime_of(issued).not_after == authority.lifetime.not_after


def test_an_expired_authority_signs_nothing() -> None:
    authority = Authority(make_authority("user-ca", lasting(-1)), "ca/user-ca.crt")
    with pytest.raises(CertificateProblem, match=r"^ca/user-ca\.crt: the authority expired"):
        issue_user(authority, "alice", [], lasting())


@pytest.mark.parametrize(
    "key",
    [ed25519.Ed25519PrivateKey.generate(), rsa.generate_private_key(65537, 2048)],
    ids=["Ed25519", "RSA"],
)
def test_an_operator_s_own_authority_may_have_another_kind_of_key(
    key: ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey,
) -> None:
    name, life = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "corporate")]), lasting(2)
    builder = unsigned(name, name, key.public_key(), life)
    own = builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    authority = Authority(KeyPair((own,), key), "corporate.crt")
    issue_user(authority, "alice", ["devs"], lasting()).certificate.verify_directly_issued_by(own)


def test_a_leaf_names_the_identifier_that_its_authority_has(installation: Installation) -> None:
    foreign = self_signed("foreign", (x509.SubjectKeyIdentifier(b"its own choice"), False)).certificate
    assert authority_identifier(foreign).key_identifier == b"its own choice"


def test_clients_are_for_clients_and_the_server_for_servers(installation: Installation) -> None:
    usages = {
        name: list(
            certificate(installation, name).extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        )
        for name in ("server", "agent-dev", "user-alice")
    }
    client = [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert usages == {"server": [ExtendedKeyUsageOID.SERVER_AUTH], "agent-dev": client, "user-alice": client}


def test_keys_are_written_as_every_tool_reads_them(installation: Installation, tmp_path: Path) -> None:
    text = installation.path("user-alice.key").read_bytes()
    assert text.startswith(b"-----BEGIN PRIVATE KEY-----")
    key = serialization.load_pem_private_key(text, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.curve.name == "secp256r1"
