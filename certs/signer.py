"""What a stub that issues certificates has in its folder: the key of an authority, and the authority of its own certificate."""

import time
from pathlib import Path

from certs.authority import Authority
from certs.errors import FileMissing
from certs.followed import Followed
from certs.names import AuthorityName
from certs.pem import PemFile, read_certificates
from certs.store import CertificateStore


class Signer:
    """An authority to sign with, where its key is; followed as its files change.

    Args:
        folder: of the authorities.
        name: `user-ca` or `agent-ca`.

    Raises:
        CertificateProblem: its files are there and cannot be used.
    """

    def __init__(self, folder: Path, name: AuthorityName) -> None:
        store = CertificateStore(folder)
        paths = store.files(name)

        def read() -> Authority | None:
            try:
                return store.authority(name)
            except FileMissing:
                return None

        self.name = name
        self._file = Followed(f"the key of {name}", [paths.certificate, paths.key], read)

    def authority(self) -> Authority | None:
        """Return the authority, or None where this stub does not have its key."""
        return self._file.current(time.monotonic())


class OwnAuthority:
    """The authority behind the stub's own certificate, PEM, as whoever gets a certificate is told whom to trust.

    Args:
        folder: of the authorities.

    Raises:
        CertificateProblem: `server-ca.crt` is there and cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        source = PemFile(folder / "server-ca.crt")

        def read() -> bytes | None:
            try:
                read_certificates(source)
                return source.read()
            except FileMissing:
                return None

        self._file = Followed("the stub's authority", [source.path], read)

    def pem(self) -> bytes | None:
        """Return it, or None where the folder does not have it."""
        return self._file.current(time.monotonic())
