"""Names and values separated by NUL bytes come back as they went in, and nothing can pose as two."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.core.errors import LocalMisuse, PeerViolation
from tunnel.core.wire.pairs import decode_pairs, encode_pairs

words = st.binary(max_size=12).filter(lambda word: b"\0" not in word)
pairs = st.lists(st.tuples(words, words), max_size=6)


@given(st.lists(words, min_size=1, max_size=3), pairs)
def test_leading_words_and_pairs_come_back(
    leading: list[bytes], given_pairs: list[tuple[bytes, bytes]]
) -> None:
    block = encode_pairs(*leading, pairs=given_pairs)
    # A single empty word leaves nothing on the wire; no block of the protocol begins with one.
    if block or len(leading) + len(given_pairs) > 1:
        assert decode_pairs(block, leading=len(leading)) == (leading, given_pairs)


def test_the_layout_is_words_joined_by_nul_bytes() -> None:
    block = encode_pairs(b"GET", b"/api", pairs=[(b"Accept", b""), (b"a", b"b")])
    assert block == b"GET\0/api\0Accept\0\0a\0b"


def test_an_empty_block_holds_no_pairs() -> None:
    assert encode_pairs(pairs=[]) == b""
    assert decode_pairs(b"") == ([], [])


@pytest.mark.parametrize(
    ("leading", "pair"), [((b"a\0b",), (b"c", b"d")), ((), (b"a\0", b"d")), ((), (b"a", b"\0"))]
)
def test_a_nul_byte_is_not_written(leading: tuple[bytes, ...], pair: tuple[bytes, bytes]) -> None:
    with pytest.raises(LocalMisuse, match="NUL"):
        encode_pairs(*leading, pairs=[pair])


@pytest.mark.parametrize(
    ("block", "leading"), [(b"a", 0), (b"", 2), (b"GET", 2), (b"GET\0/\0name", 2), (b"a\0b\0c", 0)]
)
def test_a_missing_word_or_value_is_a_violation(block: bytes, leading: int) -> None:
    with pytest.raises(PeerViolation, match="words where"):
        decode_pairs(block, leading)


@given(st.binary(max_size=60), st.integers(0, 3))
def test_garbage_yields_pairs_or_a_violation(block: bytes, leading: int) -> None:
    try:
        found, found_pairs = decode_pairs(block, leading)
    except PeerViolation:
        return
    assert encode_pairs(*found, pairs=found_pairs) == block
