"""What a stub that issues has in its folder."""

import pytest

from certs import followed
from certs.errors import CertificateProblem
from certs.signer import OwnAuthority, Signer
from tests.unit.certs.installation import Installation


@pytest.fixture(autouse=True)
def _look_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followed.Followed.__init__, "__defaults__", (0.0,))


def test_a_stub_without_the_key_signs_nothing_until_the_key_comes(fresh: Installation) -> None:
    key = fresh.path("agent-ca.key")
    content = key.read_bytes()
    key.unlink()
    signer = Signer(fresh.store.folder, "agent-ca")
    assert signer.authority() is None
    key.write_bytes(content)
    authority = signer.authority()
    assert authority is not None
    assert authority.certificate == fresh.store.authority("agent-ca").certificate


def test_a_new_authority_signs_without_a_restart(fresh: Installation) -> None:
    signer = Signer(fresh.store.folder, "user-ca")
    old = signer.authority()
    for ending in ("crt", "key"):
        fresh.path(f"user-ca.{ending}").write_bytes(fresh.path(f"agent-ca.{ending}").read_bytes())
    assert signer.authority() != old


def test_a_key_of_another_authority_is_an_error_at_the_start(fresh: Installation) -> None:
    fresh.path("user-ca.key").write_bytes(fresh.path("agent-ca.key").read_bytes())
    with pytest.raises(CertificateProblem, match="does not belong"):
        Signer(fresh.store.folder, "user-ca")


def test_who_signed_the_stub_is_told_where_the_folder_says_it(fresh: Installation) -> None:
    path = fresh.path("server-ca.crt")
    own = OwnAuthority(fresh.store.folder)
    assert own.pem() == path.read_bytes()
    path.unlink()
    assert OwnAuthority(fresh.store.folder).pem() is None
