"""Quantities as Kubernetes writes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.facts.quantity import read_quantity


@pytest.mark.parametrize(
    ("text", "scale", "number"),
    [
        ("2", 1000, 2000),
        ("250m", 1000, 250),
        ("0.1", 1000, 100),
        (".5", 1000, 500),
        ("1.", 1, 1),
        ("100u", 1000, 1),
        ("1n", 1, 1),
        ("16Gi", 1, 16 * 1024**3),
        ("1.5Ki", 1, 1536),
        ("128M", 1, 128_000_000),
        ("1k", 1, 1000),
        ("2e3", 1, 2000),
        ("2E3", 1, 2000),
        ("2E", 1, 2 * 10**18),
        ("1e-1", 1000, 100),
        ("+3", 1, 3),
        ("-3", 1, -3),
        (8, 1, 8),
    ],
)
def test_a_quantity_is_read_and_rounded_up(text: object, scale: int, number: int) -> None:
    assert read_quantity(text, scale) == number


@pytest.mark.parametrize(
    "text", ["", "m", "1 Gi", "1gi", "1KiB", "0x1", "1e", "1e999", "٣", "1_0", None, 1.5, []]
)
def test_what_is_no_quantity_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="not a quantity"):
        read_quantity(text)


@given(st.text(max_size=30) | st.from_regex(r"[+-]?[0-9.]{1,5}[a-zA-Z]{0,2}[0-9]{0,3}"))
def test_any_text_is_a_whole_number_or_refused(text: str) -> None:
    try:
        number = read_quantity(text, 1000)
    except ValueError:
        return
    assert isinstance(number, int)
