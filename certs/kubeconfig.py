"""Writing kubeconfigs: one that gives a user one cluster through the stub, alone or merged into an existing file.

Merging keeps all that is in the file except comments, which `kubectl config` loses as well.
"""

import base64
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from yaml.nodes import MappingNode, ScalarNode

from certs import files, nodes
from certs.errors import CertificateProblem
from certs.names import check_cluster
from certs.pem import KeyPair, read_bounded
from certs.upstream import EXEC_VERSIONS

_TRUST_KEYS: Final = ("certificate-authority", "insecure-skip-tls-verify")
"""What a cluster's entry must not keep beside the embedded authority."""


LOGIN_CERTIFICATE: Final = "CTUN_LOGIN_CERTIFICATE"
"""The variable in which an exec entry holds the first certificate with its key, PEM in base64. An argument would be in every list
of processes."""

_INSTALL_HINT: Final = (
    "this cluster is reached with `cluster-tunnel login`; install cluster-tunnel and put it on the PATH"
)


@dataclass(frozen=True, slots=True)
class LoginPlugin:
    """`cluster-tunnel login` as where a kubeconfig's user gets its certificate from.

    Attributes:
        arguments: behind `login`.
        first: the certificate to begin with, which renews itself; None where another sign-in comes first.
        interactive: whether a person may be asked.
    """

    arguments: tuple[str, ...] = ()
    first: KeyPair | None = None
    interactive: bool = False


@dataclass(frozen=True, slots=True)
class Access:
    """What a kubeconfig gives its user.

    Attributes:
        context: the name of the context, and of its cluster and user behind a prefix of ours.
        server: the URL to call, complete.
        authority_pem: whom to trust as the stub.
        credential: the user's certificate and key, or what gets them.
    """

    context: str
    server: str
    authority_pem: bytes
    credential: KeyPair | LoginPlugin

    @property
    def entry(self) -> str:
        """The name of the cluster's and of the user's entry."""
        return f"cluster-tunnel-{self.context}"


Outcome = Literal["made", "added", "replaced"]


def server_url(url: str, cluster: str, *, default: bool = False) -> str:
    """Return the URL under which a stub serves a cluster.

    `/clusters/ID` is appended unless the URL has a path, its host starts with `ID.`, or `default` says that the stub serves
    this cluster without being asked for one.

    Raises:
        ValueError: `url` is no https URL of a host, or `cluster` no cluster id.
    """
    check_cluster(cluster)
    try:
        parts = urlsplit(url)
        usable = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.username is not None or parts.query or parts.fragment:
        raise ValueError(f"{url!r} is not the URL of a stub: give one such as https://stub.example.com:8443")
    bare = url.rstrip("/")
    if default or parts.path.strip("/") or (parts.hostname or "").startswith(f"{cluster}."):
        return bare
    return f"{bare}/clusters/{cluster}"


def make_kubeconfig(access: Access) -> str:
    """Return a kubeconfig with this one context. It holds the private key: a secret."""
    return nodes.serialize(_fresh(access))


def merge_kubeconfig(content: bytes, access: Access, name: str) -> tuple[str, Outcome]:
    """Return an existing kubeconfig with this context added or, where an earlier run added it, renewed.

    All else stays, the current-context and what was added to the context's own entry (such as a namespace) included.

    Args:
        content: the existing file.
        name: what errors call it.

    Raises:
        CertificateProblem: the file is not a kubeconfig, or has a context of this name that is not ours.
    """
    root = nodes.parse_kubeconfig(content, name)
    if root is None:
        return make_kubeconfig(access), "added"
    existing = nodes.find(nodes.entries(root, "contexts", name), access.context)
    if existing is not None:
        _check_ours(existing, access, name)
    nodes.put_entry(root, "clusters", access.entry, _cluster(root, access, name), name)
    nodes.put_entry(root, "users", access.entry, _user(access), name)
    nodes.put_entry(root, "contexts", access.context, _context(existing, access), name)
    current = nodes.get(root, "current-context")
    if not (isinstance(current, ScalarNode) and current.value):
        nodes.put(root, "current-context", nodes.scalar(access.context))
    return nodes.serialize(root), "added" if existing is None else "replaced"


def write_kubeconfig(path: Path, access: Access, *, merge: bool) -> Outcome:
    """Write the kubeconfig to a file of mode 0600, in one step, behind kubectl's own lock. A link's target is written.

    Without `merge` an existing file is replaced only if it holds nothing but this context.

    Raises:
        CertificateProblem: the file is broken, holds other contexts, is locked, or cannot be written; it is untouched.
    """
    target = _target(path)
    with _kubectl_lock(target):
        text, outcome = _written(target, access, str(path), merge=merge)
        files.replace_file(target, text.encode(), files.PRIVATE)
    return outcome


