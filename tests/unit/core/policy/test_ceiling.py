"""What a ceiling lets through."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.core.policy.asked import split, under
from tunnel.core.identity import Identity
from tunnel.core.policy.ceiling import CeilingRules, parse_ceiling
from tunnel.core.policy.request import read_request

DEV = "/api/v1/namespaces/dev"
POD = f"{DEV}/pods/web"
READ_ONLY = {"readOnly": True}
NO_EXEC = {"noExec": True}
NO_FORWARD = {"noPortForward": True}
NO_PROXY = {"noProxy": True}
DEV_ONLY = {"namespaces": ["dev", "team-*"]}
PODS_ONLY = {"resources": ["pods", "deployments.apps"], "subresources": ["log"]}
NAMED = {"resources": ["configmaps"], "names": ["app", "web-*"]}

DISCOVERY = [
    "/",
    "/api",
    "/api/v1",
    "/apis",
    "/apis/apps",
    "/apis/apps/v1",
    "/openapi/v2",
    "/openapi/v3/api/v1",
    "/version",
    "/readyz",
]

WITHIN = [
    (READ_ONLY, f"GET {POD}"),
    (READ_ONLY, f"HEAD {POD}"),
    (READ_ONLY, "GET /api/v1/pods?watch=1"),
    (READ_ONLY, "UPGRADE GET /api/v1/pods?watch=1"),
    (READ_ONLY, f"GET {POD}/log?follow=1"),
    (READ_ONLY, "GET /metrics"),
    (READ_ONLY, "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews"),
    (NO_EXEC, f"DELETE {POD}"),
    (NO_EXEC, f"POST {POD}/portforward"),
    (NO_EXEC, f"GET {DEV}/services/s/proxy/"),
    (NO_FORWARD, f"POST {POD}/exec"),
    (NO_PROXY, f"POST {POD}/exec"),
    (DEV_ONLY, f"DELETE {DEV}/pods"),
    (DEV_ONLY, f"GET {DEV}"),
    (DEV_ONLY, "POST /api/v1/namespaces/team-a/pods"),
    (DEV_ONLY, "POST /apis/authentication.k8s.io/v1/selfsubjectreviews"),
    (PODS_ONLY, f"GET {POD}/log"),
    (PODS_ONLY, "PATCH /apis/apps/v1/namespaces/dev/deployments/d"),
    (NAMED, f"GET {DEV}/configmaps/app"),
    (NAMED, f"GET {DEV}/configmaps?fieldSelector=metadata.name%3Dweb-1&watch=true"),
    ({"verbs": ["get"]}, "HEAD /metrics"),
    ({"verbs": ["get", "list"]}, "GET /api/v1/pods"),
    ({**DEV_ONLY, "nonResourceURLs": ["/metrics", "/logs/*"]}, "GET /logs/kubelet.log"),
    ({"namespaces": ["*"]}, "GET /api/v1/nodes/n"),
    *(
        (both, f"GET {path}")
        for path in DISCOVERY
        for both in (DEV_ONLY, {"verbs": ["create"]}, {"nonResourceURLs": ["/x"]})
    ),
]

ABOVE = [
    (READ_ONLY, f"DELETE {POD}", "reading only, not delete"),
    (READ_ONLY, f"DELETE {DEV}/pods", "not deletecollection"),
    (READ_ONLY, f"POST {DEV}/pods", "not create"),
    (READ_ONLY, f"OPTIONS {DEV}/pods", "not OPTIONS"),
    (READ_ONLY, f"get {POD}", "not get"),
    (READ_ONLY, "DELETE /api/v1/watch/namespaces/dev/pods/web", "'watch' in a path goes with GET alone"),
    (READ_ONLY, f"UPGRADE GET {POD}/exec", "reading only, no running commands in pods"),
    (READ_ONLY, f"GET {POD}/attach", "no running commands"),
    (READ_ONLY, f"GET {POD}/portforward", "no port-forward"),
    (READ_ONLY, f"GET {DEV}/services/s/proxy/", "no the apiserver's proxy"),
    (READ_ONLY, "GET /api/v1/nodes/n/proxy/run", "no the proxy to nodes"),
    (READ_ONLY, "PUT /debug/flags/v", "not put"),
    (READ_ONLY, "POST /apis/authorization.k8s.io/v1/subjectaccessreviews", "not create"),
    (NO_EXEC, "POST /api/v1/nodes/n/proxy/run/dev/web/c", "the proxy to nodes"),
    (NO_EXEC, "GET /api/v1/proxy/nodes/n/run/dev/web/c", "the proxy to nodes"),
    (NO_EXEC, f"PATCH {POD}/ephemeralcontainers", "running commands in pods"),
    (NO_EXEC, "UPGRADE GET /apis/x.io/v1/namespaces/dev/machines/m/console", "running commands"),
    (NO_FORWARD, f"UPGRADE GET {POD}/portforward", "port-forward"),
    (NO_PROXY, f"GET {POD}/proxy", "proxy"),
    (NO_PROXY, "GET /api/v1/proxy/namespaces/dev/services/s/x", "proxy"),
    (NO_PROXY, "GET /api/v1/nodes/n/proxy/", "proxy to nodes"),
    (DEV_ONLY, "GET /api/v1/pods", "only the namespaces dev, team-*, not all of them at once"),
    (DEV_ONLY, "GET /api/v1/watch/pods", "not all of them at once"),
    (DEV_ONLY, "DELETE /api/v1/pods", "not all of them at once"),
    (DEV_ONLY, "GET /api/v1/nodes/n", "not what belongs to the whole cluster"),
    (DEV_ONLY, "POST /api/v1/namespaces", "not what belongs to the whole cluster"),
    (DEV_ONLY, "GET /api/v1/namespaces/prod/pods", "not 'prod'"),
    (DEV_ONLY, "GET /api/v1/namespaces/team/pods", "not 'team'"),
    (DEV_ONLY, "GET /api/v1/watch/namespaces/prod/pods", "not 'prod'"),
    (DEV_ONLY, "GET /api/v1/proxy/namespaces/prod/pods/web/x", "not 'prod'"),
    (DEV_ONLY, "GET /api/v1/namespaces/dev/../prod/pods", "only paths that can be judged"),
    (DEV_ONLY, "GET /metrics", "only resources and discovery, not '/metrics'"),
    (DEV_ONLY, "POST /api", "not '/api'"),
    (DEV_ONLY, "UPGRADE GET /api", "not '/api'"),
    (PODS_ONLY, f"GET {DEV}/secrets", "only the resources pods, deployments.apps, */log, not 'secrets'"),
    (PODS_ONLY, f"GET {POD}/exec", "not 'pods/exec'"),
    (PODS_ONLY, "GET /api/v1/proxy/namespaces/dev/pods/web/x", "not 'pods/proxy'"),
    (PODS_ONLY, "GET /apis/metrics.k8s.io/v1beta1/namespaces/dev/pods", "not 'pods.metrics.k8s.io'"),
    (NAMED, f"GET {DEV}/configmaps/other", "only the names app, web-*, not 'other'"),
    (NAMED, f"GET {DEV}/configmaps", "not a whole collection"),
    (
        NAMED,
        f"GET {DEV}/configmaps?fieldSelector=metadata.name%3Dapp{'&' * 10_000}",
        "more than 256 parameters",
    ),
    (NAMED, f"POST {DEV}/configmaps", "whose name the path does not say"),
    (NAMED, f"DELETE {DEV}/configmaps?fieldSelector=metadata.name%3Dapp", "not a whole collection"),
    ({"verbs": ["get"]}, "GET /api/v1/pods", "only the verbs get, not list"),
    ({"verbs": ["watch"]}, "GET /api/v1/pods?watch=0", "not list"),
    ({"nonResourceURLs": ["/logs/*"]}, "GET /logs", "only the URLs /logs/*, not '/logs'"),
]


@pytest.mark.parametrize(("ceiling", "line"), WITHIN)
def test_a_request_within_it_passes(ceiling: dict[str, object], line: str) -> None:
    assert under(ceiling, line).allowed, under(ceiling, line).reason


@pytest.mark.parametrize(("ceiling", "line", "words"), ABOVE)
def test_a_request_above_it_is_refused_with_the_reason(
    ceiling: dict[str, object], line: str, words: str
) -> None:
    decision = under(ceiling, line)
    assert not decision.allowed
    assert words in decision.reason


@pytest.mark.parametrize(
    "line", ["GET //x/../y", "DELETE /api/v1/pods", f"UPGRADE POST {POD}/exec", "OPTIONS /api/v1/pods"]
)
@pytest.mark.parametrize(
    "ceiling", [{}, {"users": ["*"]}, {"forbiddenGroups": ["x"], "verbs": ["*"], "resources": ["*"]}]
)
def test_one_that_limits_no_requests_judges_no_path(ceiling: dict[str, object], line: str) -> None:
    method, target, upgrade = split(line)
    request = read_request(method, target, upgrade=upgrade)
    assert parse_ceiling(ceiling).judge(Identity("a"), request).allowed


# Identities ------------------------------------------------------------------------------------

WHO = {
    "users": ["alice", "ci-*", "system:admin"],
    "groups": ["devs", "ops", "system:x"],
    "forbiddenGroups": ["ops"],
    "allowUsers": ["system:admin"],
}


@pytest.mark.parametrize(
    ("user", "groups", "rule", "words"),
    [
        ("alice", ("devs",), "the ceiling", ""),
        ("ci-1", (), "the ceiling", ""),
        ("system:admin", (), "the ceiling", ""),
        ("bob", (), "the ceiling's users", "the user 'bob' is not among those allowed"),
        (
            "alice",
            ("devs", "admins"),
            "the ceiling's groups",
            "the group 'admins' is not among those allowed",
        ),
        ("alice", ("ops",), "the ceiling's forbiddenGroups", "the group 'ops' is forbidden"),
        ("alice", ("system:x",), "what is built in", "reserved"),
        ("", (), "what is built in", "is empty"),
    ],
)
def test_who_may_come(user: str, groups: tuple[str, ...], rule: str, words: str) -> None:
    decision = parse_ceiling(WHO).decide_identity(Identity(user, groups))
    assert (decision.allowed, decision.rule) == (not words, rule)
    assert words in decision.reason


def test_without_a_file_only_system_names_are_refused() -> None:
    assert CeilingRules().decide_identity(Identity("alice", ("admins",))).allowed
    assert not CeilingRules().decide_identity(Identity("alice", ("system:masters",))).allowed


# The whole and its parts -----------------------------------------------------------------------

PARTS: list[dict[str, object]] = [
    READ_ONLY, NO_EXEC, NO_FORWARD, NO_PROXY, DEV_ONLY, PODS_ONLY, {"names": ["web", "s"]}, {"verbs": ["get", "list", "create"]},
    {"users": ["alice"]}, {"groups": ["devs"]}, {"forbiddenGroups": ["ops"]},
]  # fmt: skip
WIDENING: dict[str, object] = {"nonResourceURLs": ["/metrics"], "allowUsers": ["system:admin"]}
"""These take back part of what others refuse, so they stand beside each part."""

lines = st.sampled_from([line for _, line in WITHIN] + [line for _, line, _ in ABOVE])
identities = st.builds(
    Identity,
    st.sampled_from(["alice", "bob", "system:admin"]),
    st.lists(st.sampled_from(["devs", "ops", "system:masters"]), max_size=2).map(tuple),
)


@given(st.lists(st.sampled_from(PARTS), max_size=5), identities, lines)
def test_it_never_allows_more_than_each_of_its_parts_and_all_of_them_suffice(
    parts: list[dict[str, object]], identity: Identity, line: str
) -> None:
    method, target, upgrade = split(line)
    request = read_request(method, target, upgrade=upgrade)

    def allows(ceiling: dict[str, object]) -> bool:
        return parse_ceiling({**WIDENING, **ceiling}).judge(identity, request).allowed

    whole = {key: value for part in parts for key, value in part.items()}
    assert allows(whole) == (allows({}) and all(allows(part) for part in parts))
