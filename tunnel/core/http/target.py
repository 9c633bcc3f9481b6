"""The request line: method, version, target, and the cluster that the target or the host names.

A target travels byte for byte. Nothing here decodes, collapses or sorts what is forwarded; decoding is done only to find
out whether some reader that normalises paths would see another cluster than we do.
"""

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote_to_bytes

from tunnel.core import limits
from tunnel.core.errors import BadRequest, MethodNotAllowed
from tunnel.core.identifiers import ClusterId

_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}\Z")
_REFUSED_METHODS: Final = frozenset({b"CONNECT", b"TRACE", b"PRI"})

# Visible ASCII without `#`; the path also without `\`, which browsers and Windows servers read as `/`. Browsers leave a
# backslash of the query as it is, so there it passes.
_TARGET: Final = re.compile(rb"/[!\"$-\[\]-~]*(?:\?[!\"$-~]*)?\Z")
_FOREIGN_BYTE: Final = re.compile(rb"[^!-~]")
_ABSOLUTE: Final = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*:")

_PREFIX: Final = re.compile(rb"/clusters/([a-z0-9-]{1,63})(?=[/?]|\Z)")
_ODD_PATH_BYTES: Final = 16 * limits.KIB
"""A longer path is refused where it has to be judged segment by segment: 192 KiB of `/%41` would take 0.1 s."""

_PARAMETERS: Final = re.compile(rb";[^/]*")
_CLUSTERS: Final = frozenset({b"clusters"})
_STUBS_OWN: Final = _CLUSTERS | {b".cluster-tunnel"}

_ID: Final = re.compile(rb"[a-z0-9-]{1,63}\Z")


def check_method(method: bytes) -> None:
    """Refuse a method that is no token or that is not carried.

    Raises:
        BadRequest: not a token of at most 32 bytes (`GET / HTTP/1.1` is none).
        MethodNotAllowed: CONNECT and TRACE; they address the hop, not the cluster.
    """
    if not _TOKEN.match(method):
        raise BadRequest(f"the method {method[:40]!r} is not a token", close=True)
    if method in _REFUSED_METHODS:
        raise MethodNotAllowed(f"the method {method.decode()} is not carried", close=True)


def is_version_1_1(version: str) -> bool:
    """Whether the request line said HTTP/1.1 (True) or HTTP/1.0 (False).

    Args:
        version: what stood behind `HTTP/`.

    Raises:
        BadRequest: any other version.
    """
    if version == "1.1":
        return True
    if version == "1.0":
        return False
    raise BadRequest(f"HTTP/{version[:8]} is not spoken here; use HTTP/1.1", close=True)


def check_target(target: bytes) -> None:
    """Refuse a target that is not in origin-form, or holds a byte that readers disagree on.

    `%2F`, `//`, `/../`, `;`, a lone `?` and broken percent-escapes pass: they are the apiserver's to judge.

    Raises:
        BadRequest: no leading `/`; white space, a control character, `#`, non-ASCII, or a backslash in the path; or
            more than `limits.TARGET_BYTES`.
    """
    if len(target) > limits.TARGET_BYTES:
        raise BadRequest(
            f"the target has {len(target)} bytes, the limit is {limits.TARGET_BYTES}", close=True
        )
    if not _TARGET.match(target):
        raise BadRequest(_target_fault(target), close=True)


def _target_fault(target: bytes) -> str:
    if not target:
        return "the target is empty"
    if target == b"*":
        return "the target '*' names no path; OPTIONS * is not carried"
    if _ABSOLUTE.match(target):
        return "an absolute target (scheme://host/path) is for forward proxies; send the path alone"
    if not target.startswith(b"/"):
        return "the target does not begin with '/'"
    if b"#" in target:
        return "the target holds a fragment ('#'), which never travels in HTTP"
    if byte := _FOREIGN_BYTE.search(target):
        return f"the target holds the byte 0x{byte[0][0]:02x}, which must be percent-encoded"
    return "the path holds a backslash, which must be percent-encoded"


def split_cluster(target: bytes) -> tuple[ClusterId | None, bytes]:
    """Take the prefix `/clusters/<id>` off a target that passed `check_target`.

    The prefix is matched on the raw bytes. A target that only some readers would take for a prefixed one (other case,
    percent-escapes, doubled slashes, dot segments) is refused rather than routed to the default cluster, and so is one
    whose dot segments lead out of its cluster.

    Returns:
        The cluster, or None where the target names none, and the rest, byte for byte, with a `/` put in front where
        the prefix was followed by `?` or nothing.

    Raises:
        BadRequest: the prefix is malformed or ambiguous.
    """
    match = _PREFIX.match(target)
    if match is None:
        if _is_odd(target) or target[:9].lower() == b"/clusters":
            _refuse_hidden_prefix(target)
        return None, target
    rest = target[match.end() :]
    if not rest.startswith(b"/"):
        rest = b"/" + rest
    if climbs_above_root(rest.partition(b"?")[0]):
        raise BadRequest(
            "the path's dot segments lead out of the cluster named in front of them, or cannot be judged"
        )
    return ClusterId(match[1].decode()), rest


