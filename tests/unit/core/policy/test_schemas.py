"""The JSON schemas, the examples in the documentation, and the parser say the same."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.core.policy.schemas import problems
from tests.unit.core.policy.test_access import FILE
from tests.unit.core.policy.test_ceiling import PARTS, WHO, WIDENING
from tests.unit.core.policy.test_document import ACCESS_FAULTS, CEILING_FAULTS
from tunnel.core.policy.access import ACCESS_KEYS, CLUSTER_KEYS, RULE_KEYS, parse_access
from tunnel.core.policy.ceiling import CEILING_KEYS, parse_ceiling
from tunnel.core.policy.document import MAX_ITEMS, PolicyFault
from tunnel.core.policy.resources import CORE_RESOURCES
from tunnel.core.policy.scope import VERBS
from tunnel.kit.document import read_yaml

DOCS = Path(__file__).parents[4] / "docs"
ACCESS = json.loads((DOCS / "schemas/access.json").read_text())
CEILING = json.loads((DOCS / "schemas/ceiling.json").read_text())


def accepted(parse: Callable[[object], object], document: object) -> bool:
    try:
        parse(document)
    except PolicyFault:
        return False
    return True


def test_the_schemas_have_the_parsers_keys() -> None:
    assert tuple(ACCESS["properties"]) == ACCESS_KEYS
    assert tuple(ACCESS["$defs"]["cluster"]["properties"]) == CLUSTER_KEYS
    assert tuple(ACCESS["$defs"]["rule"]["properties"]) == RULE_KEYS
    assert tuple(CEILING["properties"]) == CEILING_KEYS


def test_the_schemas_have_the_parsers_words() -> None:
    for schema in (ACCESS, CEILING):
        assert schema["$defs"]["verbs"]["items"]["enum"] == [*VERBS, "*"]
        assert f"|{'|'.join(sorted(CORE_RESOURCES))}|" in schema["$defs"]["resources"]["items"]["pattern"]
        assert {each["maxItems"] for each in schema["$defs"].values() if "maxItems" in each} == {MAX_ITEMS}


def test_every_key_is_described() -> None:
    for keys in (
        ACCESS["properties"],
        ACCESS["$defs"]["rule"]["properties"],
        ACCESS["$defs"]["cluster"]["properties"],
        CEILING["properties"],
    ):
        assert [key for key, schema in keys.items() if not schema.get("description")] == []


@pytest.mark.parametrize(
    ("schema", "document"),
    [(ACCESS, document) for document, _ in ACCESS_FAULTS]
    + [(CEILING, document) for document, _ in CEILING_FAULTS],
)
def test_what_the_parser_refuses_the_schema_refuses(schema: dict[str, Any], document: object) -> None:
    assert problems(schema, document)


@pytest.mark.parametrize("document", [WHO, WIDENING, *PARTS])
def test_a_ceiling_that_the_parser_reads_fits_the_schema(document: dict[str, object]) -> None:
    assert problems(CEILING, document) == []


def test_access_rules_that_the_parser_reads_fit_the_schema() -> None:
    assert problems(ACCESS, FILE) == []


words = st.sampled_from(
    ["*", "a", "a-*", "get", "pods", "pods/log", "things.example.com", "system:x", "/x", "/x/*", "A b"]
)
scalars = st.booleans() | words | st.none() | st.integers(0, 3)
lists = st.lists(words, max_size=3)
ceilings = st.dictionaries(
    st.sampled_from([*CEILING_KEYS, "readonly"]), st.one_of(scalars, lists), max_size=3
)
rules = st.fixed_dictionaries(
    {"users": lists, "clusters": lists}, optional={key: st.one_of(scalars, lists) for key in RULE_KEYS[4:]}
)
files = st.dictionaries(
    st.sampled_from(ACCESS_KEYS), st.one_of(scalars, lists, st.lists(rules, max_size=2)), max_size=3
)


@given(ceilings)
def test_parser_and_schema_agree_about_any_ceiling(document: dict[str, object]) -> None:
    assert accepted(parse_ceiling, document) == (not problems(CEILING, document))


@given(files)
def test_parser_and_schema_agree_about_any_access_file(document: dict[str, object]) -> None:
    assert accepted(parse_access, document) == (not problems(ACCESS, document))


def test_the_documented_examples_are_right() -> None:
    text = (DOCS / "identity.md").read_text()
    examples = re.findall(r"^    # (access|ceiling)\.yaml\n((?:    .*\n|\n(?=    ))*)", text, re.MULTILINE)
    assert {name for name, _ in examples} == {"access", "ceiling"}
    for name, indented in examples:
        document = read_yaml(re.sub(r"^    ", "", indented, flags=re.MULTILINE).encode())
        schema, parse = (ACCESS, parse_access) if name == "access" else (CEILING, parse_ceiling)
        parse(document)
        assert problems(schema, document) == []
