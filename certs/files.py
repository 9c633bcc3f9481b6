"""Writing files that hold keys: never readable by others for an instant, never half written, never lost by a crash."""

import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from certs.errors import CertificateProblem

PRIVATE: Final = 0o600
PUBLIC: Final = 0o644
PRIVATE_FOLDER: Final = 0o700
LOCK: Final = ".lock"
"""The file in a folder by which those who write there wait for each other; it stays, and is always empty."""


def make_folder(path: Path) -> None:
    """Make a folder that only its owner may enter, with its parents; one that exists stays as it is.

    Raises:
        CertificateProblem: it cannot be made, or something else has its name.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
    except FileExistsError as error:
        raise CertificateProblem(f"{error.filename}: is not a folder") from None
    except OSError as error:
        raise CertificateProblem(f"{path}: cannot be made: {error.strerror}") from None


@contextmanager
def locked_folder(path: Path) -> Iterator[None]:
    """Keep other commands from writing to the folder at the same time, on other machines that share it too; waits for one
    that does.

    Raises:
        CertificateProblem: it is no folder, or cannot be written to.
    """
    with locked(path / LOCK):
        yield


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock that a file stands for, which is made where it is missing; waits for who holds it.

    Raises:
        CertificateProblem: it cannot be made, or not be locked.
    """
    # A regular file, open for writing: NFS carries flock from one machine to another for no other (flock(2)).
    try:
        descriptor = _open_lock(path)
    except OSError as error:
        raise CertificateProblem(f"{path}: cannot be opened: {error.strerror}") from None
    try:
        _lock(descriptor, path)
        yield
    finally:
        os.close(descriptor)


def _open_lock(path: Path) -> int:
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, flags)
    except FileNotFoundError:
        descriptor = os.open(path, flags | os.O_CREAT, PRIVATE)
    # Whoever may write to the folder must be able to wait, although another user came first.
    folder = path.parent.stat()
    with suppress(PermissionError):  # another user has made it at the same moment
        os.fchmod(descriptor, PRIVATE | stat.S_IMODE(folder.st_mode) & 0o666)
    _give_to(descriptor, folder)
    return descriptor


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        raise CertificateProblem(f"{path}: cannot be locked: {error.strerror}") from None


def create_file(path: Path, content: bytes, mode: int) -> None:
    """Write a file that must not exist yet.

    Raises:
        CertificateProblem: it exists, or cannot be written.
    """
    with _written_beside(path, content, mode) as temporary:
        # Unlike rename, link refuses to replace what somebody else has made in the meantime.
        os.link(temporary, path)


def replace_file(path: Path, content: bytes, mode: int) -> None:
    """Write a file, or replace it in one step: a reader sees the old content or the new, and a crash leaves one of them.

    Raises:
        CertificateProblem: it cannot be written; what was there is untouched.
    """
    with _written_beside(path, content, mode) as temporary:
        os.replace(temporary, path)


@contextmanager
def _written_beside(path: Path, content: bytes, mode: int) -> Iterator[Path]:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        try:
            _write_new(temporary, content, mode, _owner_of(path))
            yield temporary
        finally:
            with suppress(FileNotFoundError):  # os.replace has moved it
                temporary.unlink()
        _sync_folder(path.parent)
    except FileExistsError:
        raise CertificateProblem(f"{path}: exists already and is not overwritten") from None
    except OSError as error:
        raise CertificateProblem(f"{path}: cannot be written: {error.strerror}") from None


def _write_new(path: Path, content: bytes, mode: int, owner: os.stat_result) -> None:
    # The mode is given at the making: a chmod afterwards would leave a moment in which the key could be opened. What the
    # process's umask takes away is given back: who revokes and the stub that must read it may be two users.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        _give_to(descriptor, owner)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _owner_of(path: Path) -> os.stat_result:
    """Whose a file is to be: who had the one before, else who has the folder. Root would lock a stub out of its own files."""
    folder = path.parent.stat()
    if folder.st_mode & stat.S_ISVTX:
        # As /tmp: anybody may have put the file there.
        return folder
    try:
        return path.lstat()
    except FileNotFoundError:
        return folder


def _give_to(descriptor: int, owner: os.stat_result) -> None:
    own = os.fstat(descriptor)
    if (own.st_uid, own.st_gid) != (owner.st_uid, owner.st_gid):
        with suppress(PermissionError):  # only root gives files away
            os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _sync_folder(path: Path) -> None:
    # Without this a power cut may forget the name of a file whose content is safe.
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
