"""The certificates with which a user is signed in, kept between two runs of kubectl."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from certs import files
from certs.errors import CertificateProblem
from certs.pem import KeyPair, PemFile, PemText, read_pair
from certs.renewal import is_good

_NAME: Final = "login-{}.pem"
_LOCK: Final = ".lock"


class LoginCache:
    """A folder with a file of mode 0600 for each way of signing in.

    Args:
        folder: made where it is missing.
        way: everything that distinguishes this sign-in: the stub, whom to trust, where the first certificate comes from.
    """

    def __init__(self, folder: Path, way: str) -> None:
        self._folder = folder
        self._path = folder / _NAME.format(hashlib.sha256(way.encode()).hexdigest()[:32])
        self._lock = self._path.with_suffix(_LOCK)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Wait for another process that signs in the same way; a dozen kubectls that start together ask the stub once. Other
        ways go on: a command may wait for minutes until a person has signed in.

        Raises:
            CertificateProblem: the folder cannot be made, or the lock not be had.
        """
        files.make_folder(self._folder)
        with files.locked(self._lock):
            yield

    def read(self) -> KeyPair | None:
        """Return what is kept, or None where there is nothing that can be used."""
        source = PemFile(self._path)
        try:
            return read_pair(source, source)
        except CertificateProblem:
            return None

    def write(self, pair: KeyPair, now: datetime) -> None:
        """Keep a certificate, and drop those of other sign-ins that have expired. Raises CertificateProblem."""
        # One file for both, so that no crash leaves a key beside another key's certificate.
        files.replace_file(self._path, pair.certificate_pem + pair.key_pem, files.PRIVATE)
        for path in self._folder.glob(_NAME.format("*")):
            if path != self._path and _is_over(path, now):
                _drop(path)


def embedded_pair(name: str, text: bytes) -> KeyPair:
    """Return the pair in one PEM text. Raises CertificateProblem; `name` says where the text stood."""
    source = PemText(name, text)
    return read_pair(source, source)


def _drop(path: Path) -> None:
    # The lock of somebody who signs in right now goes as well: then two may ask the stub at once, and no more.
    for each in (path, path.with_suffix(_LOCK)):
        with suppress(FileNotFoundError):
            each.unlink()


def _is_over(path: Path, now: datetime) -> bool:
    source = PemFile(path)
    try:
        return not is_good(read_pair(source, source), now)
    except CertificateProblem:
        return True
