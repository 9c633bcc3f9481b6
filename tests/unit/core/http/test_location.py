from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certs.signed import ROOT
from tunnel.core.errors import BadGateway
from tunnel.core.http.location import rewrite_location
from tunnel.core.http.target import split_cluster

ORIGIN = b"https://10.0.0.1:6443"
PREFIX = b"/clusters/a"


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        (b"/api/v1/x?y#z", b"/clusters/a/api/v1/x?y#z"),
        (b"/", b"/clusters/a/"),
        (b"https://10.0.0.1:6443/api", b"/clusters/a/api"),
        (b"HTTPS://10.0.0.1:6443/Api", b"/clusters/a/Api"),
        (b"https://10.0.0.1:6443", b"/clusters/a/"),
        (b"https://10.0.0.1:6443?x", b"/clusters/a/?x"),
        (b"//10.0.0.1:6443/api", b"/clusters/a/api"),
        (b" /a b", b"/clusters/a/a b"),
        (b"/a?b=\\c", b"/clusters/a/a?b=\\c"),
        (b"/a/../b", b"/clusters/a/a/../b"),
        (b"proxy/", b"proxy/"),
        (b"./x", b"./x"),
        (b"?x=1", b"?x=1"),
        (b"", b""),
        (b"x?y=http://other", b"x?y=http://other"),
    ],
)
def test_a_redirect_stays_inside_its_cluster(value: bytes, seen: bytes) -> None:
    assert rewrite_location(value, ORIGIN, PREFIX) == seen


@pytest.mark.parametrize(
    "value",
    [
        b"https://other:6443/api",
        b"http://10.0.0.1:6443/api",
        b"https://10.0.0.1:6444/api",
        b"https://10.0.0.1:64430/api",
        b"https://10.0.0.1:6443@other/api",
        b"https://user@10.0.0.1:6443/api",
        b"https:/other",
        b"https:other",
        b"javascript:alert(1)",
        b"//other/api",
        b"///other",
        b"/\\other",
        b"\\\\other",
        b"/\t/other",
        b"\t//other",
        b"https://10.0.0.1:6443//other",
    ],
)
@pytest.mark.parametrize("prefix", [PREFIX, b""])
def test_a_redirect_to_another_host_is_a_bad_gateway(value: bytes, prefix: bytes) -> None:
    with pytest.raises(BadGateway):
        rewrite_location(value, ORIGIN, prefix)


@pytest.mark.parametrize(
    "value", [b"/../b/api", b"/%2e%2e/b", b"/x/..%2f../b", b"../../../b", b"../../../../b"]
)
def test_a_redirect_out_of_the_prefix_is_a_bad_gateway(value: bytes) -> None:
    with pytest.raises(BadGateway, match="own cluster"):
        rewrite_location(value, ORIGIN, PREFIX, request_path=b"/api/v1/x")


@pytest.mark.parametrize(
    "value",
    [
        b"/clusters/b/api/v1/x",
        b"/clusters",
        b"/clusters?x",
        b"/Clusters/b",
        b"/%63lusters/b",
        b"/./clusters/b",
        b"/x/../clusters/b",
        b"/x/%2e%2e/clusters/b",
        b"../../clusters/b",
        b"../../../../clusters/b",
        b".//..//../clusters/b",
        b"/" + b"x/../" * 4000,
        b"/.cluster-tunnel/login",
        b"/x/../.cluster-tunnel/login",
        b"../../.cluster-tunnel/login",
    ],
)
def test_where_the_path_names_no_cluster_no_redirect_names_one_or_a_page_of_the_stub(value: bytes) -> None:
    with pytest.raises(BadGateway, match="own cluster"):
        rewrite_location(value, b"", b"", request_path=b"/api/v1/x")


@pytest.mark.parametrize(
    "value", [b"/api/v1/clusters/b", b"clusters/b", b"/clusters-of-mine", b"/x?y=/clusters/b", b"%41"]
)
def test_where_the_path_names_no_cluster_any_other_redirect_passes(value: bytes) -> None:
    assert rewrite_location(value, b"", b"", request_path=b"/api/v1/x") == value


