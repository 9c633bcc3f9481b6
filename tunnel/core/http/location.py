"""Where a redirect may lead: nowhere but into the cluster it came from."""

import re
from typing import Final

from tunnel.core.errors import BadGateway
from tunnel.core.http.fields import lookup
from tunnel.core.http.message import Field
from tunnel.core.http.target import climbs_above_root, is_stubs_own

_SCHEME: Final = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*:")
_ORIGIN: Final = re.compile(rb"((https?)://[^/?#]*)", re.IGNORECASE)
_QUERY_OR_FRAGMENT: Final = re.compile(rb"[?#]")
_CONTROL: Final = re.compile(rb"[\x00-\x1f\x7f]")
_DEFAULT_PORTS: Final = {b"https": b":443", b"http": b":80"}


def rewrite_location(
    value: bytes, upstream_url: bytes, prefix: bytes, *, request_path: bytes = b"/"
) -> bytes:
    """A `Location` as the client may see it: always relative to the stub, inside `prefix`.

    The agent takes the upstream's URL off (`prefix` empty); the stub adds the prefix and, with an empty
    `upstream_url`, believes no absolute one. With both empty it lets none lead to another cluster's prefix or to its own pages.

    Args:
        value: the field's value.
        upstream_url: such as `https://10.0.0.1:6443`, with the path that it may have and that stands in front of every target; or
            empty.
        prefix: such as `/clusters/a`, or empty where the path that was asked for names no cluster.
        request_path: the path that was asked for, without the prefix; a relative value is judged from there.

    Raises:
        BadGateway: it leads to another host, out of the prefix, or readers could disagree on where (CVE-2022-3172).
    """
    value = value.strip(b" ")
    if _CONTROL.search(value) or b"\\" in _QUERY_OR_FRAGMENT.split(value, maxsplit=1)[0]:
        # Browsers drop tabs and read `\` as `/`, so `/\t/host` and `/\host` would name a host.
        raise BadGateway("the upstream redirects with a control character or backslash in Location")
    if _SCHEME.match(value) or value.startswith(b"//"):
        value = _own_path(value, upstream_url)
    value = _without_base_path(value, upstream_url)
    path = _QUERY_OR_FRAGMENT.split(value, maxsplit=1)[0]
    absolute = value.startswith(b"/")
    if not absolute:
        path = request_path.rpartition(b"/")[0] + b"/" + path
    if _leaves_cluster(path, upstream_url, prefix):
        raise BadGateway("the upstream redirects out of its own cluster")
    return prefix + value if absolute else value


def with_own_location(
    fields: list[Field], upstream_url: bytes, prefix: bytes, *, target: bytes
) -> list[Field]:
    """Return `fields` with each Location as `rewrite_location` leaves it; the very list where there is none.

    Args:
        fields: of an answer.
        upstream_url, prefix: see `rewrite_location`.
        target: what was asked for, without the prefix.

    Raises:
        BadGateway: see `rewrite_location`.
    """
    if not lookup(fields, b"location"):
        return fields
    path = target.partition(b"?")[0]
    return [
        (name, rewrite_location(value, upstream_url, prefix, request_path=path))
        if name.lower() == b"location"
        else (name, value)
        for name, value in fields
    ]


def _leaves_cluster(path: bytes, upstream_url: bytes, prefix: bytes) -> bool:
    if prefix:
        return climbs_above_root(path)
    # At the agent, which knows no other clusters, these are paths like any other.
    return not upstream_url and is_stubs_own(path)


def _own_path(value: bytes, upstream_url: bytes) -> bytes:
    if value.startswith(b"//"):
        value = upstream_url.partition(b"//")[0] + value
    match, own = _ORIGIN.match(value), _ORIGIN.match(upstream_url)
    if match is None or own is None or _normal(match[0]) != _normal(own[0]):
        raise BadGateway("the upstream redirects to another host, which is not followed through the tunnel")
    return _rooted(value[match.end() :])


def _without_base_path(value: bytes, upstream_url: bytes) -> bytes:
    """What an upstream below a path says of itself may hold that path, or not, where it does not know of it. A client that kept it
    would ask for it twice."""
    base_path = _ORIGIN.sub(b"", upstream_url, count=1)
    rest = value.removeprefix(base_path)
    if rest == value or not (rest == b"" or rest.startswith((b"/", b"?", b"#"))):
        return value
    return _rooted(rest)


def _rooted(rest: bytes) -> bytes:
    if rest.startswith(b"//"):
        # Without what stood before it, it would read as the name of a host.
        raise BadGateway("the upstream redirects to a path that begins with '//'")
    return rest if rest.startswith(b"/") else b"/" + rest


def _normal(origin: bytes) -> bytes:
    origin = origin.lower()
    return origin.removesuffix(_DEFAULT_PORTS.get(origin.partition(b":")[0], b""))
