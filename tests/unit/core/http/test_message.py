"""A head's fields in their two forms."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.core.http.strategies import names, values
from tunnel.core.errors import LocalMisuse
from tunnel.core.http.message import Field, RequestHead, ResponseHead

some_fields = st.lists(st.tuples(names, values), max_size=8)


@given(some_fields)
def test_both_forms_say_the_same(fields: list[Field]) -> None:
    block = RequestHead(b"GET", b"/", fields).block
    assert RequestHead(b"GET", b"/", block=block).fields == fields
    assert RequestHead(b"GET", b"/", block=block) == RequestHead(b"GET", b"/", fields)
    assert ResponseHead(200, block=block) == ResponseHead(200, fields)


def test_heads_that_differ_are_not_equal() -> None:
    head = RequestHead(b"GET", b"/", [(b"a", b"b")])
    assert head != RequestHead(b"GET", b"/", [(b"a", b"c")])
    assert head != RequestHead(b"PUT", b"/", [(b"a", b"b")])
    assert head != "GET"
    assert ResponseHead(200, []) != ResponseHead(201, [])
    assert ResponseHead(200, []) != 200


def test_a_nul_byte_has_no_place_in_a_block() -> None:
    with pytest.raises(LocalMisuse):
        _ = ResponseHead(200, [(b"a", b"b\0c")]).block


def test_no_value_is_shown_in_a_log() -> None:
    shown = repr(RequestHead(b"GET", b"/", [(b"Authorization", b"Bearer secret")]))
    assert "Authorization" in shown
    assert "secret" not in shown
    assert "secret" not in repr(ResponseHead(200, [(b"Set-Cookie", b"secret")]))
