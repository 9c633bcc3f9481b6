"""Who may reach which cluster through the stub, and what for."""

import pytest

from tests.unit.core.policy.asked import asked, split
from tunnel.core.identifiers import ClusterId
from tunnel.core.identity import Identity
from tunnel.core.policy.access import AccessDecisions, ClusterAccess, parse_access
from tunnel.core.policy.decision import Decision

FILE: dict[str, object] = {
    "allowUsers": ["system:ci"],
    "clusters": {
        "lab": {"default": "allow"},
        "lab-*": {"bearer": "forward"},
        "lab-secret": {"default": "deny"},
    },
    "rules": [
        {"name": "on-call may look", "users": ["alice"], "clusters": ["prod"], "readOnly": True},
        {"name": "shop", "groups": ["shop-*"], "clusters": ["prod", "dev-*"], "namespaces": ["shop"]},
        {"groups": ["admins"], "clusters": ["*"]},
        {"users": ["system:ci"], "clusters": ["prod"], "verbs": ["get"]},
        {"users": ["carol"], "clusters": ["lab"], "readOnly": True},
    ],
}
GET = "GET /api/v1/namespaces/shop/pods"
DELETE = "DELETE /api/v1/namespaces/shop/pods/p"


def decide(who: str, cluster: str, line: str, file: dict[str, object] = FILE) -> Decision:
    """`who` is a user, and groups behind commas."""
    user, *groups = who.split(",")
    method, target, upgrade = split(line)
    identity = Identity(user, tuple(groups))
    decisions = AccessDecisions(parse_access(file))
    first = decisions.decide(identity, ClusterId(cluster), method, target, upgrade=upgrade)
    again = decisions.decide(identity, ClusterId(cluster), method, target, upgrade=upgrade)
    judged = decisions.judge(identity, ClusterId(cluster), asked(line))
    assert first == again == judged
    return first


@pytest.mark.parametrize(
    ("who", "cluster", "line", "rule"),
    [
        ("alice", "prod", GET, "the rule 'on-call may look'"),
        ("alice,shop-1", "prod", DELETE, "the rule 'shop'"),
        ("bob,x,shop-1", "dev-7", DELETE, "the rule 'shop'"),
        ("bob,admins", "prod", "POST /anything", "rules[2]"),
        ("bob,admins", "never-heard-of", GET, "rules[2]"),
        ("system:ci", "prod", "GET /api/v1/namespaces/shop/pods/p", "rules[3]"),
        ("dave", "lab", DELETE, "the default (allow)"),
        ("alice,admins", "prod", "GET //unclear/../path", "rules[2]"),
    ],
)
def test_what_a_rule_grants_is_allowed_and_the_rule_named(
    who: str, cluster: str, line: str, rule: str
) -> None:
    decision = decide(who, cluster, line)
    assert decision.allowed
    assert decision.rule == rule


@pytest.mark.parametrize(
    ("who", "cluster", "line", "reaches", "words"),
    [
        ("bob", "prod", GET, False, "no rule names 'bob' for the cluster 'prod'"),
        ("alice", "dev-7", GET, False, "no rule names 'alice'"),
        ("bob,shop", "prod", GET, False, "no rule names 'bob'"),
        ("dave", "lab-secret", GET, False, "no rule names"),
        ("alice", "prod", DELETE, True, "the rule 'on-call may look' allows reading only, not delete"),
        ("bob,shop-1", "prod", "GET /api/v1/pods", True, "only the namespaces shop, not all of them at once"),
        (
            "alice,shop-1",
            "prod",
            "DELETE /api/v1/nodes/n",
            True,
            "; the rule 'shop' allows only the namespaces",
        ),
        ("carol", "lab", DELETE, True, "rules[4] allows reading only"),
        ("alice", "prod", "GET /api/v1/x/../pods", True, "only paths that can be judged"),
        ("system:admin", "lab", GET, False, "reserved"),
        ("alice,system:masters", "prod", GET, False, "reserved"),
    ],
)
def test_what_no_rule_grants_is_refused_with_the_reason(
    who: str, cluster: str, line: str, reaches: bool, words: str
) -> None:
    decision = decide(who, cluster, line)
    assert not decision.allowed
    assert decision.reaches is reaches
    assert words in decision.reason


def test_a_file_without_rules_refuses_everybody() -> None:
    assert not decide("alice", "prod", GET, {}).allowed


