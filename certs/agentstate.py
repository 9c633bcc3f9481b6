"""What an agent that joined keeps in its state folder.

agent.pem        its certificate and key, in one file so that no crash leaves one of them beside another's
server-ca.crt    whom it trusts as the stub
joined-by        the name of the token with which it joined last, and nothing of what makes it good
agent.key.new    a key whose certificate has not come yet; another try uses it again, and so the same use of the token
"""

from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from certs import files
from certs.csr import make_key, make_request, private_pem
from certs.errors import CertificateProblem, FileMissing
from certs.pem import KeyPair, PemFile, read_bounded, read_key, read_pair
from certs.signed import Signed

PAIR: Final = "agent.pem"
AUTHORITY: Final = "server-ca.crt"
NEW_KEY: Final = "agent.key.new"
JOINED_BY: Final = "joined-by"


class AgentState:
    """See the module.

    Args:
        folder: made where it is missing.

    Raises:
        CertificateProblem: it cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        files.make_folder(folder)
        self.pair_path = folder / PAIR
        self.authority_path = folder / AUTHORITY
        self._key_path = folder / NEW_KEY
        self._token_path = folder / JOINED_BY

    def pair(self) -> KeyPair | None:
        """Return the certificate and its key, or None where there is none yet.

        Raises:
            CertificateProblem: the file is there and broken.
        """
        source = PemFile(self.pair_path)
        try:
            return read_pair(source, source)
        except FileMissing:
            return None

    def token_id(self) -> str | None:
        """Return the name of the token with which the agent joined last, or None where that is not known.

        Raises:
            CertificateProblem: the file is there and cannot be read.
        """
        try:
            return read_bounded(self._token_path).decode("ascii", errors="replace").strip()
        except FileMissing:
            return None

    def remember_token(self, id: str) -> None:
        """Keep the name of the token with which the agent has just joined. Raises CertificateProblem."""
        files.replace_file(self._token_path, id.encode() + b"\n", files.PRIVATE)

    def request(self) -> tuple[bytes, bytes]:
        """Return the key for the next certificate and the request for it, both PEM; the key is on disk already.

        Raises:
            CertificateProblem: the folder cannot be written.
        """
        try:
            key = read_key(PemFile(self._key_path))
        except CertificateProblem:
            key = make_key()
            files.replace_file(self._key_path, private_pem(key), files.PRIVATE)
        return private_pem(key), make_request(key)

    def keep(self, signed: Signed, key_pem: bytes) -> datetime:
        """Keep a certificate that came for a key; return when it expires.

        Raises:
            CertificateProblem: it does not belong to the key, or the folder cannot be written.
        """
        expires = signed.check(key_pem)
        files.replace_file(self.authority_path, signed.authority, files.PUBLIC)
        files.replace_file(self.pair_path, signed.certificate + key_pem, files.PRIVATE)
        with suppress(FileNotFoundError):
            self._key_path.unlink()
        return expires
