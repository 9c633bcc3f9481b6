"""`--lease none|file:PATH|kubernetes:NAMESPACE/NAME`: whether there is an election, and where; and which Pods take part."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from tunnel.kit.values import Form


@dataclass(frozen=True, slots=True)
class NoLease:
    """There is one stub, which is always active."""

    def __str__(self) -> str:
        return "none"


@dataclass(frozen=True, slots=True)
class FileLease:
    """A lease among stubs on one machine."""

    path: Path

    def __str__(self) -> str:
        return f"file:{self.path}"


@dataclass(frozen=True, slots=True)
class KubernetesLease:
    """A Lease of the cluster that the stubs run in."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"kubernetes:{self.namespace}/{self.name}"


LeaseChoice: TypeAlias = NoLease | FileLease | KubernetesLease

_HINT: Final = "give none, file:PATH or kubernetes:NAMESPACE/NAME"
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAMESPACE: Final = re.compile(rf"{_LABEL}\Z")
_NAME: Final = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*\Z")


def _read_choice(text: str) -> LeaseChoice:
    kind, _, place = text.partition(":")
    if text == "none":
        return NoLease()
    if kind == "file" and place:
        return FileLease(_read_path(place))
    if kind == "kubernetes" and place:
        return _read_kubernetes(place)
    raise ValueError(f"{text!r} is no lease: {_HINT}")


def _read_path(place: str) -> Path:
    path = Path(place).expanduser()
    if place.endswith("/") or path.is_dir():
        raise ValueError(f"file:{place}: is a folder; name the file that the record shall be in")
    if not path.parent.is_dir():
        raise ValueError(f"file:{place}: there is no folder {path.parent}")
    return path


def _read_kubernetes(place: str) -> KubernetesLease:
    namespace, _, name = place.partition("/")
    if not _NAMESPACE.match(namespace):
        raise ValueError(f"kubernetes:{place}: {namespace!r} is not the name of a namespace; {_HINT}")
    if not _NAME.match(name):
        raise ValueError(f"kubernetes:{place}: {name!r} is not the name of a Lease; {_HINT}")
    return KubernetesLease(namespace, name)


def _read_pod(text: str) -> str:
    if not _NAME.match(text):
        raise ValueError(f"{text!r} is not the name of a Pod")
    return text


def _read_selector(text: str) -> str:
    # The rest is the apiserver's to judge. An empty one would be all Pods of the namespace.
    if not text.strip() or text.startswith(",") or text.endswith(","):
        raise ValueError(
            f"{text!r} is not a label selector: give one such as app.kubernetes.io/instance=blue"
        )
    return text


lease: Final[Form[LeaseChoice]] = Form(_read_choice, metavar="none|file:PATH|kubernetes:NAMESPACE/NAME")
"""Where the lease is."""

pod: Final = Form(_read_pod, metavar="NAME")
"""The name of a Pod."""

selector: Final = Form(_read_selector, metavar="SELECTOR")
"""A label selector, never an empty one."""