def _refuse_hidden_prefix(target: bytes) -> None:
    path = target.partition(b"?")[0]
    if not (_is_odd(path) or path[:9].lower() == b"/clusters"):
        return
    if len(path) > _ODD_PATH_BYTES:
        raise BadRequest(
            f"the path has {len(path)} bytes; with percent-escapes, doubled slashes or dot segments it may "
            f"have {_ODD_PATH_BYTES}"
        )
    if _may_begin_with(_CLUSTERS, path):
        raise BadRequest(
            "the path is not exactly /clusters/<id>/..., where <id> is one to 63 of a-z, 0-9 and '-'; "
            "write the prefix without upper case, percent-escapes, doubled slashes and dot segments"
        )


def is_stubs_own(path: bytes) -> bool:
    """Whether some reader, resolving dot segments and percent-escapes, would find in front what the stub keeps for itself:
    another cluster's prefix, or a page of its own; True also for a path with such parts that is too long to be judged (16 KiB).

    Args:
        path: it begins with `/`; without the query.
    """
    if not _is_odd(path):
        return path[1:].partition(b"/")[0].lower() in _STUBS_OWN
    return len(path) > _ODD_PATH_BYTES or _may_begin_with(_STUBS_OWN, path)


def _may_begin_with(reserved: frozenset[bytes], path: bytes) -> bool:
    decoded = unquote_to_bytes(path).lower()
    if not any(name in decoded for name in reserved):
        return False
    depth = 0
    for climbs, names, descends in _segments(path):
        depth = max(0, depth - climbs)
        if not depth and any(name.lower() in reserved for name in names):
            return True
        depth += descends
    return False


def climbs_above_root(path: bytes) -> bool:
    """Whether some reader, resolving dot segments and percent-escapes, would end above where `path` begins; True also for
    a path with such parts that is too long to be judged (16 KiB).

    Args:
        path: it begins with `/`; without the query.
    """
    if not _is_odd(path):
        return False
    if len(path) > _ODD_PATH_BYTES:
        return True
    if b".." not in unquote_to_bytes(path):
        return False
    depth = 0
    for climbs, _, descends in _segments(path):
        depth -= climbs
        if depth < 0:
            return True
        depth += descends
    return False


def may_climb_above_root(path: bytes) -> bool:
    """`climbs_above_root`, also for readers behind us that decode twice, or drop `;parameters` first.

    Args:
        path: see there.
    """
    return any(climbs_above_root(_PARAMETERS.sub(b"", form)) for form in (path, unquote_to_bytes(path)))


def _is_odd(path: bytes) -> bool:
    # A raw backslash has been refused before; an escaped one shows by its `%`.
    return b"%" in path or b"/." in path or b"//" in path


def _segments(path: bytes) -> Iterator[tuple[int, list[bytes], bool]]:
    """For each raw segment, decoded: how often it climbs, what it names, and whether it ends a step down.

    Readers disagree on whether `x%2Fy` is one step down or two, and whether `//` is one. Counting every `..` first and
    then at most one step down for each raw segment gives a depth that no reader is below.
    """
    for segment in path.split(b"/"):
        decoded = unquote_to_bytes(segment).replace(b"\\", b"/").split(b"/")
        parts = [part for part in decoded if part not in (b"", b".")]
        names = [part for part in parts if part != b".."]
        yield len(parts) - len(names), names, bool(parts) and parts[-1] != b".."


def host_cluster(host: bytes, domain: str | None) -> ClusterId | None:
    """The cluster that a Host (or an SNI name) of the form `<cluster>.<domain>[:port]` names.

    Returns:
        None where there is no domain, or the host is the domain itself, an address or some other name.

    Raises:
        BadRequest: the host lies below the domain but is not one valid label, or has a port that is no number.
    """
    if domain is None:
        return None
    name, _, port = host.lower().partition(b":")
    suffix = b"." + domain.lower().encode()
    name = name.removesuffix(b".")
    if not name.endswith(suffix):
        return None
    label = name[: -len(suffix)]
    if not _ID.match(label) or (port and not port.isdigit()):
        raise BadRequest(f"the host {host[:80]!r} is not <cluster>.{domain} with an optional port")
    return ClusterId(label.decode())
