"""A request as policies judge it: what it means to the apiserver, and whether that can be told at all.

`RequestInfo` gives its best guess for any bytes, which is right for logs and wrong for refusing. Here a path that two readers may
understand differently is said to be unclear, and whatever restricts anything refuses it.
"""

import re
from typing import Final, Literal, NamedTuple
from urllib.parse import parse_qsl, unquote, unquote_to_bytes

from tunnel.core import limits
from tunnel.core.http.kubernetes import RequestInfo, parse_request_info
from tunnel.core.http.target import climbs_above_root

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
# Go drops such a pair of a query without a word; what is left may ask for more.
_UNCLEAR_QUERY: Final = re.compile(rb";|%(?![0-9A-Fa-f]{2})")
_UNCLEAR_DECODED: Final = re.compile(r"[\x00-\x1f\x7f/\\%;\ufffd]|\A\.\.?\Z")
_PROXIED: Final = re.compile(
    rb"(/(?:api|apis/[^/%]+)/[^/%]+(?:/namespaces/[^/]+)?/(?!namespaces/)[^/%]+/[^/]+/proxy)(?:/|\Z)|"
    rb"(/api/[^/%]+/proxy/(?:namespaces/[^/]+/)?(?!namespaces/)[^/%]+/[^/]+)(?:/|\Z)"
)
_PARAMETERS: Final = re.compile(rb";[^/]*")
_ODD_PATH_BYTES: Final = 16 * limits.KIB
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
        if _climbs(path[proxied.end() - 1 :]):
            return "its dot segments lead out of what is proxied to"
        path = proxied[1] or proxied[2]
    segments = path.removesuffix(b"/").split(b"/")[1:]
    return next((fault for fault in map(_unclear_segment, segments) if fault), "")


def _climbs(tail: bytes) -> bool:
    # Some readers decode twice, and some drop `;parameters` first.
    return any(climbs_above_root(_PARAMETERS.sub(b"", form)) for form in (tail, unquote_to_bytes(tail)))


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
    if query and _UNCLEAR_QUERY.search(query):
        return "its query has ';' or a broken percent-escape"
    return ""


def selected_name(request: PolicyRequest) -> str:
    """Return the one object that a request is about: the path's, or the one that its field selector leaves of a collection.

    Stricter than `RequestInfo`: a selector counts only if there is one and it says nothing else, because the apiserver
    ignores what it cannot read, and then returns everything.
    """
    name = request.info.name
    if not name or request.info.verb not in _COLLECTION_READS:
        return name
    pairs = parse_qsl(request.query.decode("latin-1"), keep_blank_values=True)
    selectors = [value for key, value in pairs if key == "fieldSelector"]
    match = _SELECTED_NAME.fullmatch(selectors[0]) if len(selectors) == 1 else None
    return name if match and match[1] == name else ""
