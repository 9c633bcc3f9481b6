import posixpath
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.unit.core.http.strategies import targets
from tunnel.core import limits
from tunnel.core.errors import BadRequest, MethodNotAllowed
from tunnel.core.http.target import (
    check_method,
    check_target,
    climbs_above_root,
    host_cluster,
    is_version_1_1,
    split_cluster,
)


@pytest.mark.parametrize("method", [b"GET", b"POST", b"PATCH", b"OPTIONS", b"PROPFIND", b"M-SEARCH", b"get"])
def test_a_token_is_a_method(method: bytes) -> None:
    check_method(method)


@pytest.mark.parametrize(
    "method", [b"", b"GET / HTTP/1.1", b"GET ", b"G\r\nX", b"G\xc3", b"G" * 33, b"GET\n"]
)
def test_a_method_that_is_no_token_is_refused(method: bytes) -> None:
    with pytest.raises(BadRequest, match="not a token") as caught:
        check_method(method)
    assert caught.value.close


@pytest.mark.parametrize("method", [b"CONNECT", b"TRACE", b"PRI"])
def test_methods_for_the_hop_itself_are_not_carried(method: bytes) -> None:
    with pytest.raises(MethodNotAllowed, match=method.decode()):
        check_method(method)


def test_only_http_1_0_and_1_1_are_spoken() -> None:
    assert is_version_1_1("1.1")
    assert not is_version_1_1("1.0")
    for version in ("2.0", "0.9", "1.9", "", "1.10"):
        with pytest.raises(BadRequest):
            is_version_1_1(version)


@pytest.mark.parametrize(
    "target",
    [
        b"/",
        b"/api/v1/x%2Fy//z;p/%e4?b=2&a=1&b=1&c=a+b%20c",
        b"/api/v1/../x",
        b"/x?",
        b"/x?a=\\b",
        b"/x?a/../b??",
        b'/"<>^`{|}',
        b"/%zz",
        b"//host/x",
        b"/" + b"a" * (limits.TARGET_BYTES - 1),
    ],
)
def test_an_odd_but_unambiguous_target_passes(target: bytes) -> None:
    check_target(target)


@pytest.mark.parametrize(
    ("target", "fault"),
    [
        (b"", "empty"),
        (b"*", "OPTIONS"),
        (b"http://other/api", "absolute"),
        (b"HTTPS://other/api", "absolute"),
        (b"example.com:443", "absolute"),
        (b"example.com", "begin with '/'"),
        (b"api/v1", "begin with '/'"),
        (b"/a b", "0x20"),
        (b"/a\tb", "0x09"),
        (b"/a\r\nX: y", "0x0d"),
        (b"/a\n", "0x0a"),
        (b"/a\x00", "0x00"),
        (b"/a\x7f", "0x7f"),
        (b"/\xc3\xa4", "0xc3"),
        (b"/x?\xff", "0xff"),
        (b"/a#b", "fragment"),
        (b"/a?b#c", "fragment"),
        (b"/a\\b", "backslash"),
        (b"/" + b"a" * limits.TARGET_BYTES, "limit"),
    ],
)
def test_a_target_that_readers_disagree_on_is_refused(target: bytes, fault: str) -> None:
    with pytest.raises(BadRequest, match=fault) as caught:
        check_target(target)
    assert caught.value.close


