"""Target: paths, hosts and what policies make of them."""

import posixpath
from contextlib import suppress
from typing import Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

from tests.fuzz.material import Material
from tunnel.core.errors import BadRequest, MethodNotAllowed
from tunnel.core.http.kubernetes import parse_request_info
from tunnel.core.http.target import check_method, check_target, host_cluster, split_cluster
from tunnel.core.policy.ceiling import CeilingRules, parse_ceiling
from tunnel.core.policy.request import PolicyRequest, read_request, selected_name

SEEDS = (
    b"\0\0/clusters/blue/api/v1/namespaces/n/pods/p/exec?command=ls",
    b"\1\1/clusters/a/../b/%2e%2e%2fclusters//x",
    b"\0\2/%63lusters/b;p/x%2F..%5c",
    b"\0\0/api/v1/namespaces/n/secrets?fieldSelector=metadata.name%3Dx&watch=1",
    b"\2\0/api/v1/proxy/nodes/n:10250/run/x",
    b"\0\3/apis/apps/v1/namespaces/n/deployments/d/scale",
    b"\0\0/api/v1/nodes/n/proxy/../../secrets",
    b"blue.example.com:443",
)

METHODS: Final = (b"GET", b"POST", b"DELETE", b"PATCH")
NO_SECRETS: Final[CeilingRules] = parse_ceiling({"resources": ["pods", "pods/log"], "verbs": ["get", "list"]})


def readings(path: bytes) -> list[bytes]:
    """Where readers of different habits end: decoding before splitting, behind it, or not at all."""
    parts = [unquote_to_bytes(part).replace(b"/", b"\0") for part in path.split(b"/")]
    return [_normal(unquote_to_bytes(path)), _normal(b"/".join(parts)), _normal(path)]


def _normal(path: bytes) -> bytes:
    return posixpath.normpath(b"/" + path.replace(b"\\", b"/").lstrip(b"/"))


def check_split(target: bytes) -> bytes:
    """Take the prefix off, and make sure that every reader would see the same cluster; return the rest."""
    cluster, rest = split_cluster(target)
    prefix = f"/clusters/{cluster}".encode() if cluster else b""
    assert prefix + rest == target or prefix + rest.removeprefix(b"/") == target
    check_target(rest)
    for reading in readings(target.partition(b"?")[0]):
        parts = reading.lower().split(b"/")
        seen = parts[2].decode("latin-1") if parts[1] == b"clusters" and len(parts) > 2 else None
        assert seen == cluster, (reading, cluster)
    return rest


def check_policy(method: bytes, target: bytes, *, upgrade: bool) -> PolicyRequest:
    """A request that is clear means the same to a reader that normalises paths."""
    request = read_request(method, target, upgrade=upgrade)
    NO_SECRETS.decide_request(method, target, upgrade=upgrade)
    selected_name(request)
    if not request.unclear and request.info.is_resource and request.subresource != "proxy":
        path = target.partition(b"?")[0]
        for reading in readings(path)[:2]:  # the apiserver decodes, once
            again = parse_request_info(method, quote_from_bytes(reading).encode() + target[len(path) :])
            assert again[2:] == request.info[2:], (path, again)
    return request


def one_input(data: bytes) -> None:
    """Invariants: a target passes byte for byte or is refused; whoever decodes or resolves its path sees the same cluster and the
    same object; a host names a cluster or is refused; nothing but Refusal is raised."""
    material = Material(data)
    method, flags = METHODS[material.byte() % len(METHODS)], material.byte()
    text = material.rest()
    with suppress(BadRequest):
        host_cluster(text, "example.com")
    with suppress(BadRequest, MethodNotAllowed):
        check_method(text[:16])
    try:
        check_target(text)
        rest = check_split(text)
    except BadRequest:
        return
    check_policy(method, rest, upgrade=bool(flags & 1))