def _written(target: Path, access: Access, name: str, *, merge: bool) -> tuple[str, Outcome]:
    if not target.exists():
        return make_kubeconfig(access), "made"
    content = read_bounded(target)
    return merge_kubeconfig(content, access, name) if merge else _replacement(content, access, name)


def _replacement(content: bytes, access: Access, name: str) -> tuple[str, Outcome]:
    root = nodes.parse_kubeconfig(content, name)
    if root is None:
        return make_kubeconfig(access), "made"
    contexts = nodes.entries(root, "contexts", name)
    others = [text for item in contexts if (text := nodes.name_of(item)) != access.context]
    if others:
        raise CertificateProblem(f"{name}: holds other contexts ({', '.join(others)}); --merge keeps them")
    return make_kubeconfig(access), "replaced"


# Files -----------------------------------------------------------------------------------------


def _target(path: Path) -> Path:
    target = Path(os.path.realpath(path))  # Path.resolve raises on a loop of links
    if path.is_symlink() and not target.exists():
        raise CertificateProblem(f"{path}: is a link to {target}, which does not exist")
    if target.exists() and not target.is_file():
        raise CertificateProblem(f"{path}: is not a regular file")
    return target


@contextmanager
def _kubectl_lock(path: Path) -> Iterator[None]:
    """Hold `FILE.lock` as client-go does, so that a `kubectl config` at the same time loses nothing."""
    lock = path.with_name(f"{path.name}.lock")
    try:
        os.close(os.open(lock, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, files.PRIVATE))
    except FileExistsError:
        raise CertificateProblem(
            f"{lock}: somebody writes the kubeconfig right now; remove this file if nobody does"
        ) from None
    except OSError as error:
        raise CertificateProblem(f"{path}: cannot be written: {error.strerror}") from None
    try:
        yield
    finally:
        lock.unlink()


# Entries ---------------------------------------------------------------------------------------


def _fresh(access: Access) -> MappingNode:
    return nodes.mapping(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"cluster": _cluster_values(access), "name": access.entry}],
            "contexts": [{"context": _context_values(access), "name": access.context}],
            "current-context": access.context,
            "users": [{"name": access.entry, "user": _user_values(access)}],
        }
    )


def _cluster_values(access: Access) -> dict[str, str]:
    return {"certificate-authority-data": _base64(access.authority_pem), "server": access.server}


def _context_values(access: Access) -> dict[str, str]:
    return {"cluster": access.entry, "user": access.entry}


def _user_values(access: Access) -> dict[str, Any]:
    credential = access.credential
    if isinstance(credential, LoginPlugin):
        return {"exec": _exec_values(credential)}
    return {
        "client-certificate-data": _base64(credential.certificate_pem),
        "client-key-data": _base64(credential.key_pem),
    }


def _exec_values(plugin: LoginPlugin) -> dict[str, Any]:
    first = plugin.first
    values: dict[str, Any] = {
        "apiVersion": EXEC_VERSIONS[0],
        "args": ["login", *plugin.arguments],
        "command": "cluster-tunnel",
        "installHint": _INSTALL_HINT,
        "interactiveMode": "IfAvailable" if plugin.interactive else "Never",
        # The plugin learns the stub's address and authority from kubectl: they stand in the file once.
        "provideClusterInfo": True,
    }
    if first is not None:
        text = _base64(first.certificate_pem + first.key_pem)
        values["env"] = [{"name": LOGIN_CERTIFICATE, "value": text}]
    return values


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _cluster(root: MappingNode, access: Access, name: str) -> MappingNode:
    # What was added to the entry by hand, such as a proxy-url, outlives a renewal; other trust does not.
    item = nodes.find(nodes.entries(root, "clusters", name), access.entry)
    entry = nodes.get(item, "cluster") if item is not None else None
    if not isinstance(entry, MappingNode):
        return nodes.mapping(_cluster_values(access))
    entry.value = [pair for pair in entry.value if pair[0].value not in _TRUST_KEYS]
    for key, value in _cluster_values(access).items():
        nodes.put(entry, key, nodes.scalar(value))
    return entry


def _user(access: Access) -> MappingNode:
    return nodes.mapping(_user_values(access))


def _context(existing: MappingNode | None, access: Access) -> MappingNode:
    entry = nodes.get(existing, "context") if existing is not None else None
    return entry if isinstance(entry, MappingNode) else nodes.mapping(_context_values(access))


def _check_ours(existing: MappingNode, access: Access, name: str) -> None:
    entry = nodes.get(existing, "context")
    cluster = nodes.get(entry, "cluster") if isinstance(entry, MappingNode) else None
    if cluster is None or cluster.value != access.entry:
        raise CertificateProblem(
            f"{name}: has a context {access.context!r} that leads elsewhere; --context gives this one another name"
        )
