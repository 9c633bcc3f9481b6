"""Errors name the file and the reason."""

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, x25519

from certs.errors import CertificateProblem, FileMissing
from certs.pem import PemFile, PemText, read_bounded, read_certificates, read_key, read_pair
from tests.unit.certs.installation import Installation


def key_text(encryption: serialization.KeySerializationEncryption) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileMissing, match=r"x\.crt: there is no such file"):
        read_certificates(PemFile(tmp_path / "x.crt"))


def test_a_folder_is_not_read_as_a_file(tmp_path: Path) -> None:
    with pytest.raises(CertificateProblem, match="cannot be read: Is a directory"):
        read_key(PemFile(tmp_path))


def test_reading_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"12345")
    assert read_bounded(path, limit=5) == b"12345"
    with pytest.raises(CertificateProblem, match="larger than 4 bytes"):
        read_bounded(path, limit=4)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "is not PEM"),
        (b"\x30\x82", "is not PEM"),
        (key_text(serialization.NoEncryption()), "holds no certificate"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "cannot be parsed"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n", "cannot be parsed"),
    ],
)
def test_what_is_no_certificate_is_told(text: bytes, reason: str) -> None:
    with pytest.raises(CertificateProblem, match=f"^here: .*{reason}"):
        read_certificates(PemText("here", text))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "holds no PEM private key"),
        (key_text(serialization.BestAvailableEncryption(b"secret")), "is encrypted"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "cannot be parsed"),
    ],
)
def test_what_is_no_key_is_told(text: bytes, reason: str) -> None:
    with pytest.raises(CertificateProblem, match=f"^here: .*{reason}"):
        read_key(PemText("here", text))


def test_a_key_that_cannot_sign_is_refused() -> None:
    text = x25519.X25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(CertificateProblem, match="cannot sign"):
        read_key(PemText("here", text))


def test_a_key_of_another_certificate_names_both_files(installation: Installation) -> None:
    certificate, key = installation.path("server.crt"), installation.path("user-alice.key")
    with pytest.raises(CertificateProblem, match=r"user-alice\.key: .* does not belong to .*server\.crt"):
        read_pair(PemFile(certificate), PemFile(key))


def test_a_pair_shows_no_key(installation: Installation) -> None:
    pair = installation.user()
    assert b"PRIVATE KEY" in pair.key_pem
    assert "key=" not in repr(pair)
    assert "PRIVATE" not in repr(PemText("here", pair.key_pem))


def test_an_unreadable_file_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "closed.key"
    path.touch(mode=stat.S_IRUSR)

    def refuse(self: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # root may open anything
    with pytest.raises(CertificateProblem, match=r"closed\.key: cannot be read: Permission denied"):
        read_bounded(path)
