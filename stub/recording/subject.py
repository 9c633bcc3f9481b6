"""Which requests open an exec that is recorded, and how a recording says what it is of."""

import posixpath
import re
import shlex
from typing import Final
from urllib.parse import unquote_to_bytes

from stub.recording.asciicast import Subject
from tunnel.core.http.kubernetes import MOST_PAIRS, RequestInfo

TEXT_CHARACTERS: Final = 8192
"""A longer title or command is cut: `kubectl exec` puts a whole script into it."""

PATH_CHARACTERS: Final = 4096
"""No exec has a longer path; one that is may mean anything once it is resolved."""

_SUBRESOURCES: Final = frozenset({"exec", "attach"})
_KUBELET_PATHS: Final = frozenset({"exec", "attach", "cri"})
_TOLD: Final = ("command", "container", "tty")
_ESCAPE: Final = len("%41")
_LONGEST_KEY: Final = _ESCAPE * max(map(len, _TOLD)) + 1
"""A longer one is none of those, escaped or not."""

_TRUE: Final = frozenset({"1", "true"})
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def is_exec(info: RequestInfo) -> bool:
    """Whether an upgrade opens an exec or attach: of a pod, or of a kubelet that is reached through `nodes/NAME/proxy`."""
    if info.resource not in ("pods", "nodes"):
        return False
    if len(info.path) > PATH_CHARACTERS:
        return True  # what is in doubt is recorded
    if info.resource == "pods":
        return info.subresource in _SUBRESOURCES
    return _kubelet_path(info) in _KUBELET_PATHS


def _kubelet_path(info: RequestInfo) -> str:
    """The first part of the path at the kubelet, once the apiserver has resolved dot segments and doubled slashes; empty where
    none is asked."""
    path = posixpath.normpath("/" + info.path.partition(f"/{info.name}/proxy/")[2])
    return path.strip("/").partition("/")[0]


def subject_of(user: str, cluster: str, info: RequestInfo, target: bytes) -> Subject:
    """Return what a recording says of itself.

    Args:
        user: its name; empty where nobody here knows it.
        info, target: what is asked, without a cluster's prefix.
    """
    query = _parameters(target)
    container = next(iter(query["container"]), "")
    if info.resource == "pods":
        place = "/".join(part for part in (info.namespace, info.name, container) if part)
    else:
        place = info.path
    command = shlex.join(query["command"])
    tty = next(iter(query["tty"]), "").lower() in _TRUE
    return Subject(_shown(f"{user or 'unknown'}@{cluster} {place}"), _shown(command), tty)


def _parameters(target: bytes) -> dict[str, list[str]]:
    """Of the query what is told, and of each no more than can be shown: to read all that a query can hold takes 60 ms."""
    query = target.partition(b"?")[2]
    found: dict[str, list[str]] = {key: [] for key in _TOLD}
    if query.count(b"&") >= MOST_PAIRS:
        found["command"].append(f"(more than {MOST_PAIRS} parameters, which were not read)")
        return found
    left = dict.fromkeys(_TOLD, _ESCAPE * TEXT_CHARACTERS)
    for pair in query.split(b"&"):
        name, _, value = pair.partition(b"=")
        key = _unescaped(name[:_LONGEST_KEY])
        if left.get(key, 0) > 0:
            found[key].append(_unescaped(value[: left[key]]))
            left[key] -= len(value) + 1
    return found


def _unescaped(text: bytes) -> str:
    if text.isalnum():
        return text.decode()  # most names and words; the rest of this takes 1 µs
    return unquote_to_bytes(text.replace(b"+", b" ")).decode("utf-8", "replace")


def _shown(text: str) -> str:
    """Without control characters: whoever lists recordings in a terminal would carry them out."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text[:TEXT_CHARACTERS])