def test_at_the_agent_paths_of_the_upstream_may_have_any_name() -> None:
    assert rewrite_location(ORIGIN + b"/clusters/b", ORIGIN, b"") == b"/clusters/b"


def test_a_relative_redirect_may_climb_within_its_cluster() -> None:
    assert rewrite_location(b"../../x", b"", PREFIX, request_path=b"/api/v1/x") == b"../../x"
    assert rewrite_location(b"../x", b"", b"") == b"../x"


def test_the_stub_believes_no_absolute_redirect() -> None:
    with pytest.raises(BadGateway):
        rewrite_location(ORIGIN + b"/api", b"", PREFIX)


@pytest.mark.parametrize(
    ("origin", "value"),
    [(b"https://h", b"https://h:443/x"), (b"https://H:443", b"https://h/x"), (b"http://h:80", b"http://h/x")],
)
def test_a_default_port_is_the_same_origin(origin: bytes, value: bytes) -> None:
    assert rewrite_location(value, origin, b"") == b"/x"


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        (b"/k8s/c-1/api?x", b"/api?x"),
        (b"https://10.0.0.1:6443/k8s/c-1/api", b"/api"),
        (b"/k8s/c-1", b"/"),
        (b"/k8s/c-1?x", b"/?x"),
        (b"/k8s/c-1/k8s/c-1/x", b"/k8s/c-1/x"),
        (b"/api", b"/api"),
        (b"/k8s/c-10/api", b"/k8s/c-10/api"),
        (b"k8s/c-1/api", b"k8s/c-1/api"),
        (b"", b""),
    ],
)
def test_an_upstream_below_a_path_may_name_that_path_or_not(value: bytes, seen: bytes) -> None:
    assert rewrite_location(value, ORIGIN + b"/k8s/c-1", b"", request_path=b"/api/v1/x") == seen


@pytest.mark.parametrize("value", [b"/k8s/c-1//host/x", ORIGIN + b"/k8s/c-1//host/x", ORIGIN + b"//host"])
def test_what_stands_behind_the_upstreams_own_path_never_reads_as_a_host(value: bytes) -> None:
    with pytest.raises(BadGateway, match="begins with '//'"):
        rewrite_location(value, ORIGIN + b"/k8s/c-1", b"")


def test_a_redirect_relayed_in_two_steps_ends_as_in_one() -> None:
    value = ORIGIN + b"/api/v1/x?y"
    at_agent = rewrite_location(value, ORIGIN, b"")
    assert rewrite_location(at_agent, b"", PREFIX) == rewrite_location(value, ORIGIN, PREFIX)


PIECES = [
    "/",
    "//",
    "\\",
    "..",
    ".",
    "%2e%2e",
    "other",
    "https:",
    "@",
    "?",
    "#",
    "\t",
    " ",
    "x",
    "10.0.0.1:6443",
    "clusters",
    "%63lusters",
    ".cluster-tunnel",
]


VALUES = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)
PATHS = st.sampled_from(["/", "/api/v1/x", "/a"])


@given(VALUES, PATHS)
def test_no_redirect_leads_a_client_out_of_its_cluster(value: str, request_path: str) -> None:
    try:
        seen = rewrite_location(value.encode(), ORIGIN, PREFIX, request_path=request_path.encode())
    except BadGateway:
        return
    landed = urlsplit(urljoin(f"https://stub/clusters/a{request_path}", seen.decode()))
    assert landed.netloc == "stub"
    assert landed.path.startswith("/clusters/a/")


@given(VALUES, PATHS)
def test_no_redirect_leads_a_client_from_a_cluster_without_prefix_into_another(
    value: str, request_path: str
) -> None:
    try:
        seen = rewrite_location(value.encode(), b"", b"", request_path=request_path.encode())
    except BadGateway:
        return
    landed = urlsplit(urljoin(f"https://stub{request_path}", seen.decode()))
    assert landed.netloc == "stub"
    assert split_cluster(landed.path.encode())[0] is None
    assert not landed.path.startswith(ROOT)
