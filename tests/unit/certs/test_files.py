"""Files that hold keys."""

import os
import stat
from pathlib import Path

import pytest

from certs import files
from certs.errors import CertificateProblem


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("write", [files.create_file, files.replace_file])
def test_a_key_is_never_open_to_others_for_an_instant(
    write: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[int] = []
    fsync = os.fsync

    def look(descriptor: int) -> None:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    old = os.umask(0)
    try:
        write(tmp_path / "key", b"secret", files.PRIVATE)  # type: ignore[operator]
    finally:
        os.umask(old)
    assert modes == [0o600]
    assert mode(tmp_path / "key") == 0o600


def test_an_existing_file_is_not_created_again(tmp_path: Path) -> None:
    files.create_file(tmp_path / "key", b"first", files.PRIVATE)
    with pytest.raises(CertificateProblem, match="key: exists already"):
        files.create_file(tmp_path / "key", b"second", files.PRIVATE)
    assert (tmp_path / "key").read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["key"]


def test_replacing_leaves_old_or_new_and_nothing_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "key"
    files.replace_file(path, b"old", files.PRIVATE)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(CertificateProblem, match="key: cannot be written: No space left"):
            files.replace_file(path, b"new", files.PRIVATE)
    assert path.read_bytes() == b"old"
    files.replace_file(path, b"new", files.PRIVATE)
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["key"]


def test_a_power_cut_forgets_neither_content_nor_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    fsync, path = os.fsync, tmp_path / "key"

    def look(descriptor: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        synced.append("folder" if is_folder else "file")
        assert path.exists() == is_folder  # the content is safe before it has its name
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    files.replace_file(path, b"secret", files.PRIVATE)
    assert synced == ["file", "folder"]


def test_a_replaced_file_gets_the_mode_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.touch(mode=0o644)
    files.replace_file(path, b"secret", files.PRIVATE)
    assert mode(path) == 0o600


def test_a_folder_is_made_with_its_parents_and_is_its_owner_s_alone(tmp_path: Path) -> None:
    files.make_folder(tmp_path / "a" / "b")
    assert mode(tmp_path / "a" / "b") == 0o700
    files.make_folder(tmp_path / "a" / "b")


def test_what_is_no_folder_is_named(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(CertificateProblem, match="file: is not a folder"):
        files.make_folder(path)
    with pytest.raises(CertificateProblem, match="file: is not a folder"):
        files.make_folder(path / "inside")
    with pytest.raises(CertificateProblem, match="deep/inside: cannot be made: Not a directory"):
        files.make_folder(path / "deep" / "inside")
    with (
        pytest.raises(CertificateProblem, match="file: cannot be opened as a folder"),
        files.locked_folder(path),
    ):
        pytest.fail("entered")


def test_a_folder_is_locked_for_one_at_a_time(tmp_path: Path) -> None:
    import fcntl

    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        with files.locked_folder(tmp_path), pytest.raises(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(descriptor)
