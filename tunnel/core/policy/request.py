"""A request as policies judge it: what it means to the apiserver, and whether that can be told at all.

`RequestInfo` gives its best guess for any bytes, which is right for logs and wrong for refusing. Here a path that two readers may
understand differently is said to be unclear, and whatever restricts anything refuses it.
"""

import re
from typing import Final, Literal, NamedTuple
from urllib.parse import unquote, unquote_plus

from tunnel.core import limits
from tunnel.core.http.kubernetes import RequestInfo, parse_request_info
from tunnel.core.http.target import may_climb_above_root

Door = Literal["", "exec", "portforward", "proxy", "nodeproxy"]
"""What a request opens besides the API's objects: a command in a pod, a port of one, an HTTP server behind the apiserver. A
node's kubelet, reached through the proxy, runs commands in every pod of the node."""

READ_METHODS: Final = frozenset({b"GET", b"HEAD"})
_COLLECTION_READS: Final = frozenset({"list", "watch"})
_SELF_REVIEWS: Final = frozenset(
    {
        ("authorization.k8s.io", "selfsubjectaccessreviews"),
        ("authorization.k8s.io", "selfsubjectrulesreviews"),
        ("authentication.k8s.io", "selfsubjectreviews"),
    }
)

_BROKEN_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_HEX_AS_ZERO: Final = bytes.maketrans(b"123456789ABCDEFabcdef", b"0" * 21)
_UNCLEAR_DECODED: Final = re.compile(r"[\x00-\x1f\x7f/\\%;\ufffd]|\A\.\.?\Z")
_PROXIED: Final = re.compile(
    rb"(/(?:api|apis/[^/%]+)/[^/%]+(?:/namespaces/[^/]+)?/(?!namespaces/)[^/%]+/[^/]+/proxy)(?:/|\Z)|"
    rb"(/api/[^/%]+/proxy/(?:namespaces/[^/]+/)?(?!namespaces/)[^/%]+/[^/]+)(?:/|\Z)"
)
_ODD_PATH_BYTES: Final = 16 * limits.KIB
_ODD_SEGMENTS: Final = 64
"""The API's own paths have nine. To judge 4000 took 20 ms."""

_QUERY_PAIRS: Final = 256
"""A whole collection is asked for with a dozen. Of a query with more than 10 000, empty ones counted, Go reads nothing at all: no
selector, no watch."""
_SELECTOR_KEY_BYTES: Final = 3 * len("fieldSelector")
_SELECTOR_BYTES: Final = 4 * limits.KIB
_SELECTED_NAME: Final = re.compile(r"metadata\.name==?([A-Za-z0-9._:@-]+)")


class PolicyRequest(NamedTuple):
    """See the module.

    Attributes:
        method: as sent.
        info: what the apiserver makes of it.
        subresource: that of `info`, also where the path names it as a verb (`/api/v1/proxy/...`).
        door: what it opens besides objects.
        query: raw.
        upgrade: whether it asks for one.
        unclear: why it cannot be judged; empty where it can.
    """

    method: bytes
    info: RequestInfo
    subresource: str
    door: Door = ""
    query: bytes = b""
    upgrade: bool = False
    unclear: str = ""


def read_request(method: bytes, target: bytes, *, upgrade: bool) -> PolicyRequest:
    """Return what a request means.

    Args:
        method: a token.
        target: without a cluster's prefix; `check_target` has seen it.
        upgrade: whether the request asks for one.
    """
    path, _, query = target.partition(b"?")
    info = parse_request_info(method, target)
    unclear = _unclear_path(path, _subresource(info)) if _is_odd(path) else ""
    if not unclear and info.verb in _COLLECTION_READS and info.is_resource:
        unclear = _unclear_collection(method, query)
    return policy_request(method, info, query=query, upgrade=upgrade, unclear=unclear)


def policy_request(
    method: bytes, info: RequestInfo, *, query: bytes = b"", upgrade: bool = False, unclear: str = ""
) -> PolicyRequest:
    """Return a request whose meaning is known already, or was read from a path that is `unclear`."""
    subresource = _subresource(info)
    door = _door(method, info, subresource, upgrade) if subresource or upgrade else ""
    return PolicyRequest(method, info, subresource, door, query, upgrade, unclear)


def _subresource(info: RequestInfo) -> str:
    return "proxy" if info.verb == "proxy" and info.is_resource else info.subresource


