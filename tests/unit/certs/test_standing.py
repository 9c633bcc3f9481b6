"""Whether certificates still stand, for each request and for what is open."""

import time
from dataclasses import replace

import pytest

from certs.authority import make_authority
from certs.denied import DenyList, deny, new_denial
from certs.lifetime import utc_now
from certs.standing import Standing
from certs.trust import Trust
from tests.unit.certs.installation import Installation, der, lasting


@pytest.fixture
def standing(fresh: Installation) -> Standing:
    trust = Trust(fresh.path("user-ca.crt"), fresh.path("agent-ca.crt"), interval_seconds=0.0)
    return Standing(trust, DenyList(fresh.store.folder, interval_seconds=0.0))


def test_a_certificate_stands_until_it_expires(
    fresh: Installation, standing: Standing, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = standing.read(der(fresh.user()))
    assert standing.problem(peer) is None
    monkeypatch.setattr(time, "time", lambda: peer.not_after + 7200)
    assert standing.problem(peer) == peer.problem_at(peer.not_after + 7200)
    assert "expired 2 h ago" in (standing.problem(peer) or "")


def test_a_certificate_stands_until_it_is_revoked(fresh: Installation, standing: Standing) -> None:
    peer = standing.read(der(fresh.user()))
    deny(fresh.store.folder, [new_denial("user", "alice", utc_now())])
    assert "was revoked" in (standing.problem(peer) or "")


def test_a_certificate_stands_until_its_authority_is_taken_away(
    fresh: Installation, standing: Standing
) -> None:
    peer = standing.read(der(fresh.user()))
    fresh.path("user-ca.crt").write_bytes(make_authority("user-ca", lasting()).certificate_pem)
    assert standing.problem(peer) == "the authority of the client certificate is no longer trusted here"


def test_a_certificate_that_nobody_trusted_signed_never_stands(
    fresh: Installation, standing: Standing, installation: Installation
) -> None:
    assert standing.problem(standing.read(der(installation.user()))) is not None


def test_running_out_is_told_from_being_revoked(fresh: Installation, standing: Standing) -> None:
    peer = standing.read(der(fresh.user(days=-1)))
    assert standing.problem(peer) is not None
    assert standing.revocation(peer) is None
    deny(fresh.store.folder, [new_denial("user", "alice", utc_now())])
    assert "was revoked" in (standing.revocation(peer) or "")


def test_a_sweep_names_whom_to_cut_and_why(fresh: Installation, standing: Standing) -> None:
    alice, bob = (standing.read(der(fresh.user(name))) for name in ("alice", "bob"))
    late = replace(bob, fingerprint="late", not_after=time.time() - 60)
    agent = standing.read(der(fresh.store.files("agent-dev").read()))
    deny(fresh.store.folder, [new_denial("user", "alice", utc_now()), new_denial("agent", "dev", utc_now())])
    holders = [("a watch", alice), ("an exec", bob), ("another", alice), ("logs", late), ("a session", agent)]
    reasons = dict(standing.sweep(holders))
    assert list(reasons) == ["a watch", "another", "logs", "a session"]
    assert "was revoked" in reasons["a watch"]
    assert "expired 1 min ago" in reasons["logs"]


def test_files_that_cannot_be_used_are_told(fresh: Installation, standing: Standing) -> None:
    assert standing.faults == []
    peer = standing.read(der(fresh.user()))
    fresh.path("user-ca.crt").write_text("x")
    fresh.path("denied.json").write_text("x")
    assert standing.problem(peer) is None
    assert [fault.split(": ")[0] for fault in standing.faults] == [
        str(fresh.path("user-ca.crt")),
        str(fresh.path("denied.json")),
    ]


def test_a_look_at_a_certificate_that_stands_is_cheap_enough_for_each_request(
    fresh: Installation,
) -> None:
    """No file is opened between two looks."""
    trust = Trust(fresh.path("user-ca.crt"), fresh.path("agent-ca.crt"))
    standing = Standing(trust, DenyList(fresh.store.folder, interval_seconds=60.0))
    peer = standing.read(der(fresh.user()))
    assert standing.problem(peer) is None
    for name in ("user-ca.crt", "agent-ca.crt"):
        fresh.path(name).unlink()
    assert standing.problem(peer) is None
    assert standing.faults == []
