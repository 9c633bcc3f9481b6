"""Authorities of users with which somebody else issues: which files, and what goes in front of their names."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from certs.names import is_reserved

PREFIX_LENGTH: Final = 64


@dataclass(frozen=True, slots=True)
class UserAuthority:
    """An authority of users that somebody else issues with.

    Attributes:
        path: its certificates, PEM.
        prefix: in front of its users' and groups' names.
    """

    path: Path
    prefix: str = ""


def parse_user_authority(text: str) -> UserAuthority:
    """Return what `FILE` or `PREFIX=FILE` says.

    Raises:
        ValueError: there is no such file, or the prefix could make a name that Kubernetes reserves.
    """
    prefix, equals, name = text.rpartition("=")
    path = Path(name).expanduser()
    if not path.is_file():
        raise ValueError(f"{text!r} is not FILE or PREFIX=FILE: there is no file {name!r}")
    if equals and not prefix:
        raise ValueError(f"{text!r} has an empty prefix: leave the '=' out")
    if not prefix.isprintable() or prefix != prefix.strip() or len(prefix) > PREFIX_LENGTH:
        raise ValueError(f"{prefix!r} is not a prefix: up to {PREFIX_LENGTH} printable characters")
    if is_reserved(prefix.lower()):
        raise ValueError(f"{prefix!r} is not a prefix: Kubernetes reserves names that begin with 'system:'")
    return UserAuthority(path, prefix)


def write_user_authority(authority: UserAuthority) -> str:
    """Return the text that `parse_user_authority` would read."""
    return f"{authority.prefix}={authority.path}" if authority.prefix else str(authority.path)