# What it opens ---------------------------------------------------------------------------------


def _door(method: bytes, info: RequestInfo, subresource: str, upgrade: bool) -> Door:
    # The apiserver distinguishes case, an aggregated one need not.
    match subresource.lower():
        case "proxy":
            return "nodeproxy" if info.resource.lower() == "nodes" else "proxy"
        case "portforward":
            return "portforward"
        case "exec" | "attach":
            return "exec"
        case "ephemeralcontainers" if method not in READ_METHODS:
            # A debug container is a command in a running pod.
            return "exec"
        case "log":
            return ""
        case other:
            # Watches run over WebSocket too. Any other upgrade is a console of some kind (a virtual machine's, say).
            return "exec" if upgrade and (info.verb != "watch" or other) else ""


def is_self_review(request: PolicyRequest) -> bool:
    """Whether it asks what the user may do, or is called: that is a POST and changes nothing."""
    info = request.info
    return (
        (info.api_group, info.resource) in _SELF_REVIEWS
        and info.verb == "create"
        and not (info.namespace or info.name or info.subresource or request.upgrade)
    )


# What cannot be judged -------------------------------------------------------------------------


def _is_odd(path: bytes) -> bool:
    return b"%" in path or b"//" in path or b"/." in path or b";" in path


def _unclear_path(path: bytes, subresource: str) -> str:
    """Why readers may take this odd path for different ones, or nothing."""
    if len(path) > _ODD_PATH_BYTES:
        return f"it has escapes or empty or dot segments and more than {_ODD_PATH_BYTES} bytes"
    if _BROKEN_ESCAPE.search(path):
        return "it has a broken percent-escape"
    proxied = _PROXIED.match(path) if subresource == "proxy" else None
    if proxied:
        # What is behind belongs to the server proxied to, as long as it does not lead out of there.
        if may_climb_above_root(path[proxied.end() - 1 :]):
            return "its dot segments lead out of what is proxied to"
        path = proxied[1] or proxied[2]
    segments = path.removesuffix(b"/").split(b"/")[1:]
    if len(segments) > _ODD_SEGMENTS:
        return f"it has escapes or empty or dot segments and more than {_ODD_SEGMENTS} segments"
    return next((fault for fault in map(_unclear_segment, segments) if fault), "")


def _unclear_segment(segment: bytes) -> str:
    if not segment:
        return "it has an empty segment ('//')"
    decoded = _decoded(segment)
    if _UNCLEAR_DECODED.search(decoded):
        return f"its segment {segment[:40].decode('ascii', 'replace')!a} may mean several things"
    return ""


def _decoded(segment: bytes) -> str:
    if b"%" not in segment:
        return segment.decode("latin-1")
    return unquote(segment.decode("latin-1"), errors="replace")


def _unclear_collection(method: bytes, query: bytes) -> str:
    if method not in READ_METHODS:
        return "'watch' in a path goes with GET alone"
    # Go drops such a pair without a word; what is left may ask for more.
    if b";" in query or query.count(b"%") != query.translate(_HEX_AS_ZERO).count(b"%00"):
        return "its query has ';' or a broken percent-escape"
    if query.count(b"&") >= _QUERY_PAIRS:
        return f"its query has more than {_QUERY_PAIRS} parameters"
    return ""


def selected_name(request: PolicyRequest) -> str:
    """Return the one object that a request is about: the path's, or the one that its field selector leaves of a collection.

    Stricter than `RequestInfo`: a selector counts only if there is one and it says nothing else, because the apiserver
    ignores what it cannot read, and then returns everything.
    """
    name = request.info.name
    if not name or request.info.verb not in _COLLECTION_READS:
        return name
    selectors = _selectors(request.query)
    if len(selectors) != 1 or len(selectors[0]) > _SELECTOR_BYTES:
        return ""
    match = _SELECTED_NAME.fullmatch(unquote_plus(selectors[0].decode("latin-1")))
    return name if match and match[1] == name else ""


def _selectors(query: bytes) -> list[bytes]:
    """The values of all field selectors, as they are; only keys that may be one are decoded, since a query may have 192 KiB."""
    pairs = [pair.partition(b"=") for pair in query.split(b"&", _QUERY_PAIRS)]
    return [
        value
        for key, _, value in pairs
        if len(key) <= _SELECTOR_KEY_BYTES and unquote_plus(key.decode("latin-1")) == "fieldSelector"
    ]
