"""The deny list: who is refused, and the file it is kept in."""

import json
import stat
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

from certs.authority import Authority, unsigned
from certs.denied import (
    DENIED,
    Denial,
    Denials,
    DenyList,
    Kind,
    denial_of,
    deny,
    for_good,
    new_denial,
    read_denials,
    restore,
)
from certs.errors import CertificateProblem, NameDenied
from certs.lifetime import Lifetime, utc_now
from certs.names import AuthorityName
from certs.peer import PeerCertificate, PeerReader
from tests.unit.certs.installation import DAY, Installation, der

NOW = utc_now()
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@pytest.fixture
def alice(installation: Installation, reader: PeerReader) -> PeerCertificate:
    return reader.read(der(installation.store.files("user-alice").read()))


@pytest.fixture
def agent(installation: Installation, reader: PeerReader) -> PeerCertificate:
    return reader.read(der(installation.store.files("agent-dev").read()))


def test_one_certificate_is_denied_by_file_or_by_serial(
    installation: Installation, reader: PeerReader, alice: PeerCertificate
) -> None:
    pair = installation.store.files("user-alice").read()
    other = reader.read(der(installation.user("alice")))
    for denial in (denial_of(pair.certificate, NOW), new_denial("serial", f"{alice.serial:x}", NOW)):
        denials = Denials([denial])
        assert f"was revoked on {NOW:%Y-%m-%d}" in (denials.refuses(alice) or "")
        assert denials.refuses(other) is None


def encoded_anew(certificate: x509.Certificate) -> bytes:
    """The certificate with the other signature that follows from the one it has: (r, n - s) verifies as (r, s) does."""
    first, second = decode_dss_signature(certificate.signature)
    signature = encode_dss_signature(first, P256_ORDER - second)
    whole, signed = certificate.public_bytes(Encoding.DER), certificate.tbs_certificate_bytes
    algorithm = whole[whole.index(signed) + len(signed) : whole.rindex(certificate.signature) - 3]
    content = signed + algorithm + bytes([3, len(signature) + 1, 0]) + signature
    return b"\x30\x82" + len(content).to_bytes(2, "big") + content


def test_a_certificate_that_its_holder_encodes_anew_stays_denied(
    installation: Installation, reader: PeerReader, alice: PeerCertificate, tmp_path: Path
) -> None:
    certificate = installation.store.files("user-alice").read().certificate
    other = reader.read(encoded_anew(certificate))
    assert other.signed_by == "user-ca"
    assert (other.fingerprint == alice.fingerprint, other.serial) == (False, alice.serial)
    deny(tmp_path, [denial_of(certificate, NOW)])
    assert Denials(read_denials(tmp_path / DENIED)).refuses(other)


def test_a_name_is_denied_with_all_that_was_issued_to_it_until_now(
    installation: Installation, alice: PeerCertificate, agent: PeerCertificate
) -> None:
    users, agents = Denials([new_denial("user", "alice", NOW)]), Denials([new_denial("agent", "dev", NOW)])
    assert (users.refuses(alice) is None, users.refuses(agent) is None) == (False, True)
    assert (agents.refuses(alice) is None, agents.refuses(agent) is None) == (True, False)


def test_a_user_and_a_cluster_of_one_name_are_two(agent: PeerCertificate) -> None:
    assert Denials([new_denial("user", "dev", NOW)]).refuses(agent) is None


def test_what_is_issued_behind_a_denial_is_good(installation: Installation, reader: PeerReader) -> None:
    """Certificates begin five minutes before they are made; behind a denial they begin behind it."""
    denials = Denials([new_denial("user", "alice", NOW)])
    life = Lifetime.starting(NOW, DAY)
    assert life.not_before < NOW
    later = life.behind(denials.issued_until("user", "alice"))
    assert later.not_before > NOW.replace(microsecond=0)
    assert later.not_after == life.not_after
    assert denials.issued_until("user", "bob") is None
    assert life.behind(None) == life


@pytest.mark.parametrize(("name", "stem"), [("user-ca", "user-alice"), ("agent-ca", "agent-dev")])
def test_an_authority_whose_certificate_is_made_anew_with_its_key_lifts_no_revocation(
    installation: Installation, name: AuthorityName, stem: str
) -> None:
    """What it signed before begins with it then, as far as dates are concerned, and so behind the revocation."""
    pair = installation.store.files(stem).read()
    kind, value = stem.split("-")
    denials = Denials([new_denial(cast(Kind, kind), value, NOW)])
    authority = installation.store.authority(name)
    anew = made_anew(authority, Lifetime(NOW + DAY / 2, NOW + 9 * DAY))
    others = [installation.store.authority(each).certificate for each in ("user-ca", "agent-ca")]
    for authorities in ([anew], [anew, authority.certificate]):
        users, agents = (authorities, others[1:]) if name == "user-ca" else (others[:1], authorities)
        peer = PeerReader(users, agents).read(der(pair))
        assert (peer.signed_by, peer.not_before > NOW.timestamp()) == (name, True)
        assert denials.refuses(peer) is not None


def made_anew(authority: Authority, life: Lifetime) -> x509.Certificate:
    """The authority's certificate with the same name and key, and other dates."""
    old = authority.certificate
    builder = unsigned(old.subject, old.subject, old.public_key(), life)  # type: ignore[arg-type]
    return builder.sign(authority.pair.key, hashes.SHA256())


def test_a_name_denied_for_good_gets_nothing_more(alice: PeerCertificate) -> None:
    denial = for_good(new_denial("user", "alice", NOW - 100 * DAY))
    denials = Denials([new_denial("user", "alice", NOW - 200 * DAY), denial])
    assert denials.refuses(alice) is not None
    with pytest.raises(NameDenied, match=f"user alice, for good: .*certs restore {denial.id}"):
        denials.issued_until("user", "alice")


