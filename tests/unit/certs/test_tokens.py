"""Join tokens as a text."""

from pathlib import Path

import pytest
from cryptography import x509

from certs.errors import CertificateProblem
from certs.pem import PemFile, PemText
from certs.tokens import JoinToken, new_token, parse_token, pin_of, pinned, read_token
from tests.unit.certs.installation import Installation

TOKEN = new_token(bytes(range(32)))


def test_a_token_says_what_it_was_made_with() -> None:
    assert parse_token(TOKEN.text) == TOKEN
    assert parse_token(f"\n {TOKEN.text} \n") == TOKEN
    assert TOKEN.text.startswith(f"ctjoin1.{TOKEN.id}.")
    assert new_token(TOKEN.pin) != new_token(TOKEN.pin)


def test_a_token_does_not_show_its_secret() -> None:
    assert "secret" not in repr(TOKEN)
    assert TOKEN.digest not in TOKEN.text


def test_only_its_own_digest_is_a_token_s() -> None:
    other = JoinToken(TOKEN.id, bytes(32), TOKEN.pin)
    assert (TOKEN.is_of(TOKEN.digest), other.is_of(TOKEN.digest)) == (True, False)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ctjoin1.x",
        TOKEN.text[:-1],
        TOKEN.text.replace("ctjoin1", "ctjoin2"),
        TOKEN.text.replace(f".{TOKEN.id}.", ".xyz."),
        f"{TOKEN.text}.x",
        f"ctjoin1.{TOKEN.id}.a!b.c",
        f"ctjoin1.{TOKEN.id}.é.é",
    ],
    # A token's parts are random, and tests are found by their names in several processes.
    ids=["nothing", "half", "cut", "later", "no id", "more", "odd secret", "odd letters"],
)
def test_what_is_no_token_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="not a") as raised:
        parse_token(text)
    assert not text or text not in str(raised.value)


def test_a_token_can_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN.text}\n")
    assert read_token(path) == TOKEN
    path.write_bytes(b"\xff\n")
    with pytest.raises(CertificateProblem, match=f"{path}: not a join token"):
        read_token(path)
    with pytest.raises(CertificateProblem, match="there is no such file"):
        read_token(tmp_path / "nowhere")


def test_a_pin_finds_its_own_authority_among_others_and_no_other(installation: Installation) -> None:
    """Whoever is in between may add an authority of its own to the true one."""
    true, foreign = (PemFile(installation.path(name)) for name in ("server-ca.crt", "user-ca.crt"))
    bundle = PemText("bundle", foreign.read() + true.read())
    found = pinned(bundle, pin_of(true))
    assert found is not None
    certificates = x509.load_pem_x509_certificates(found)
    assert [each.subject.rfc4514_string() for each in certificates] == ["CN=cluster-tunnel server-ca"]
    assert pinned(foreign, pin_of(true)) is None


def test_a_pin_outlives_a_new_certificate_for_the_same_key(installation: Installation) -> None:
    pair = installation.store.files("server-ca").read()
    assert pin_of(PemText("a", pair.certificate_pem)) == pin_of(PemFile(installation.path("server-ca.crt")))