@pytest.mark.parametrize(
    ("target", "cluster", "rest"),
    [
        (b"/clusters/a/api/v1/pods", "a", b"/api/v1/pods"),
        (b"/clusters/a", "a", b"/"),
        (b"/clusters/a/", "a", b"/"),
        (b"/clusters/a?x", "a", b"/?x"),
        (b"/clusters/a?", "a", b"/?"),
        (b"/clusters/a/?", "a", b"/?"),
        (b"/clusters/" + b"z" * 63 + b"/x", "z" * 63, b"/x"),
        (b"/clusters/-0-/x", "-0-", b"/x"),
        (
            b"/clusters/a/api/v1/x%2Fy//z;p/%e4?b=2&a=1&b=1&c=a+b%20c",
            "a",
            b"/api/v1/x%2Fy//z;p/%e4?b=2&a=1&b=1&c=a+b%20c",
        ),
        (b"/clusters/a/api/../v1/./x", "a", b"/api/../v1/./x"),
        (b"/clusters/a/clusters/b/x", "a", b"/clusters/b/x"),
        (b"/clusters/a//api", "a", b"//api"),
        (b"/clusters/a/x?y=/../../b", "a", b"/x?y=/../../b"),
        (b"/clusters/a/api/v1/namespaces/n%2e/..", "a", b"/api/v1/namespaces/n%2e/.."),
        (b"/clusters/a/x..y/...", "a", b"/x..y/..."),
    ],
)
def test_the_prefix_is_taken_off_and_the_rest_kept_byte_for_byte(
    target: bytes, cluster: str, rest: bytes
) -> None:
    assert split_cluster(target) == (cluster, rest)


@pytest.mark.parametrize(
    "target",
    [
        b"/",
        b"/api/v1/x%2Fy//z;p/%e4?b=2",
        b"/version?x=/clusters/a",
        b"/clustersx/a",
        b"/apis/cluster.x-k8s.io/v1beta1/namespaces/n/clusters/a",
        b"/apis//clusters/%61",
        b"/../x",
        b"/.cluster-tunnel/join",
        b"/api/%63lusters",
        b"/api/v1/x/../clusters",
    ],
)
def test_a_target_without_prefix_passes_unchanged(target: bytes) -> None:
    assert split_cluster(target) == (None, target)


@pytest.mark.parametrize(
    "target",
    [
        b"/clusters",
        b"/clusters/",
        b"/clusters?x",
        b"/clusters//a/x",
        b"//clusters/a/x",
        b"/clusters/A/x",
        b"/clusters/a_b/x",
        b"/clusters/a.b/x",
        b"/clusters/a;x/y",
        b"/clusters/" + b"z" * 64 + b"/x",
        b"/CLUSTERS/a/x",
        b"/Clusters/a",
        b"/%63lusters/a/x",
        b"/%43lusters/a/x",
        b"/clusters%2fa/x",
        b"/clusters%2Fa%2Fx",
        b"/clusters%5ca/x",
        b"/clusters/%61/x",
        b"/clusters/a%2f..%2fb/api",
        b"/clusters/a%2e/x",
        b"/clusters/a%00/x",
        b"/./clusters/a/x",
        b"/%2e/clusters/a/x",
        b"/clusters/./a/x",
        b"/clusters/../clusters/a/x",
        b"/clusters/../api",
        b"/x/../clusters/a",
        b"/x/%2E%2e/clusters/a",
        b"/x%2f../clusters/a",
        b"/x/..%2fclusters/a",
        b"/x%2fy/../clusters/a",
        b"/../clusters/a",
    ],
)
def test_a_target_that_only_some_readers_take_for_a_prefixed_one_is_refused(target: bytes) -> None:
    check_target(target)
    with pytest.raises(BadRequest, match="/clusters/<id>"):
        split_cluster(target)


@pytest.mark.parametrize(
    "target",
    [
        b"/clusters/a/../b/api",
        b"/clusters/a/..",
        b"/clusters/a/%2e%2e/b/api",
        b"/clusters/a/.%2E/b",
        b"/clusters/a/./../b",
        b"/clusters/a//../b",
        b"/clusters/a/..%2fb",
        b"/clusters/a/x/../../b",
        b"/clusters/a/x%2Fy/../../b",
        b"/clusters/a/%2e%2e%5cb",
        b"/clusters/a/api/%2e./%2e%2e/../clusters/b",
    ],
)
def test_dot_segments_that_lead_out_of_a_cluster_are_refused(target: bytes) -> None:
    check_target(target)
    with pytest.raises(BadRequest, match="lead out"):
        split_cluster(target)