def test_the_prefix_of_a_foreign_authority_belongs_to_the_name(alice: PeerCertificate) -> None:
    denials = Denials([new_denial("user", "corp:alice", NOW)])
    assert denials.refuses(alice) is None
    assert denials.refuses(replace(alice, prefix="corp:")) is not None


def test_nobody_is_denied_by_an_empty_list(alice: PeerCertificate) -> None:
    assert Denials().refuses(alice) is None


def test_an_authority_is_not_revoked_here(installation: Installation) -> None:
    with pytest.raises(CertificateProblem, match="taken out of the file"):
        denial_of(installation.store.authority("user-ca").certificate, NOW)


# The file --------------------------------------------------------------------------------------


def test_entries_survive_writing_and_reading(tmp_path: Path, installation: Installation) -> None:
    pair = installation.store.files("user-alice").read()
    entries = [
        denial_of(pair.certificate, NOW),
        new_denial("serial", "1f", NOW),
        new_denial("user", "jürgen", NOW),
        for_good(new_denial("agent", "dev", NOW)),
    ]
    deny(tmp_path, entries[:2])
    deny(tmp_path, entries[2:])
    assert read_denials(tmp_path / DENIED) == entries
    assert stat.S_IMODE((tmp_path / DENIED).stat().st_mode) == 0o644


def test_an_entry_can_be_taken_back_by_its_id(tmp_path: Path) -> None:
    one, two = new_denial("user", "alice", NOW), new_denial("user", "bob", NOW)
    deny(tmp_path, [one, two])
    assert restore(tmp_path, one.id) == one
    assert read_denials(tmp_path / DENIED) == [two]
    with pytest.raises(CertificateProblem, match="there is no denial"):
        restore(tmp_path, one.id)


def test_an_entry_for_a_certificate_that_has_expired_is_dropped_with_the_next_one(tmp_path: Path) -> None:
    past = Denial("a", "certificate", "ff", NOW - 9 * DAY, forget=NOW - timedelta(seconds=1))
    deny(tmp_path, [past])
    new = new_denial("serial", "1", NOW)
    deny(tmp_path, [new])
    assert read_denials(tmp_path / DENIED) == [new]


def test_a_newer_entry_for_a_name_takes_the_place_of_what_it_covers(tmp_path: Path) -> None:
    old, other = new_denial("user", "alice", NOW - DAY), new_denial("agent", "alice", NOW - DAY)
    deny(tmp_path, [old, other])
    new = new_denial("user", "alice", NOW)
    deny(tmp_path, [new])
    assert read_denials(tmp_path / DENIED) == [other, new]
    lasting = for_good(new_denial("user", "alice", NOW - DAY))
    deny(tmp_path, [lasting])
    deny(tmp_path, [new])
    assert read_denials(tmp_path / DENIED) == [other, lasting, new]


def test_a_list_that_no_stub_would_read_is_not_written(tmp_path: Path) -> None:
    deny(tmp_path, [new_denial("user", "alice", NOW)])
    before = (tmp_path / DENIED).read_bytes()
    with pytest.raises(CertificateProblem, match="is full"):
        deny(tmp_path, [new_denial("user", f"user {number}", NOW) for number in range(10_000)])
    assert (tmp_path / DENIED).read_bytes() == before


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"denied": {}}',
        "[" * 100_000,
    ],
    ids=["empty", "list", "mapping", "deep"],
)
def test_what_is_no_deny_list_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / DENIED).write_text(text)
    with pytest.raises(CertificateProblem, match="is not a deny list"):
        read_denials(tmp_path / DENIED)


@pytest.mark.parametrize(
    "changed",
    [
        {"kind": "group"},
        {"value": 7},
        {"kind": "serial", "value": "xyz"},
        {"since": None},
        {"since": "soon"},
        {"since": "2026-01-01T00:00:00"},
        {"issuedUntil": 5},
    ],
)
def test_an_entry_that_cannot_be_read_is_named_and_never_passed_over(
    tmp_path: Path, changed: dict[str, object]
) -> None:
    entry = {"id": "a", "kind": "user", "value": "alice", "since": NOW.isoformat(), **changed}
    (tmp_path / DENIED).write_text(json.dumps({"denied": [entry]}))
    with pytest.raises(CertificateProblem, match=r"denied\[0\] is not an entry"):
        read_denials(tmp_path / DENIED)


# Followed --------------------------------------------------------------------------------------


def test_a_revocation_is_felt_by_a_list_that_is_in_use(tmp_path: Path, alice: PeerCertificate) -> None:
    listed = DenyList(tmp_path, interval_seconds=0.0)
    assert listed.refuses(alice) is None
    denial = new_denial("user", "alice", NOW)
    deny(tmp_path, [denial])
    assert f"(denial {denial.id})" in (listed.refuses(alice) or "")
    restore(tmp_path, denial.id)
    assert listed.refuses(alice) is None


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_text("{")], ids=["gone", "broken"])
def test_a_list_that_is_gone_or_broken_denies_as_before(
    tmp_path: Path, alice: PeerCertificate, spoil: object
) -> None:
    deny(tmp_path, [new_denial("user", "alice", NOW)])
    listed = DenyList(tmp_path, interval_seconds=0.0)
    spoil(tmp_path / DENIED)  # type: ignore[operator]
    assert listed.refuses(alice) is not None
    assert DENIED in (listed.problem or "")


def test_a_stub_does_not_start_on_a_broken_list(tmp_path: Path) -> None:
    (tmp_path / DENIED).write_text("{")
    with pytest.raises(CertificateProblem, match="is not a deny list"):
        DenyList(tmp_path)
