"""Which names may stand in certificates, and what their files are called.

All checks raise ValueError with a text that quotes the name and says what would be right.
"""

import ipaddress
import re
from collections.abc import Iterable
from typing import Final, Literal
from urllib.parse import quote

AuthorityName = Literal["server-ca", "user-ca", "agent-ca"]
AUTHORITIES: Final[tuple[AuthorityName, ...]] = ("server-ca", "user-ca", "agent-ca")
SERVER: Final = "server"

AGENT_URI: Final = "cluster-tunnel://agent/"
"""In front of the cluster id in an agent certificate's URI SAN."""

CLUSTER_URI: Final = "cluster-tunnel://cluster/"
"""In front of the cluster's own UID in the certificate of an agent that joined: a copied key says where it came from."""

LOGIN_URI: Final = "cluster-tunnel://login/"
"""In front of the POSIX second until which a user's certificate may renew itself."""

ISSUED_NAME_LENGTH: Final = 64
"""X.520's upper bound for a common name, and for an organization; OpenSSL's own tools refuse to issue more."""

READ_NAME_LENGTH: Final = 1024
"""An operator's own authority may ignore X.520: groups that are LDAP names reach 300 characters."""

FILE_NAME_LENGTH: Final = 200
"""File systems take 255 bytes; the rest is for the ending and a temporary file's suffix."""

_CLUSTER: Final = re.compile(r"[a-z0-9-]{1,63}\Z")
_UID: Final = re.compile(r"[A-Za-z0-9-]{1,64}\Z")
_DNS_LABEL: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\Z", re.IGNORECASE | re.ASCII)
_SAFE_IN_FILE_NAMES: Final = "@+"

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def check_cluster(text: str) -> str:
    """Return `text` if it is a cluster id."""
    if not _CLUSTER.match(text):
        raise ValueError(f"{text!r} is not a cluster id: one to 63 of a-z, 0-9 and '-'")
    return text


def check_uid(text: str) -> str:
    """Return `text` if it can be the UID that a cluster gave its namespace kube-system."""
    if not _UID.match(text):
        raise ValueError(f"{text[:70]!r} is not a cluster's UID: one to 64 letters, digits and '-'")
    return text


def check_user(text: str, longest: int = ISSUED_NAME_LENGTH) -> str:
    """Return `text` if it can be a user's common name of at most `longest` characters."""
    return _check_name(text, "user name", longest)


def check_groups(texts: Iterable[str], longest: int = ISSUED_NAME_LENGTH) -> tuple[str, ...]:
    """Return the groups in order, each once, if all can be organizations of at most `longest` characters."""
    return tuple(dict.fromkeys(_check_name(text, "group", longest) for text in texts))


def _check_name(text: str, what: str, longest: int) -> str:
    if not text:
        raise ValueError(f"a {what} must not be empty")
    if text != text.strip():
        raise ValueError(f"{text!r} is not a {what}: it has white space at its start or end")
    if len(text) > longest:
        raise ValueError(f"{text[:20] + '…'!r} is not a {what}: longer than {longest} characters")
    if not text.isprintable():
        raise ValueError(f"{text!r} is not a {what}: it has a character that cannot be printed")
    return text


def is_reserved(name: str) -> bool:
    """Whether Kubernetes keeps the user or group name for itself, so that stub and agent refuse it unless it is listed."""
    return name.startswith("system:")


def parse_host(text: str) -> str | IPAddress:
    """Return what a server certificate is to be valid for: an IP address, a DNS name, or `*.` and a DNS name."""
    try:
        return ipaddress.ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        return _parse_dns_name(text)


def _parse_dns_name(text: str) -> str:
    labels = text.removesuffix(".").split(".")
    wildcard = labels[0] == "*"
    if wildcard and len(labels) < 3:
        raise ValueError(f"{text!r} is not a host: no client accepts '*' before fewer than two labels")
    if len(text) > 253 or not all(_DNS_LABEL.match(label) for label in labels[wildcard:]):
        raise ValueError(
            f"{text!r} is not a host: give a DNS name, *.NAME or an IP address, without scheme and port"
        )
    return ".".join(labels).lower()


def agent_stem(cluster: str) -> str:
    """Return the name, without its ending, of the files of a cluster's agent."""
    return _stem("agent", check_cluster(cluster))


def user_stem(user: str) -> str:
    """Return the name, without its ending, of the files of a user.

    Raises:
        ValueError: the name is no user name, or too long for a file name once it is percent-encoded.
    """
    stem = _stem("user", check_user(user))
    if len(stem) > FILE_NAME_LENGTH:
        raise ValueError(
            f"{user!r} is too long for a file name: `cluster-tunnel kubeconfig` needs none for its certificate"
        )
    return stem


def _stem(kind: str, name: str) -> str:
    stem = f"{kind}-{quote(name, safe=_SAFE_IN_FILE_NAMES)}"
    if stem in AUTHORITIES:
        # The cluster `ca` and the user `ca` would own the authority's files.
        return f"{kind}-%{ord(name[0]):02X}{name[1:]}"
    return stem
