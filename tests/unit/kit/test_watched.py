"""Files that are replaced while the process runs."""

from pathlib import Path

import pytest

from tunnel.kit.watched import MAX_BYTES, WatchedFiles


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A mounted Secret: `token` is a link into the folder that the link `..data` names."""
    for version in ("v1", "v2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "token").write_text(version)
    (tmp_path / "..data").symlink_to("v1")
    (tmp_path / "token").symlink_to("..data/token")
    return tmp_path


def swap(secret: Path, version: str) -> None:
    (secret / "..tmp").symlink_to(version)
    (secret / "..tmp").rename(secret / "..data")


def test_the_swap_of_a_secrets_links_is_seen(secret: Path) -> None:
    watched = WatchedFiles([secret / "token"], 10.0)
    assert watched.check(0.0) == (b"v1",)
    watched.accept((b"v1",))
    assert watched.check(10.0) is None
    swap(secret, "v2")
    assert watched.check(20.0) == (b"v2",)


def test_files_are_looked_at_no_more_often_than_the_interval(secret: Path) -> None:
    watched = WatchedFiles([secret / "token"], 10.0)
    watched.check(5.0)
    assert watched.check(14.9) is None
    assert watched.check(15.0) == (b"v1",)


def test_contents_that_were_not_accepted_come_again(secret: Path) -> None:
    watched = WatchedFiles([secret / "token"], 1.0)
    assert watched.check(0.0) == watched.check(1.0) == (b"v1",)


def test_files_that_belong_together_come_together(tmp_path: Path) -> None:
    cert, key = tmp_path / "cert", tmp_path / "key"
    cert.write_text("c1")
    key.write_text("k1")
    watched = WatchedFiles([cert, key], 1.0)
    watched.accept((b"c1", b"k1"))
    key.write_text("k2")
    assert watched.check(0.0) == (b"c1", b"k2")


def test_a_file_that_went_away_leaves_a_problem_and_what_was_accepted(secret: Path) -> None:
    watched = WatchedFiles([secret / "token"], 1.0)
    (secret / "token").unlink()
    assert watched.check(0.0) is None
    assert watched.problem == f"{secret / 'token'}: No such file or directory"
    (secret / "token").write_text("back")
    assert watched.check(1.0) == (b"back",)
    assert watched.problem is None


def test_a_file_that_cannot_be_a_secret_is_not_read_whole(tmp_path: Path) -> None:
    big = tmp_path / "big"
    big.write_bytes(bytes(MAX_BYTES + 1))
    watched = WatchedFiles([big], 1.0)
    assert watched.check(0.0) is None
    assert watched.problem == f"{big}: is larger than 1 MiB"
