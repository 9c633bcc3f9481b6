import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.core.http.strategies import targets
from tunnel.core.http.kubernetes import RequestInfo, is_long_running, is_safe_to_repeat, parse_request_info

# method, target, then verb, group, version, namespace, resource, subresource, name
RESOURCES = """
GET    /api/v1/pods                                     list     -    v1 -    pods        -           -
GET    /api/v1/namespaces                               list     -    v1 -    namespaces  -           -
GET    /api/v1/namespaces/dev                           get      -    v1 dev  namespaces  -           dev
PUT    /api/v1/namespaces/dev/finalize                  update   -    v1 dev  namespaces  finalize    dev
GET    /api/v1/namespaces/dev/status                    get      -    v1 dev  namespaces  status      dev
GET    /api/v1/namespaces/dev/pods                      list     -    v1 dev  pods        -           -
GET    /api/v1/namespaces/dev/pods/                     list     -    v1 dev  pods        -           -
HEAD   /api/v1/namespaces/dev/pods/web                  get      -    v1 dev  pods        -           web
GET    /api/v1/namespaces/dev/pods?watch=true           watch    -    v1 dev  pods        -           -
GET    /api/v1/pods?limit=1&watch                       watch    -    v1 -    pods        -           -
GET    /api/v1/pods?watch=                              watch    -    v1 -    pods        -           -
GET    /api/v1/pods?%77atch=1                           watch    -    v1 -    pods        -           -
GET    /api/v1/pods?watch=0                             list     -    v1 -    pods        -           -
GET    /api/v1/pods?watch=False&watch=true              list     -    v1 -    pods        -           -
GET    /api/v1/pods?rewatch=1&watcher=1&x=%26watch=1    list     -    v1 -    pods        -           -
GET    /api/v1/pods?fieldSelector=metadata.name%3Dweb   list     -    v1 -    pods        -           web
GET    /api/v1/pods?fieldSelector=a%21%3Db%2Cmetadata.name%3D%3Dweb&watch=1 watch - v1 - pods - web
GET    /api/v1/pods?fieldSelector=metadata.name%21%3Dweb list    -    v1 -    pods        -           -
GET    /api/v1/pods?fieldSelector=metadata.name%3D..    list     -    v1 -    pods        -           -
GET    /api/v1/namespaces/dev/pods/web?watch=1          get      -    v1 dev  pods        -           web
POST   /api/v1/namespaces/dev/pods                      create   -    v1 dev  pods        -           -
GET    /api/v1/namespaces/dev/pods/web/exec?command=sh  get      -    v1 dev  pods        exec        web
POST   /api/v1/namespaces/dev/pods/web/attach           create   -    v1 dev  pods        attach      web
GET    /api/v1/namespaces/dev/services/s/proxy/a/b      get      -    v1 dev  services    proxy       s
GET    /api/v1/proxy/nodes/n1/x                         proxy    -    v1 -    nodes       -           n1
GET    /api/v1/watch/namespaces/dev/pods                watch    -    v1 dev  pods        -           -
PATCH  /apis/apps/v1/namespaces/dev/deployments/d/scale patch    apps v1 dev  deployments scale       d
DELETE /apis/apps/v1/namespaces/dev/deployments         deletecollection apps v1 dev deployments - -
DELETE /apis/apps/v1/namespaces/dev/deployments/d       delete   apps v1 dev  deployments -           d
OPTIONS /apis/apps/v1/deployments                       -        apps v1 -    deployments -           -
GET    /api/v1/namespaces/d%65v/pods/a%2Fb              get      -    v1 dev  pods        b           a
"""


@pytest.mark.parametrize("line", RESOURCES.strip().splitlines())
def test_a_resource_request_is_read_as_the_apiserver_does(line: str) -> None:
    method, target, *expected = line.split()
    info = parse_request_info(method.encode(), target.encode())
    texts = (
        info.verb,
        info.api_group,
        info.api_version,
        info.namespace,
        info.resource,
        info.subresource,
        info.name,
    )
    assert info.is_resource
    assert [text or "-" for text in texts] == expected


@pytest.mark.parametrize(
    "target",
    ["/", "/api", "/api/v1", "/apis/apps/v1", "/apis/apps", "/version", "/healthz/x/y", "/openapi/v3/apis/a"],
)
def test_any_other_path_is_no_resource(target: str) -> None:
    assert parse_request_info(b"GET", target.encode() + b"?x=1") == RequestInfo("get", target)


