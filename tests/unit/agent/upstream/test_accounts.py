"""Which service account a user acts as."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from agent.upstream.accounts import FILE_KEYS, RULE_KEYS, ServiceAccount, parse_accounts
from tests.unit.core.policy.schemas import problems
from tunnel.core.identity import Identity
from tunnel.core.policy.document import PolicyFault
from tunnel.kit.document import read_yaml

DOCS = Path(__file__).parents[4] / "docs"
SCHEMA = json.loads((DOCS / "schemas/accounts.json").read_text())

FILE: dict[str, object] = {
    "accounts": [
        {"users": ["alice"], "serviceAccount": "shop/alice"},
        {"groups": ["shop-*"], "serviceAccount": "shop/developers"},
        {"users": ["bob", "ci-*"], "groups": ["admins"], "serviceAccount": "kube-system/tunnel.admin"},
    ]
}
FAULTS: list[tuple[object, str]] = [
    ([], "must be a mapping"),
    ({"account": []}, "account: unknown key"),
    ({"accounts": {}}, "accounts: must be a list"),
    ({"accounts": [{"users": ["a"]}]}, r"accounts\[0\].serviceAccount: '' is not NAMESPACE/NAME"),
    ({"accounts": [{"serviceAccount": "a/b"}]}, r"accounts\[0\].users: is missing, and groups too"),
    ({"accounts": [{"users": [], "serviceAccount": "a/b"}]}, "is an empty list"),
    ({"accounts": [{"users": ["*a"], "serviceAccount": "a/b"}]}, "may stand only at the end"),
    *(
        ({"accounts": [{"users": ["a"], "serviceAccount": account}]}, "is not NAMESPACE/NAME")
        for account in ("a", "a/", "/b", "a/b/c", "A/b", "a/B", "a/../b", "a.b/c", "a/b%2f", "-a/b", "a/b.", "x" * 64 + "/b")
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("user", "groups", "account"),
    [
        ("alice", (), "shop/alice"),
        ("alice", ("admins",), "shop/alice"),
        ("eve", ("x", "shop-1"), "shop/developers"),
        ("bob", ("shop-1",), "shop/developers"),
        ("ci-7", (), "kube-system/tunnel.admin"),
        ("eve", ("admins",), "kube-system/tunnel.admin"),
    ],
)
def test_the_first_rule_that_names_a_user_decides(user: str, groups: tuple[str, ...], account: str) -> None:
    assert str(parse_accounts(FILE).account_of(Identity(user, groups))) == account


@pytest.mark.parametrize("document", [FILE, {}])
def test_whom_no_rule_names_has_none(document: dict[str, object]) -> None:
    assert parse_accounts(document).account_of(Identity("eve", ("shop",))) is None


def test_everybody_can_be_named() -> None:
    rules = parse_accounts({"accounts": [{"users": ["*"], "serviceAccount": "a/b"}]})
    assert rules.account_of(Identity("anybody")) == ServiceAccount("a", "b")


@pytest.mark.parametrize(("document", "words"), FAULTS)
def test_a_fault_is_named_with_its_place_and_the_schema_sees_it_too(document: object, words: str) -> None:
    with pytest.raises(PolicyFault, match=words):
        parse_accounts(document)
    assert problems(SCHEMA, document)


def test_the_schema_has_the_parsers_keys_and_describes_them() -> None:
    rule: dict[str, Any] = SCHEMA["$defs"]["account"]["properties"]
    assert (tuple(SCHEMA["properties"]), tuple(rule)) == (FILE_KEYS, RULE_KEYS)
    assert all(each.get("description") for each in [*SCHEMA["properties"].values(), *rule.values()])
    assert problems(SCHEMA, FILE) == problems(SCHEMA, {}) == []


def test_the_documented_example_is_right() -> None:
    text = (DOCS / "identity.md").read_text()
    (indented,) = re.findall(r"^    # accounts\.yaml\n((?:    .*\n|\n(?=    ))*)", text, re.MULTILINE)
    document = read_yaml(re.sub(r"^    ", "", indented, flags=re.MULTILINE).encode())
    assert parse_accounts(document).rules
    assert problems(SCHEMA, document) == []
