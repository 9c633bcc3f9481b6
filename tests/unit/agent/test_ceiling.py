"""Whom the agent lets through, whatever the stub says."""

import pytest

from agent.ceiling import Ceiling
from tunnel.core.errors import BadRequest, Forbidden
from tunnel.core.http.message import Field
from tunnel.core.wire.pairs import encode_pairs


def fields_of(*pairs: tuple[bytes, bytes], impersonate: bool = True) -> list[Field]:
    lines = Ceiling(impersonate=impersonate).caller_lines(encode_pairs(pairs=list(pairs)))
    return [(name, value) for name, _, value in (line.partition(b": ") for line in lines.split(b"\r\n")[:-1])]


def test_the_apiserver_is_told_who_asks_and_from_where() -> None:
    assert fields_of(
        (b"user", b"alice"),
        (b"uid", b"u-1"),
        (b"group", b"devs"),
        (b"group", b"ops"),
        (b"extra/example.com/Team", b"a"),
        (b"extra/example.com/Team", b"b"),
        (b"address", b"192.0.2.1"),
    ) == [
        (b"Impersonate-User", b"alice"),
        (b"Impersonate-Group", b"devs"),
        (b"Impersonate-Group", b"ops"),
        (b"Impersonate-Uid", b"u-1"),
        (b"Impersonate-Extra-example.com%2fteam", b"a"),
        (b"Impersonate-Extra-example.com%2fteam", b"b"),
        (b"X-Forwarded-For", b"192.0.2.1"),
    ]


def test_in_token_mode_the_apiserver_sees_the_agent() -> None:
    pairs = ((b"user", b"alice"), (b"group", b"devs"), (b"address", b"2001:db8::1"))
    assert fields_of(*pairs, impersonate=False) == [(b"X-Forwarded-For", b"2001:db8::1")]


@pytest.mark.parametrize("impersonate", [True, False])
@pytest.mark.parametrize(
    "pairs",
    [
        ((b"user", b"system:admin"),),
        ((b"user", b"System:Node:x"),),
        ((b"user", b"alice"), (b"group", b"system:masters")),
        ((b"user", b""),),
        ((b"user", b"alice"), (b"group", b"")),
        ((b"user", b"alice\n"),),
        ((b"group", b"devs"),),
        (),
    ],
)
def test_reserved_empty_and_padded_names_are_above_it_in_every_mode(
    pairs: tuple[tuple[bytes, bytes], ...], impersonate: bool
) -> None:
    with pytest.raises(Forbidden, match="above the cluster's ceiling"):
        fields_of(*pairs, impersonate=impersonate)


@pytest.mark.parametrize("name", [b"USER", b"role", b"extra", b""])
def test_what_it_does_not_know_of_a_caller_is_refused_not_overlooked(name: bytes) -> None:
    with pytest.raises(BadRequest, match="upgrade the agent"):
        fields_of((b"user", b"alice"), (name, b"1"))


@pytest.mark.parametrize("block", [b"user", b"user\0alice\0group", b"user\0\xff\xfe"])
def test_a_block_that_cannot_be_read_is_refused(block: bytes) -> None:
    with pytest.raises(BadRequest, match="cannot be read"):
        Ceiling(impersonate=True).caller_lines(block)


@pytest.mark.parametrize(
    "address", [b"10.0.0.1\r\nX: 1", b"example.com", b"1" * 65, b"unix:/run/x", b"\xc2\xb2"]
)
def test_an_address_that_is_none_is_refused(address: bytes) -> None:
    with pytest.raises(BadRequest, match="not an address"):
        fields_of((b"user", b"alice"), (b"address", address))


def test_a_link_local_addresss_zone_is_left_out() -> None:
    assert fields_of((b"user", b"alice"), (b"address", b"fe80::1%eth0"), impersonate=False) == [
        (b"X-Forwarded-For", b"fe80::1")
    ]


def test_the_same_caller_is_decided_about_once_and_a_refusal_is_repeated() -> None:
    ceiling = Ceiling(impersonate=True)
    alice = encode_pairs(pairs=[(b"user", b"alice")])
    assert ceiling.caller_lines(alice) is ceiling.caller_lines(alice)
    for _ in range(2):
        with pytest.raises(Forbidden):
            ceiling.caller_lines(encode_pairs(pairs=[(b"user", b"system:admin")]))


def test_it_remembers_only_so_many_callers() -> None:
    ceiling = Ceiling(impersonate=True)
    for number in range(4097):
        ceiling.caller_lines(encode_pairs(pairs=[(b"user", b"user-%d" % number)]))
    assert len(ceiling._decided) == 1
