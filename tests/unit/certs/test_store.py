"""The folder of an installation."""

import fcntl
import os
import stat
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from certs import files
from certs.authority import lifetime_of
from certs.denied import DENIED, DenyList, deny, for_good, new_denial, read_denials
from certs.errors import CertificateProblem, FileMissing, NameDenied
from certs.lifetime import utc_now
from certs.names import AUTHORITIES
from certs.store import CertificateStore
from tests.unit.certs.installation import Installation, lasting


def test_the_layout_is_one_pair_per_name(installation: Installation) -> None:
    stems = {"server-ca", "user-ca", "agent-ca", "server", "agent-dev", "user-alice"}
    expected = {f"{stem}.{ending}" for stem in stems for ending in ("crt", "key")}
    assert set(os.listdir(installation.store.folder)) == expected | {DENIED, files.LOCK}


def test_every_key_is_its_owner_s_alone(installation: Installation) -> None:
    modes = {stat.S_IMODE(path.stat().st_mode) for path in installation.store.folder.glob("*.key")}
    assert modes == {0o600}
    assert stat.S_IMODE(installation.store.folder.stat().st_mode) == 0o700


def test_authorities_that_exist_are_kept(fresh: Installation) -> None:
    before = {path.name: path.read_bytes() for path in fresh.store.folder.iterdir()}
    written = fresh.store.make_authorities(utc_now())
    assert [(row.name, row.made) for row in written] == [(name, False) for name in AUTHORITIES]
    assert {path.name: path.read_bytes() for path in fresh.store.folder.iterdir()} == before


def test_a_deny_list_is_there_from_the_start_and_one_with_entries_is_kept(fresh: Installation) -> None:
    folder = fresh.store.folder
    assert read_denials(folder / DENIED) == []
    listed = DenyList(folder, interval_seconds=0.0)
    assert (listed.current().entries, listed.problem) == ((), None)
    denial = new_denial("user", "alice", utc_now())
    deny(folder, [denial])
    fresh.store.make_authorities(utc_now())
    assert [entry.id for entry in read_denials(folder / DENIED)] == [denial.id]
    assert [entry.id for entry in listed.current().entries] == [denial.id]


def test_only_the_missing_authority_is_made(fresh: Installation) -> None:
    for ending in ("crt", "key"):
        fresh.path(f"agent-ca.{ending}").unlink()
    written = fresh.store.make_authorities(utc_now())
    assert {row.name: row.made for row in written} == {"server-ca": False, "user-ca": False, "agent-ca": True}


def test_an_authority_without_its_key_is_kept_for_those_who_only_trust_it(fresh: Installation) -> None:
    fresh.path("user-ca.key").unlink()
    assert not any(row.made for row in fresh.store.make_authorities(utc_now()))
    assert not fresh.path("user-ca.key").exists()
    assert fresh.store.authority_pem("user-ca")


def test_a_key_whose_certificate_is_gone_is_not_overwritten(fresh: Installation) -> None:
    key = fresh.path("user-ca.key").read_bytes()
    fresh.path("user-ca.crt").unlink()
    with pytest.raises(CertificateProblem, match=r"user-ca\.key: its certificate user-ca\.crt is gone"):
        fresh.store.make_authorities(utc_now())
    assert fresh.path("user-ca.key").read_bytes() == key


def test_a_broken_authority_is_named_and_kept(fresh: Installation) -> None:
    fresh.path("user-ca.crt").write_bytes(b"broken")
    with pytest.raises(CertificateProblem, match=r"user-ca\.crt: is not PEM"):
        fresh.store.make_authorities(utc_now())
    assert fresh.path("user-ca.crt").read_bytes() == b"broken"


