"""What a request leaves in an audit log."""

import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.core.audit import HIDDEN, URI_CHARACTERS, AuditedRequest, Stage, micro_time, request_uri
from tunnel.core.http.kubernetes import parse_request_info
from tunnel.core.identity import Identity

ALICE = Identity("alice", ("devs",), "u-1", (("team", ("a", "b")),))
SECRET = "s3cr3t"


def audited(
    line: str, identity: Identity | None = ALICE, certificate: str = "ab" * 32, address: str = "192.0.2.1"
) -> AuditedRequest:
    method, target = line.encode().split(b" ", 1)
    info = parse_request_info(method, target)
    return AuditedRequest("id-1", info, target, identity, address, certificate, 1.5)


def uri(target: str) -> str:
    return request_uri(target.encode(), parse_request_info(b"GET", target.encode()))


def test_an_event_is_as_the_apiserver_writes_it() -> None:
    request = audited("PATCH /apis/apps/v1/namespaces/prod/deployments/web/scale?dryRun=All")
    facts = {"hop": "stub", "request-bytes": 7, "reason": ""}
    assert request.event(Stage.COMPLETE, 3.25, 200, facts) == {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": "id-1",
        "stage": "ResponseComplete",
        "requestURI": "/apis/apps/v1/namespaces/prod/deployments/web/scale?dryRun=All",
        "verb": "patch",
        "user": {
            "username": "alice",
            "groups": ["devs"],
            "uid": "u-1",
            "extra": {"team": ["a", "b"], "cluster-tunnel/certificate-sha256": ["ab" * 32]},
        },
        "sourceIPs": ["192.0.2.1"],
        "objectRef": {
            "resource": "deployments",
            "namespace": "prod",
            "name": "web",
            "apiGroup": "apps",
            "apiVersion": "v1",
            "subresource": "scale",
        },
        "responseStatus": {"metadata": {}, "code": 200},
        "requestReceivedTimestamp": "1970-01-01T00:00:01.500000Z",
        "stageTimestamp": "1970-01-01T00:00:03.250000Z",
        "annotations": {"cluster-tunnel/hop": "stub", "cluster-tunnel/request-bytes": "7"},
    }


def test_what_is_not_known_is_left_out() -> None:
    event = audited("GET /version", None, "", "").event(Stage.RECEIVED, 2.0, 0, {})
    assert (event["user"], event["sourceIPs"], event["verb"]) == ({}, [], "get")
    assert not {"objectRef", "responseStatus"} & set(event)


def test_a_user_without_a_name_is_nobody() -> None:
    assert audited("GET /api", Identity(""), "").event(Stage.COMPLETE, 2.0, 200, {})["user"] == {}


def test_whoever_acts_as_somebody_else_is_named_beside_that_one() -> None:
    request = replace(audited("GET /api"), acting=Identity("bob", ("ops",)))
    event = request.event(Stage.COMPLETE, 2.0, 200, {})
    assert event["impersonatedUser"] == {"username": "bob", "groups": ["ops"]}
    assert list(event)[7:10] == ["user", "impersonatedUser", "sourceIPs"]


@pytest.mark.parametrize("seconds", [0.0, 1.0, 1e9 + 0.000001, 4e9])
def test_a_time_always_has_six_digits_behind_the_point(seconds: float) -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", micro_time(seconds))


# The URI -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        "/api/v1/pods",
        "/api/v1/pods?watch=true&resourceVersion=12&labelSelector=a%3Db",
        "/api/v1/namespaces/x/pods/p/exec?command=sh&command=-c&stdin=true&container=c",
        "/api/v1/pods?",
        "/a%0A/b//c",
    ],
)
def test_what_kubernetes_itself_takes_is_shown_as_it_is(target: str) -> None:
    assert uri(target) == target


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        (f"token={SECRET}", f"token={HIDDEN}"),
        (f"access_token={SECRET}&watch=1", f"access_token={HIDDEN}&watch=1"),
        (f"Watch={SECRET}", f"Watch={HIDDEN}"),
        (f"%77atch={SECRET}", HIDDEN),
        (f"watch;token={SECRET}", HIDDEN),
        (SECRET, HIDDEN),
        (f"={SECRET}", HIDDEN),
        (f"{SECRET * 20}=1", HIDDEN),
        ("token=", "token="),
        (f"token={SECRET}={SECRET}&&a={SECRET}", f"token={HIDDEN}&&a={HIDDEN}"),
    ],
)
def test_whatever_else_stands_in_a_query_is_hidden(query: str, shown: str) -> None:
    assert uri(f"/apis/x.io/v1/things?{query}") == f"/apis/x.io/v1/things?{shown}"


@pytest.mark.parametrize(
    "path",
    ["/api/v1/namespaces/x/services/s/proxy/login", "/api/v1/proxy/namespaces/x/pods/p/a", "/api/v1/nodes/n/proxy/"],
)  # fmt: skip
def test_behind_a_proxy_no_value_is_shown(path: str) -> None:
    assert uri(f"{path}?command={SECRET}") == f"{path}?command={HIDDEN}"


def test_a_very_long_one_is_cut() -> None:
    for query in ("command=" + "x" * 2 * URI_CHARACTERS, "a=b&" * (URI_CHARACTERS // 5)):
        assert len(uri(f"/api?{query}")) == URI_CHARACTERS + 3


def test_it_is_cut_before_anything_is_hidden_in_it() -> None:
    """Else 192 KiB would be looked through, for everybody who asks."""
    assert uri("/api?token=" + SECRET * URI_CHARACTERS + "&watch=1") == f"/api?token={HIDDEN}..."


@given(st.binary(max_size=200), st.sampled_from([b"GET", b"POST", b"\xff"]))
def test_any_target_makes_one_line_of_json(target: bytes, method: bytes) -> None:
    info = parse_request_info(method, target)
    request = AuditedRequest("id", info, target, ALICE, "::1", "", 0.0)
    line = json.dumps(request.event(Stage.COMPLETE, 0.0, 200, {}))
    assert line.isascii()
    assert "\n" not in line