@pytest.mark.parametrize(
    ("method", "target", "long"),
    [
        (b"GET", b"/api/v1/pods?watch=1", True),
        (b"GET", b"/api/v1/namespaces/d/pods/p/log", True),
        (b"GET", b"/api/v1/namespaces/d/pods/p/exec", True),
        (b"POST", b"/api/v1/namespaces/d/pods/p/portforward", True),
        (b"PUT", b"/api/v1/namespaces/d/services/s/proxy/upload", True),
        (b"GET", b"/api/v1/proxy/nodes/n", True),
        (b"GET", b"/debug/pprof/profile", True),
        (b"GET", b"/api/v1/pods", False),
        (b"GET", b"/api/v1/namespaces/d/pods/log", False),
        (b"PATCH", b"/api/v1/namespaces/d/pods/p/ephemeralcontainers", False),
        (b"GET", b"/logs/exec", False),
    ],
)
def test_what_may_last_for_hours(method: bytes, target: bytes, long: bool) -> None:
    assert is_long_running(parse_request_info(method, target)) is long


@pytest.mark.parametrize(
    ("method", "target", "safe"),
    [
        (b"GET", b"/api/v1/pods", True),
        (b"HEAD", b"/version", True),
        (b"GET", b"/api/v1/namespaces/d/pods/p/log?follow=true", True),
        (b"DELETE", b"/api/v1/namespaces/d/pods/p", False),
        (b"POST", b"/api/v1/namespaces/d/pods", False),
        (b"OPTIONS", b"/api", False),
        (b"GET", b"/api/v1/namespaces/d/pods/p/exec", False),
        (b"GET", b"/api/v1/namespaces/d/pods/p/attach", False),
        (b"GET", b"/api/v1/namespaces/d/pods/p/portforward", False),
        (b"GET", b"/api/v1/namespaces/d/services/s/proxy/", False),
        (b"GET", b"/api/v1/proxy/nodes/n", False),
    ],
)
def test_what_may_be_sent_again(method: bytes, target: bytes, safe: bool) -> None:
    info = parse_request_info(method, target)
    assert is_safe_to_repeat(method, info, upgrade=False, has_body=False) is safe
    assert not is_safe_to_repeat(method, info, upgrade=True, has_body=False)
    assert not is_safe_to_repeat(method, info, upgrade=False, has_body=True)


def test_of_a_long_path_only_the_beginning_is_decoded() -> None:
    info = parse_request_info(b"GET", b"/api/v1/namespaces/d%65v/pods/" + b"%41" * 60_000)
    assert info.namespace == "dev"
    assert info.name.startswith("AAA")
    assert info.name.endswith("%41" * 50_000)


def test_what_stands_behind_the_names_of_a_path_is_left_together() -> None:
    path = b"/apis/g/v1/watch/namespaces/dev/pods/web/log" + b"/a" * 90_000
    assert parse_request_info(b"GET", path).subresource == "log"


@pytest.mark.parametrize(
    ("query", "verb", "name"),
    [
        (b"watch=" + b"%41" * 60_000, "watch", ""),
        (b"watch=%66%61%6C%73%65", "list", ""),
        (b"fieldSelector=metadata.name%3D" + b"%41" * 60_000, "list", ""),
        (b"watch=1&fieldSelector=metadata.name%3Dweb" + b"&" * 9998, "watch", "web"),
        (b"watch=1&fieldSelector=metadata.name%3Dweb" + b"&" * 9999, "list", ""),
    ],
)
def test_a_query_is_read_only_as_far_as_the_apiserver_reads_one_or_a_name_can_be_long(
    query: bytes, verb: str, name: str
) -> None:
    info = parse_request_info(b"GET", b"/api/v1/pods?" + query)
    assert (info.verb, info.name) == (verb, name)


@given(st.binary(max_size=8), st.binary() | targets)
def test_whatever_bytes_come_get_some_answer(method: bytes, target: bytes) -> None:
    for prefix in (b"", b"/api/v1", b"/apis/a/b"):
        parse_request_info(method, prefix + target)
        parse_request_info(b"GET", prefix + target)
