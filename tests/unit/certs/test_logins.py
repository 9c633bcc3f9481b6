"""Certificates between two runs of kubectl, and when they are replaced."""

import fcntl
import stat
from datetime import timedelta
from pathlib import Path

import pytest

from certs.errors import CertificateProblem
from certs.lifetime import utc_now
from certs.logins import LoginCache, embedded_pair
from certs.pem import KeyPair
from certs.renewal import expiry, is_fresh, is_good, renewal_due, usable_until
from tests.unit.certs.installation import DAY, Installation

NOW = utc_now()


@pytest.fixture
def pair(installation: Installation) -> KeyPair:
    return installation.user(days=3)


def test_what_is_written_is_read_again(tmp_path: Path, pair: KeyPair) -> None:
    cache = LoginCache(tmp_path / "cache", "a way")
    with cache.locked():
        assert cache.read() is None
        cache.write(pair, NOW)
        kept = cache.read()
    assert kept is not None
    assert (kept.certificate_pem, kept.key_pem) == (pair.certificate_pem, pair.key_pem)
    (file,) = (tmp_path / "cache").glob("*.pem")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_a_way_waits_for_nobody_but_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flock = fcntl.flock
    monkeypatch.setattr(fcntl, "flock", lambda descriptor, how: flock(descriptor, how | fcntl.LOCK_NB))
    with (
        LoginCache(tmp_path, "a way").locked(),
        LoginCache(tmp_path, "another way").locked(),
        pytest.raises(CertificateProblem, match="cannot be locked"),
        LoginCache(tmp_path, "a way").locked(),
    ):
        pytest.fail("entered twice")


def test_another_way_of_signing_in_has_a_certificate_of_its_own(tmp_path: Path, pair: KeyPair) -> None:
    LoginCache(tmp_path, "a way").write(pair, NOW)
    assert LoginCache(tmp_path, "another way").read() is None


def test_what_is_broken_is_as_if_it_were_not_there(tmp_path: Path, pair: KeyPair) -> None:
    cache = LoginCache(tmp_path, "a way")
    cache.write(pair, NOW)
    (file,) = tmp_path.iterdir()
    file.write_text("x")
    assert cache.read() is None


def test_expired_certificates_of_other_ways_are_dropped(
    tmp_path: Path, pair: KeyPair, installation: Installation
) -> None:
    (tmp_path / "other.pem").write_text("not ours")
    for way, days in (("old", 1), ("broken", 1), ("young", 9)):
        with LoginCache(tmp_path, way).locked():
            LoginCache(tmp_path, way).write(installation.user(days=days), NOW)
    with LoginCache(tmp_path, "new").locked():
        LoginCache(tmp_path, "new").write(pair, NOW + 2 * DAY)
    left = [way for way in ("old", "young", "new") if LoginCache(tmp_path, way).read() is not None]
    assert left == ["young", "new"]
    assert len(list(tmp_path.glob("*.lock"))) == 2
    assert (tmp_path / "other.pem").exists()


def test_a_text_with_both_is_a_pair(pair: KeyPair) -> None:
    found = embedded_pair("VARIABLE", pair.key_pem + pair.certificate_pem)
    assert found.certificate == pair.certificate
    with pytest.raises(CertificateProblem, match="VARIABLE: holds no certificate"):
        embedded_pair("VARIABLE", pair.key_pem)


# Renewal ---------------------------------------------------------------------------------------


def test_a_certificate_is_due_when_two_thirds_of_its_life_are_over(pair: KeyPair) -> None:
    """Of its life since it was made, not since the date in it, which is five minutes earlier."""
    made = expiry(pair) - 3 * DAY
    due = renewal_due(pair)
    assert abs(due - (made + 2 * DAY)) < timedelta(minutes=1)
    assert abs(renewal_due(pair, 1 / 20) - (made + 1.85 * DAY)) < timedelta(minutes=1)
    assert (is_fresh(pair, due - timedelta(seconds=1)), is_fresh(pair, due)) == (True, False)
    assert is_good(pair, due)
    assert not is_good(pair, expiry(pair) + timedelta(seconds=1))


def test_a_life_shorter_than_the_backdating_is_not_due_at_once(installation: Installation) -> None:
    pair = installation.user(days=3 / 86400)
    assert renewal_due(pair) > utc_now()


def test_others_are_told_a_little_less_than_the_end(pair: KeyPair, installation: Installation) -> None:
    assert usable_until(pair) == expiry(pair) - timedelta(seconds=30)
    short = installation.user(days=10 / 86400)
    assert timedelta() < expiry(short) - usable_until(short) <= timedelta(seconds=1)
