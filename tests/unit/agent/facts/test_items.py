"""Lists that arrive in pieces."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.facts.items import OBJECT_CHARACTERS, BadList, ItemReader

ITEMS = [{"metadata": {"name": name}, "spec": {"x": [1, {"y": '"}]'}]}} for name in ("a", "ä", "c")]


def listed(items: Any = ITEMS, **metadata: str) -> bytes:
    """A list as an apiserver writes it."""
    whole = {"kind": "NodeList", "apiVersion": "v1", "metadata": metadata, "items": items}
    return json.dumps(whole, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def read(*pieces: bytes) -> tuple[list[dict[str, Any]], str]:
    reader, found = ItemReader(), []
    for piece in pieces:
        found += reader.feed(piece)
    return found + reader.end(), reader.continues


def bytewise(data: bytes) -> list[bytes]:
    return [data[number : number + 1] for number in range(len(data))]


def test_a_list_is_the_same_whole_and_byte_by_byte() -> None:
    data = listed(**{"continue": "to/ken=", "resourceVersion": "7"})
    assert read(data) == read(*bytewise(data)) == (ITEMS, "to/ken=")


@given(st.lists(st.integers(1, 40), max_size=30))
def test_a_list_is_the_same_in_any_pieces(sizes: list[int]) -> None:
    data, pieces = listed(), []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    assert read(*pieces, data)[0] == ITEMS


def test_objects_come_as_soon_as_they_are_there() -> None:
    reader = ItemReader()
    data = listed([{"n": number} for number in range(1000)])
    early = reader.feed(data[: len(data) // 2])
    assert 400 < len(early) < 600
    assert len(early) + len(reader.feed(data[len(data) // 2 :])) + len(reader.end()) == 1000


@pytest.mark.parametrize(
    ("data", "count"),
    [
        (b'{"items":null}', 0),
        (b'{"items":[]}', 0),
        (b' { "items" : [ { } , { } ] , "metadata" : { } } ', 2),
        (b'{"items":[1,"x",{}],"n":12}', 1),
        (b"{}", 0),
    ],
)
def test_other_spellings_are_read_too(data: bytes, count: int) -> None:
    assert read(data) == read(*bytewise(data)) == ([{}] * count, "")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"<html>",
        b'{"items":[{}',
        b'{"items":[{}]',
        b'{"items":[{} {}]}',
        b'{"items":[{}}',
        b'{"items":[{}]}x',
        b'{"items"}',
        b'{"items":}',
        b"{]",
        b'{"items":[' + b'{"a":' * 100_000,
    ],
)
def test_what_is_no_list_is_refused(data: bytes) -> None:
    with pytest.raises(BadList):
        read(data)


def test_a_large_object_that_comes_byte_by_byte_is_not_parsed_for_each_byte() -> None:
    class Counting(json.JSONDecoder):
        tries = 0

        def raw_decode(self, s: str, idx: int = 0) -> tuple[Any, int]:
            self.tries += 1
            return super().raw_decode(s, idx)

    reader = ItemReader()
    reader._json = counting = Counting()
    data = listed([{"x": "y" * 20_000}])
    found = [item for piece in bytewise(data) for item in reader.feed(piece)]
    assert len(found + reader.end()) == 1
    assert counting.tries < 200


def test_an_object_without_end_is_refused_before_it_fills_memory() -> None:
    reader = ItemReader()
    reader.feed(b'{"items":[{"x":"')

    def endless() -> None:
        for _ in range(3 * OBJECT_CHARACTERS // 65536):
            reader.feed(b"y" * 65536)

    with pytest.raises(BadList, match="larger than 4 MiB"):
        endless()
    assert len(reader._text) < 1.5 * OBJECT_CHARACTERS


@given(st.binary(max_size=60) | st.text('{}[]:,"items0 ', max_size=60).map(str.encode))
def test_any_bytes_are_a_list_or_refused(data: bytes) -> None:
    for pieces in ([data], bytewise(data)):
        try:
            read(*pieces)
        except BadList:
            continue