def test_nobody_else_writes_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []

    def under_lock(write: Callable[[Path, bytes, int], None], path: Path, content: bytes, mode: int) -> None:
        descriptor = os.open(path.parent / files.LOCK, os.O_RDWR)
        try:
            with pytest.raises(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(descriptor)
        written.append(path.name)
        write(path, content, mode)

    for name in ("create_file", "replace_file"):
        monkeypatch.setattr(files, name, partial(under_lock, getattr(files, name)))
    store = CertificateStore(tmp_path)
    store.make_authorities(utc_now())
    store.issue_agent("dev", lasting())
    assert len(written) == 9


def test_issuing_again_replaces_the_pair(fresh: Installation) -> None:
    before = fresh.path("user-alice.key").read_bytes()
    written = fresh.store.issue_user("alice", ["admins"], lasting())
    assert written.files.key.read_bytes() != before
    assert written.files.read().certificate.subject.rfc4514_string() == "CN=alice,O=admins"
    assert written.expires == lifetime_of(written.files.read().certificate).not_after


def test_the_user_and_the_cluster_called_ca_leave_the_authorities_alone(fresh: Installation) -> None:
    before = {name: fresh.path(f"{name}.crt").read_bytes() for name in AUTHORITIES}
    assert fresh.store.issue_user("ca", [], lasting()).files.certificate.name == "user-%63a.crt"
    assert fresh.store.issue_agent("ca", lasting()).files.certificate.name == "agent-%63a.crt"
    assert {name: fresh.path(f"{name}.crt").read_bytes() for name in AUTHORITIES} == before


def test_without_authorities_the_way_to_make_them_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        FileMissing, match=r"server-ca\.crt: there is no such file; `cluster-tunnel certs init --dir"
    ):
        CertificateStore(tmp_path).issue_server(["localhost"], lasting())


def test_a_pair_that_is_not_one_names_the_key(fresh: Installation) -> None:
    os.replace(fresh.path("agent-ca.key"), fresh.path("user-ca.key"))
    with pytest.raises(CertificateProblem, match=r"user-ca\.key: the key does not belong"):
        fresh.store.issue_user("alice", [], lasting())


def test_a_crash_between_two_files_leaves_no_authority_without_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key is linked first; what a crash leaves is told at the next start instead of being taken for an authority."""
    link = os.link

    def crash_at_certificate(source: Path, target: Path) -> None:
        if target.suffix == ".crt":
            raise OSError(5, "Input/output error")
        link(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", crash_at_certificate)
        with pytest.raises(CertificateProblem, match="Input/output error"):
            CertificateStore(tmp_path).make_authorities(utc_now())
    assert set(os.listdir(tmp_path)) == {"server-ca.key", files.LOCK}
    with pytest.raises(CertificateProblem, match=r"server-ca\.key: its certificate"):
        CertificateStore(tmp_path).make_authorities(utc_now())


def test_the_authorities_live_ten_years(tmp_path: Path) -> None:
    now = utc_now()
    for row in CertificateStore(tmp_path).make_authorities(now):
        assert row.expires == now.replace(microsecond=0) + timedelta(days=3650)


def test_what_is_issued_behind_a_revocation_begins_behind_it(fresh: Installation) -> None:
    """So that the revocation, which goes by dates, leaves it good."""
    now = utc_now()
    deny(fresh.store.folder, [new_denial("user", "alice", now), new_denial("agent", "dev", now)])
    made = [
        fresh.store.issue_user("alice", [], lasting()).files.read(),
        fresh.store.issue_agent("dev", lasting()).files.read(),
        fresh.store.user_pair("alice", [], lasting()),
    ]
    for pair in made:
        assert pair.certificate.not_valid_before_utc > now.replace(microsecond=0)
    assert fresh.store.user_pair("bob", [], lasting()).certificate.not_valid_before_utc < now


def test_nothing_is_issued_to_a_name_that_is_revoked_for_good(fresh: Installation) -> None:
    deny(fresh.store.folder, [for_good(new_denial("user", "alice", utc_now()))])
    with pytest.raises(NameDenied, match="user alice, for good"):
        fresh.store.issue_user("alice", [], lasting())
