"""The cluster's own credential, as fields for the upstream request. It never leaves the cluster's side of the tunnel."""

import base64
from pathlib import Path
from typing import Final, Protocol

from tunnel.core.http.message import Field
from tunnel.kit.failures import CommandFailed
from tunnel.kit.watched import WatchedFiles

REREAD_SECONDS: Final = 10.0
"""How old a token may be that is sent. The kubelet replaces projected ones at 80 % of their life, an hour by default."""

_TOKEN_BYTES: Final = bytes(range(0x21, 0x7F))
"""More than RFC 6750 2.1 allows, because some tokens have a `:`; without white space and line breaks, which would become a
field of its own."""


class Credential(Protocol):
    """What the agent proves itself with."""

    can_renew: bool
    """Whether `renew` may find another one."""

    def fields(self, now: float) -> list[Field]:
        """Return the fields to send, at a monotonic time in seconds."""

    async def renew(self) -> None:
        """The apiserver answered 401: get a newer one if there is one."""


class NoToken:
    """The TLS client certificate is the credential."""

    can_renew = False

    def fields(self, now: float) -> list[Field]:
        return []

    async def renew(self) -> None:
        """There is none."""


class StaticToken:
    """A bearer token that does not change.

    Raises:
        CommandFailed: it holds what no token may.
    """

    can_renew = False

    def __init__(self, token: str) -> None:
        if not is_token(token.encode()):
            raise CommandFailed("the bearer token is empty, or holds white space or a control character")
        self._fields = [bearer(token.encode())]

    def fields(self, now: float) -> list[Field]:
        return self._fields

    async def renew(self) -> None:
        """There is none."""


class BasicPassword(StaticToken):
    """A user name and a password."""

    def __init__(self, username: str, password: str) -> None:
        pair = base64.b64encode(f"{username}:{password}".encode())
        self._fields = [(b"Authorization", b"Basic " + pair)]


class TokenFile:
    """A bearer token in a file that somebody replaces from time to time.

    Args:
        path: the file.

    Raises:
        CommandFailed: it cannot be read, or holds no token.
    """

    can_renew = True

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = WatchedFiles([path], REREAD_SECONDS)
        self._fields: list[Field] = []
        self._read(self._file.check(0.0))
        if not self._fields:
            raise CommandFailed(self._file.problem or f"{path}: holds no bearer token")

    def fields(self, now: float) -> list[Field]:
        self._read(self._file.check(now))
        return self._fields

    async def renew(self) -> None:
        self._read(self._file.look())

    def _read(self, contents: tuple[bytes, ...] | None) -> None:
        if contents is None:
            return
        token = contents[0].strip()
        if is_token(token):
            self._file.accept(contents)
            self._fields = [bearer(token)]


def is_token(token: bytes) -> bool:
    """Whether `token` can be sent as a bearer token."""
    return bool(token) and not token.translate(None, _TOKEN_BYTES)


def bearer(token: bytes) -> Field:
    """Return a token as a field."""
    return (b"Authorization", b"Bearer " + token)
