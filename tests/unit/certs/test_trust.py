"""Whose clients are let in, as files change."""

from pathlib import Path

import pytest

from certs.authority import Authority, make_authority
from certs.errors import CertificateProblem
from certs.foreign import UserAuthority, parse_user_authority, write_user_authority
from certs.issue import issue_user
from certs.peer import user_names
from certs.trust import Trust
from tests.unit.certs.installation import Installation, der, lasting


def trust_of(installation: Installation, *foreign: UserAuthority) -> Trust:
    return Trust(
        installation.path("user-ca.crt"), installation.path("agent-ca.crt"), foreign, interval_seconds=0.0
    )


def new_authority(path: Path) -> Authority:
    pair = make_authority("user-ca", lasting())
    path.write_bytes(pair.certificate_pem)
    return Authority(pair, path.name)


def test_a_second_authority_lets_its_users_in_behind_its_prefix(fresh: Installation, tmp_path: Path) -> None:
    corp = new_authority(tmp_path / "corp.crt")
    trust = trust_of(fresh, UserAuthority(tmp_path / "corp.crt", "corp:"))
    peer = trust.peers.read(der(issue_user(corp, "alice", [], lasting())))
    assert user_names(peer) == ("corp:alice", ())
    assert trust.paths == (
        fresh.path("user-ca.crt"),
        tmp_path / "corp.crt",
        fresh.path("agent-ca.crt"),
    )


def test_rotating_the_authority_needs_no_restart_and_drops_nobody(
    fresh: Installation, tmp_path: Path
) -> None:
    trust = trust_of(fresh)
    peers = trust.peers
    old = peers.read(der(fresh.user()))
    path = fresh.path("user-ca.crt")
    before = path.read_bytes()
    new = new_authority(path)
    path.write_bytes(path.read_bytes() + before)
    trust.refresh(1.0)
    assert peers.trusts(old)
    young = peers.read(der(issue_user(new, "alice", [], lasting())))
    assert peers.trusts(young)
    path.write_bytes(new.pair.certificate_pem)
    trust.refresh(2.0)
    assert (peers.trusts(old), peers.trusts(young)) == (False, True)


def test_a_broken_bundle_leaves_the_old_authorities_in_force(fresh: Installation) -> None:
    trust = trust_of(fresh)
    peer = trust.peers.read(der(fresh.user()))
    fresh.path("user-ca.crt").write_text("nothing")
    trust.refresh(1.0)
    assert trust.peers.trusts(peer)
    assert trust.problem == f"{fresh.path('user-ca.crt')}: is not PEM: there is no '-----BEGIN' line"


def test_an_authority_for_both_sides_is_never_taken_up(fresh: Installation) -> None:
    trust = trust_of(fresh)
    agent = trust.peers.read(der(fresh.store.files("agent-dev").read()))
    fresh.path("agent-ca.crt").write_bytes(fresh.path("user-ca.crt").read_bytes())
    trust.refresh(1.0)
    assert trust.peers.trusts(agent)
    assert "have the same key" in (trust.problem or "")
    with pytest.raises(CertificateProblem, match="have the same key"):
        trust_of(fresh)


def test_an_authority_is_a_file_with_or_without_a_prefix(tmp_path: Path) -> None:
    file = tmp_path / "ca.crt"
    file.touch()
    plain, prefixed = parse_user_authority(str(file)), parse_user_authority(f"corp:={file}")
    assert (plain, prefixed) == (UserAuthority(file), UserAuthority(file, "corp:"))
    assert [write_user_authority(each) for each in (plain, prefixed)] == [str(file), f"corp:={file}"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("corp:=nowhere", "there is no file 'nowhere'"),
        ("={file}", "empty prefix"),
        ("system:={file}", "reserves"),
        ("System:x={file}", "reserves"),
        (" x={file}", "is not a prefix"),
        ("a\nb={file}", "is not a prefix"),
        ("{long}={file}", "is not a prefix"),
    ],
)
def test_a_prefix_that_could_make_a_reserved_or_unfit_name_is_refused(
    tmp_path: Path, text: str, reason: str
) -> None:
    file = tmp_path / "ca.crt"
    file.touch()
    with pytest.raises(ValueError, match=reason):
        parse_user_authority(text.format(file=file, long="x" * 65))
