"""A cluster id is one to 63 of a-z, 0-9 and the hyphen, and nothing that only looks like it."""

import pytest

from tunnel.core.identifiers import parse_cluster_id


@pytest.mark.parametrize("text", ["a", "prod-eu-1", "0", "-", "a" * 63])
def test_a_cluster_id_is_returned_as_it_is(text: str) -> None:
    assert parse_cluster_id(text) == text


@pytest.mark.parametrize(
    "text",
    ["", "a" * 64, "Prod", "a_b", "a.b", "a/b", "a b", "a\n", "\na", "ä", "١", "a\0"],  # noqa: RUF001
    ids=ascii,
)
def test_anything_else_is_refused_with_the_rule(text: str) -> None:
    with pytest.raises(ValueError, match="one to 63 of a-z, 0-9 and '-'"):
        parse_cluster_id(text)
