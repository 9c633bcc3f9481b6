"""Files that hold keys."""

import fcntl
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
        pytest.raises(CertificateProblem, match=r"file/\.lock: cannot be opened: Not a directory"),
        files.locked_folder(path),
    ):
        pytest.fail("entered")


def test_a_folder_is_locked_for_one_at_a_time(tmp_path: Path) -> None:
    with files.locked_folder(tmp_path):
        descriptor = os.open(tmp_path / files.LOCK, os.O_RDWR)
        with pytest.raises(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(descriptor)


def test_what_is_locked_is_a_file_open_for_writing_for_which_nfs_carries_a_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked: list[tuple[bool, int]] = []

    def flock(descriptor: int, operation: int) -> None:
        access = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE
        locked.append((stat.S_ISREG(os.fstat(descriptor).st_mode), access))

    monkeypatch.setattr(fcntl, "flock", flock)
    for _ in range(2):
        with files.locked_folder(tmp_path):
            pass
    assert locked == [(True, os.O_RDWR)] * 2


def test_a_file_system_that_locks_nothing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with (
        pytest.raises(CertificateProblem, match=r"\.lock: cannot be locked: No locks available"),
        files.locked_folder(tmp_path),
    ):
        pytest.fail("entered")


# Two users -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("folder_mode", "lock_mode"), [(0o700, 0o600), (0o770, 0o660), (0o755, 0o644)])
def test_whoever_may_write_to_a_folder_may_wait_for_it(
    tmp_path: Path, folder_mode: int, lock_mode: int
) -> None:
    tmp_path.chmod(folder_mode)
    old = os.umask(0o077)
    try:
        with files.locked_folder(tmp_path):
            assert mode(tmp_path / files.LOCK) == lock_mode
    finally:
        os.umask(old)


@pytest.mark.parametrize("write", [files.create_file, files.replace_file])
def test_what_others_are_to_read_they_can_read_whatever_the_umask(write: object, tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        write(tmp_path / "list", b"public", files.PUBLIC)  # type: ignore[operator]
    finally:
        os.umask(old)
    assert mode(tmp_path / "list") == 0o644


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """To whom files were given, by somebody else than who runs the test."""
    given: list[tuple[int, int]] = []
    fstat = os.fstat

    def of_another(descriptor: int) -> os.stat_result:
        found = list(fstat(descriptor))
        found[stat.ST_UID] += 1
        return os.stat_result(found)

    monkeypatch.setattr(os, "fstat", of_another)
    monkeypatch.setattr(os, "fchown", lambda _, user, group: given.append((user, group)))
    return given


def test_a_file_stays_its_owner_s_when_another_user_replaces_it(
    tmp_path: Path, given: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else `token create` by root would lock the stub out of its join tokens."""
    path = tmp_path / "tokens"
    owner = tmp_path.stat()
    files.replace_file(path, b"new", files.PRIVATE)
    assert given == [(owner.st_uid, owner.st_gid)], "a new file is the folder's owner's"
    lstat = Path.lstat

    def of_the_stub(own: Path) -> os.stat_result:
        found = list(lstat(own))
        found[stat.ST_UID], found[stat.ST_GID] = 65532, 65533
        return os.stat_result(found)

    monkeypatch.setattr(Path, "lstat", of_the_stub)
    files.replace_file(path, b"next", files.PRIVATE)
    assert given[1:] == [(65532, 65533)]
    tmp_path.chmod(0o1777)
    files.replace_file(path, b"last", files.PRIVATE)
    assert given[2:] == [(owner.st_uid, owner.st_gid)], "anybody may have put the one before there"


def test_a_lock_that_another_user_made_is_the_folder_s_owner_s(
    tmp_path: Path, given: list[tuple[int, int]]
) -> None:
    for _ in range(2):
        with files.locked_folder(tmp_path):
            assert given == [(tmp_path.stat().st_uid, tmp_path.stat().st_gid)]


def test_who_may_not_give_a_file_away_keeps_it(
    tmp_path: Path, given: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", refuse)
    files.replace_file(tmp_path / "key", b"secret", files.PRIVATE)
    assert (tmp_path / "key").read_bytes() == b"secret"