@pytest.mark.parametrize("path", [b"/%41" * 40_000, b"/clusters/a" + b"/%41" * 40_000, b"//" + b"a" * 20_000])
def test_a_path_too_long_to_be_judged_is_refused(path: bytes) -> None:
    with pytest.raises(BadRequest):
        split_cluster(path)


def test_a_long_query_is_no_long_path() -> None:
    target = b"/clusters/a/api/v1/namespaces/n/pods/p/exec?command=" + b"%20" * 50_000
    assert split_cluster(target) == ("a", target[len(b"/clusters/a") :])


@given(st.binary() | targets)
def test_whatever_bytes_come_pass_unchanged_or_are_refused(target: bytes) -> None:
    try:
        check_target(target)
        cluster, rest = split_cluster(target)
    except BadRequest:
        return
    prefix = f"/clusters/{cluster}".encode() if cluster else b""
    assert prefix + rest == target or prefix + rest.removeprefix(b"/") == target
    assert rest.startswith(b"/")
    check_target(rest)


def _normalised(path: bytes) -> bytes:
    return posixpath.normpath(b"/" + path.replace(b"\\", b"/").lstrip(b"/"))


def _readings(target: bytes) -> list[bytes]:
    """Where readers of different habits end: decoding before splitting, after it, or not at all."""
    path = target.partition(b"?")[0]
    after = [unquote_to_bytes(segment).replace(b"/", b"\0") for segment in path.split(b"/")]
    return [_normalised(unquote_to_bytes(path)), _normalised(b"/".join(after)), _normalised(path)]


@settings(max_examples=300)
@given(targets)
@example(b"/x%2f../clusters/b")
@example(b"/clusters/a/x%2F../..")
def test_no_reader_that_normalises_sees_another_cluster(target: bytes) -> None:
    try:
        check_target(target)
        cluster, _ = split_cluster(target)
    except BadRequest:
        return
    for reading in _readings(target):
        segments = reading.lower().split(b"/")
        seen = segments[2].decode() if segments[1] == b"clusters" and len(segments) > 2 else None
        assert seen == cluster


def test_climbing_is_judged_by_the_lowest_reading() -> None:
    assert climbs_above_root(b"/x%2Fy/../..")
    assert not climbs_above_root(b"/x/y/../..")
    assert not climbs_above_root(b"/x/.../..x")


@pytest.mark.parametrize(
    ("host", "cluster"),
    [
        (b"prod-1.t.example.com", "prod-1"),
        (b"prod-1.t.example.com:8443", "prod-1"),
        (b"PROD.T.Example.COM:443", "prod"),
        (b"prod.t.example.com.", "prod"),
        (b"prod.t.example.com:", "prod"),
        (b"t.example.com", None),
        (b"stub.example.com:8443", None),
        (b"10.0.0.1:8443", None),
        (b"[::1]:8443", None),
        (b"xt.example.com", None),
        (b"", None),
    ],
)
def test_a_host_below_the_domain_names_a_cluster(host: bytes, cluster: str | None) -> None:
    assert host_cluster(host, "t.example.com") == cluster


@pytest.mark.parametrize(
    "host",
    [
        b".t.example.com",
        b"a.b.t.example.com",
        b"a_b.t.example.com",
        b"user@a.t.example.com",
        b"a.t.example.com:8x",
        b"a.t.example.com:1:2",
        b"x, a.t.example.com",
        b"z" * 64 + b".t.example.com",
    ],
)
def test_a_host_below_the_domain_that_is_no_cluster_is_refused(host: bytes) -> None:
    with pytest.raises(BadRequest, match="the host"):
        host_cluster(host, "t.example.com")


def test_without_a_domain_no_host_names_a_cluster() -> None:
    assert host_cluster(b"a.t.example.com", None) is None