def test_where_the_default_is_allow_rules_hold_only_whom_they_name() -> None:
    file: dict[str, object] = {
        "default": "allow",
        "rules": [{"users": ["alice"], "clusters": ["prod"], "readOnly": True}],
    }
    assert not decide("alice", "prod", DELETE, file).allowed
    assert decide("alice", "dev", DELETE, file).allowed
    assert decide("bob", "prod", DELETE, file).allowed


@pytest.mark.parametrize(
    ("cluster", "access"),
    [
        ("lab", ClusterAccess("allow")),
        ("lab-1", ClusterAccess("deny", "forward")),
        ("lab-secret", ClusterAccess("deny")),
        ("prod", ClusterAccess("deny")),
    ],
)
def test_of_a_clusters_entries_the_nearest_holds(cluster: str, access: ClusterAccess) -> None:
    assert parse_access(FILE).cluster(ClusterId(cluster)) == access


def test_bearer_tokens_are_dropped_unless_a_cluster_says_otherwise() -> None:
    assert parse_access({}).cluster(ClusterId("prod")).bearer == "drop"


def test_only_three_of_many_reasons_are_told() -> None:
    rule = {"users": ["a"], "clusters": ["*"], "readOnly": True}
    reason = decide("a", "c", DELETE, {"rules": [rule] * 5}).reason
    assert reason.count("reading only") == 3
    assert reason.endswith("2 more rules do not allow it either")


def test_system_names_that_the_stubs_flags_let_in_are_let_in_here() -> None:
    file = parse_access({"rules": [{"users": ["*"], "clusters": ["*"]}]})
    ask = (Identity("system:x", ("system:y",)), ClusterId("c"), b"GET", b"/api")
    assert not AccessDecisions(file).decide(*ask, upgrade=False).allowed
    users, groups = frozenset({"system:x"}), frozenset({"system:y"})
    assert AccessDecisions(file, allow_users=users, allow_groups=groups).decide(*ask, upgrade=False).allowed


def test_memory_stays_bounded_whatever_is_asked() -> None:
    rules = [{"users": ["*"], "clusters": ["*"], "readOnly": True}]
    decisions = AccessDecisions(parse_access({"rules": rules}))
    for number in range(20_000):
        decisions.decide(Identity("a"), ClusterId("c"), b"GET", b"/api/v1/%d" % number, upgrade=False)
    decisions.decide(Identity("a"), ClusterId("c"), b"GET", b"/" + b"x" * 300, upgrade=False)
    kept = [target for grant in decisions._grants.values() for _, target, _ in grant.decided]
    assert 0 < len(kept) <= 8192
    assert max(map(len, kept)) <= 256


@pytest.mark.parametrize(
    ("cluster", "forwards"), [("lab-1", True), ("lab", False), ("lab-secret", False), ("prod", False)]
)
def test_bearer_tokens_travel_where_the_nearest_entry_says_so(cluster: str, forwards: bool) -> None:
    decisions = AccessDecisions(parse_access(FILE))
    assert decisions.forwards_some_bearer
    for _ in range(2):
        assert decisions.forwards_bearer(ClusterId(cluster)) is forwards


ACTING: dict[str, object] = {
    "rules": [
        {"users": ["alice"], "clusters": ["prod"], "readOnly": True, "impersonate": True},
        {"users": ["alice"], "clusters": ["*"]},
    ]
}


@pytest.mark.parametrize(
    ("who", "cluster", "line", "may"),
    [
        ("alice", "prod", GET, True),
        ("alice", "prod", DELETE, False),
        ("alice", "dev", GET, False),
        ("bob", "prod", GET, False),
    ],
)
def test_one_rule_has_to_allow_both_a_request_and_asking_it_as_somebody_else(
    who: str, cluster: str, line: str, may: bool
) -> None:
    decisions = AccessDecisions(parse_access(ACTING))
    method, target, upgrade = split(line)
    assert decisions.lets_some_impersonate
    assert (
        decisions.may_impersonate(Identity(who), ClusterId(cluster), method, target, upgrade=upgrade) is may
    )
    assert not AccessDecisions(parse_access(FILE)).lets_some_impersonate


def test_it_remembers_only_so_many_clusters() -> None:
    decisions = AccessDecisions(parse_access(FILE))
    for number in range(20_000):
        decisions.forwards_bearer(ClusterId(f"c-{number}"))
    assert 0 < len(decisions._forwards) <= 8192
