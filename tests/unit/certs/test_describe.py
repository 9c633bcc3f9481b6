"""What `certs show` says."""

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from certs.csr import make_key
from certs.describe import describe_file
from certs.errors import CertificateProblem
from certs.issue import sign_agent, sign_user
from certs.lifetime import date_text, utc_now
from certs.pem import KeyPair
from certs.store import CertificateStore
from tests.unit.certs.installation import Installation, lasting, self_signed, signed, write_pair


def rows(path: Path, after: timedelta = timedelta(0)) -> dict[str, str]:
    """The table's first column to its second; problems are joined."""
    found: dict[str, str] = {}
    for line in describe_file(path, utc_now() + after).text.splitlines()[1:]:
        title, _, value = line.strip().partition("  ")
        found[title] = "; ".join(filter(None, (found.get(title), value.strip())))
    return found


def test_a_user_s_certificate_shows_who_until_when(installation: Installation) -> None:
    path = installation.path("user-alice.crt")
    shown = rows(path)
    assert (shown["kind"], shown["user"], shown["groups"]) == ("user certificate", "alice", "devs, ops")
    assert shown["issuer"] == "CN=cluster-tunnel user-ca"
    assert shown["valid to"].endswith("(expires in 23 h)")
    assert shown["usage"] == "clientAuth, digital signature"
    assert shown["fingerprint"].startswith("SHA-256 ")
    assert "problem" not in shown
    assert describe_file(path, utc_now()).sound


def test_each_kind_shows_what_it_is_for(installation: Installation) -> None:
    server, agent = rows(installation.path("server.crt")), rows(installation.path("agent-dev.crt"))
    assert (server["kind"], server["usage"]) == ("server certificate", "serverAuth, digital signature")
    assert server["names"] == "*.stub.example.com, localhost, 127.0.0.1, ::1"
    assert (agent["kind"], agent["cluster"]) == ("agent certificate", "dev")
    assert rows(installation.path("user-ca.crt"))["kind"] == "authority"
    assert rows(installation.path("user-ca.crt"))["usage"] == "key cert sign, crl sign"


def test_what_a_stub_put_into_a_certificate_is_shown(installation: Installation, tmp_path: Path) -> None:
    store, key = installation.store, make_key()
    agent = sign_agent(store.authority("agent-ca"), "dev", "0f-1e", key.public_key(), lasting())
    files = write_pair(tmp_path, "agent", KeyPair((agent,), key))
    assert rows(files.certificate)["cluster UID"] == "0f-1e"
    until = utc_now().replace(microsecond=0) + timedelta(days=30)
    authority, second = store.authority("user-ca"), until.timestamp()
    user = sign_user(authority, "alice", [], key.public_key(), lasting(), renewable_until=second)
    files = write_pair(tmp_path, "alice", KeyPair((user,), key))
    assert rows(files.certificate)["renews until"] == date_text(until)


def test_the_table_is_aligned(installation: Installation) -> None:
    lines = describe_file(installation.path("user-alice.crt"), utc_now()).text.splitlines()[1:]
    assert len({len(line) - len(line[2:].partition("  ")[2].lstrip()) for line in lines}) == 1


def test_a_key_is_described_and_never_shown(installation: Installation) -> None:
    path = installation.path("user-alice.key")
    description = describe_file(path, utc_now())
    shown = rows(path)
    assert (shown["kind"], shown["key"], shown["belongs to"]) == (
        "private key",
        "ECDSA secp256r1",
        "user-alice.crt",
    )
    secret = path.read_text().splitlines()[1]
    assert secret not in description.text


def test_an_expired_certificate_is_a_problem(installation: Installation) -> None:
    path = installation.path("user-alice.crt")
    late = timedelta(days=4)
    assert rows(path, late)["problem"].startswith("expired 3 d ago, on ")
    assert "expires in" not in rows(path, late)["valid to"]
    assert not describe_file(path, utc_now() + late).sound


def test_a_key_of_another_certificate_is_a_problem_on_both_sides(fresh: Installation) -> None:
    fresh.path("user-alice.key").write_bytes(fresh.path("agent-dev.key").read_bytes())
    reason = "user-alice.key is not the key of this certificate"
    assert rows(fresh.path("user-alice.crt"))["problem"] == reason
    assert rows(fresh.path("user-alice.key"))["problem"] == reason


def test_a_key_open_to_others_is_a_problem(fresh: Installation) -> None:
    fresh.path("user-alice.key").chmod(0o640)
    assert "open to others (mode 0640)" in rows(fresh.path("user-alice.crt"))["problem"]
    assert "open to others (mode 0640)" in rows(fresh.path("user-alice.key"))["problem"]


def test_a_broken_key_beside_is_a_problem(fresh: Installation) -> None:
    fresh.path("user-alice.key").write_bytes(b"broken")
    assert "holds no PEM private key" in rows(fresh.path("user-alice.crt"))["problem"]


def test_a_leaf_of_an_authority_that_was_made_anew_is_a_problem(fresh: Installation, tmp_path: Path) -> None:
    other = CertificateStore(tmp_path / "other")
    other.make_authorities(utc_now())
    fresh.path("user-ca.crt").write_bytes(other.files("user-ca").certificate.read_bytes())
    assert rows(fresh.path("user-alice.crt"))["problem"].startswith("not signed by user-ca.crt beside it")


def test_what_strict_verifiers_refuse_is_a_problem(tmp_path: Path) -> None:
    lax = self_signed("lax", (x509.BasicConstraints(True, None), False))
    problems = rows(write_pair(tmp_path, "lax", lax).certificate)["problem"]
    assert "basic constraints are not critical" in problems
    assert "subject key identifier" in problems
    assert "does not allow to sign" in problems


def test_a_foreign_subject_cannot_drive_the_terminal(installation: Installation, tmp_path: Path) -> None:
    pair = signed(installation.store.authority("user-ca"), [(NameOID.COMMON_NAME, "a\x1b[2Jb")])
    shown = describe_file(write_pair(tmp_path, "x", pair).certificate, utc_now()).text
    assert "\x1b" not in shown
    assert "a\\x1b[2Jb" in shown


def test_every_certificate_of_a_bundle_is_shown(installation: Installation, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.pem"
    names = ("user-ca.crt", "agent-ca.crt", "user-alice.key")
    bundle.write_bytes(b"".join(installation.path(name).read_bytes() for name in names))
    bundle.chmod(0o600)
    text = describe_file(bundle, utc_now()).text
    assert text.count("authority") == 2
    assert text.count("private key") == 1


def test_a_file_that_holds_neither_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("hello")
    with pytest.raises(CertificateProblem, match=r"notes\.txt: is not PEM"):
        describe_file(path, utc_now())


def test_a_certificate_without_usage_is_for_anything(tmp_path: Path) -> None:
    assert (
        rows(write_pair(tmp_path, "any", self_signed("any", lifetime=lasting())).certificate)["usage"]
        == "any"
    )
