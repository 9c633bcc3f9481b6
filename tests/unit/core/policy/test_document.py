"""What a wrong policy file is told."""

import pytest

from tunnel.core.policy.access import parse_access
from tunnel.core.policy.ceiling import parse_ceiling
from tunnel.core.policy.document import MAX_ITEMS, PolicyFault


def rule(**keys: object) -> dict[str, object]:
    return {"rules": [{"users": ["a"], "clusters": ["b"]}, {"users": ["a"], "clusters": ["b"], **keys}]}


ACCESS_FAULTS: list[tuple[object, str]] = [
    (None, "must be a mapping with keys such as 'default', not nothing"),
    ([], "must be a mapping with keys such as 'default', not a list"),
    ({"rule": []}, "rule: unknown key (did you mean 'rules'?)"),
    ({3: []}, "3: unknown key"),
    ({"default": "denied"}, "default: 'denied' is none of deny, allow (did you mean 'deny'?)"),
    ({"default": True}, "default: must be a text, not true; put it in quotes"),
    ({"hideClusters": "yes"}, "hideClusters: must be true or false, not a text"),
    ({"rules": {}}, "rules: must be a list, not a mapping"),
    ({"rules": ["x"]}, "rules[0]: must be a mapping with keys such as 'name', not a text"),
    (rule(verb=[]), "rules[1].verb: unknown key (did you mean 'verbs'?)"),
    (rule(verbs=["gett"]), "rules[1].verbs[0]: 'gett' is none of get, list, watch"),
    (rule(verbs=["gett"]), "(did you mean 'get'?)"),
    (rule(verbs=[]), "rules[1].verbs: is an empty list; leave it out, or name something"),
    (rule(verbs="get"), "rules[1].verbs: must be a list, not a text"),
    (rule(users=["a", 7]), "rules[1].users[1]: must be a text, not a number; put it in quotes"),
    (rule(users=[" a"]), "rules[1].users[0]: ' a' is empty, begins or ends with a blank"),
    (rule(users=["a*b"]), "rules[1].users[0]: 'a*b': a '*' may stand only at the end"),
    (rule(clusters=["Prod"]), "rules[1].clusters[0]: 'Prod' is not a cluster's id"),
    (
        rule(resources=["deployments"]),
        "rules[1].resources[0]: 'deployments' is of the group 'apps': write 'deployments.apps'",
    ),
    (rule(resources=["pod"]), "the core group has no 'pod' (did you mean 'pods'?)"),
    (rule(resources=["pods/logs"]), "rules[1].resources[0]: the API calls 'logs' 'log'"),
    (rule(resources=["po*"]), "a '*' stands for a whole name"),
    (rule(resources=["pods.core"]), "'pods.core' is not a resource such as 'pods'"),
    (rule(resources=["pods/a/b"]), "is not a resource"),
    (rule(resources=["a.*"]), "a group is named"),
    (
        rule(subresources=["port-forward"]),
        "rules[1].subresources[0]: the API calls 'port-forward' 'portforward'",
    ),
    (rule(nonResourceURLs=["metrics"]), "rules[1].nonResourceURLs[0]: 'metrics' does not begin with '/'"),
    (rule(names=["x"] * (MAX_ITEMS + 1)), "rules[1].names: has 10001 entries, the limit is 10000"),
    ({"rules": [{"clusters": ["b"]}]}, "rules[0].users: is missing, and groups too"),
    ({"rules": [{"users": ["b"]}]}, "rules[0].clusters: is missing"),
    ({"clusters": {"prod": {"bearer": "keep"}}}, "clusters.prod.bearer: 'keep' is none of drop, forward"),
    ({"clusters": {"PROD": {}}}, "clusters.PROD: 'PROD' is not a cluster's id"),
    ({"clusters": ["prod"]}, "clusters: must be a mapping of names, not a list"),
    ({"allowUsers": ["alice"]}, "allowUsers[0]: 'alice' needs no exception"),
    (
        {"allowGroups": ["system:*"]},
        "allowGroups[0]: 'system:*': names that begin with 'system:' are let in one by one",
    ),
]


@pytest.mark.parametrize(("document", "words"), ACCESS_FAULTS)
def test_a_wrong_access_file_is_told_where_it_is_wrong(document: object, words: str) -> None:
    with pytest.raises(PolicyFault) as caught:
        parse_access(document)
    assert words in str(caught.value)


CEILING_FAULTS: list[tuple[object, str]] = [
    (None, "must be a mapping with keys such as 'users', not nothing"),
    ({"readonly": True}, "readonly: unknown key (did you mean 'readOnly'?)"),
    ({"noExec": 1}, "noExec: must be true or false, not a number"),
    ({"rules": []}, "rules: unknown key"),
    ({"forbiddenGroups": ["*a"]}, "forbiddenGroups[0]: '*a': a '*' may stand only at the end"),
    ({"namespaces": [{}]}, "namespaces[0]: must be a text, not a mapping"),
    ({"namespaces": [None]}, "namespaces[0]: must be a text, not nothing"),
    ({"namespaces": [b"x"]}, "namespaces[0]: must be a text, not a bytes"),
]


@pytest.mark.parametrize(("document", "words"), CEILING_FAULTS)
def test_a_wrong_ceiling_is_told_where_it_is_wrong(document: object, words: str) -> None:
    with pytest.raises(PolicyFault) as caught:
        parse_ceiling(document)
    assert words in str(caught.value)
