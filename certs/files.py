"""Writing files that hold keys: never readable by others for an instant, never half written, never lost by a crash."""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from certs.errors import CertificateProblem

PRIVATE: Final = 0o600
PUBLIC: Final = 0o644
PRIVATE_FOLDER: Final = 0o700


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
    """Keep other commands from writing to the folder at the same time; waits for one that does."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise CertificateProblem(f"{path}: cannot be opened as a folder: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


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
            _write_new(temporary, content, mode)
            yield temporary
        finally:
            with suppress(FileNotFoundError):  # os.replace has moved it
                temporary.unlink()
        _sync_folder(path.parent)
    except FileExistsError:
        raise CertificateProblem(f"{path}: exists already and is not overwritten") from None
    except OSError as error:
        raise CertificateProblem(f"{path}: cannot be written: {error.strerror}") from None


def _write_new(path: Path, content: bytes, mode: int) -> None:
    # The mode is given at the making: a chmod afterwards would leave a moment in which the key could be opened.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    # Without this a power cut may forget the name of a file whose content is safe.
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
