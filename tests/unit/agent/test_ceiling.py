"""Whom the agent lets through, whatever the stub says."""

from pathlib import Path
from typing import Any

import pytest

from agent.caller import REMEMBERED_BYTES
from agent.ceiling import Ceiling
from agent.settings import Extra
from tunnel.core.errors import BadRequest, Forbidden, Unauthorized
from tunnel.core.http.message import Field
from tunnel.core.http.render import field_lines
from tunnel.core.identity import Identity, impersonation_fields
from tunnel.core.policy.ceiling import parse_ceiling
from tunnel.core.wire.pairs import encode_pairs
from tunnel.kit.document import RulesFile

FULL = (
    (b"user", b"alice"),
    (b"extra/team", b"a"),
    (b"extra/cluster-tunnel/certificate-sha256", b"0f" * 32),
    (b"address", b"2001:db8::1"),
)
NOBODY = ((b"address", b"192.0.2.1"),)


def fields_of(*pairs: tuple[bytes, bytes], impersonate: bool = True, **settings: Any) -> list[Field]:
    lines = Ceiling(impersonate=impersonate, **settings).caller_lines(encode_pairs(pairs=list(pairs)))
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
    ],
)
def test_reserved_empty_and_padded_names_are_above_it_in_every_mode(
    pairs: tuple[tuple[bytes, bytes], ...], impersonate: bool
) -> None:
    with pytest.raises(Forbidden, match="above the cluster's ceiling"):
        fields_of(*pairs, impersonate=impersonate)


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


def test_it_does_not_remember_large_callers() -> None:
    ceiling = Ceiling(impersonate=True)
    groups = [(b"group", b"%04d" % number * 100) for number in range(11)]
    assert len(encode_pairs(pairs=groups)) > REMEMBERED_BYTES
    for caller in (groups, groups[1:]):
        ceiling.caller_lines(encode_pairs(pairs=[(b"user", b"alice"), *caller]))
    (remembered,) = ceiling._decided.values()
    assert remembered.caller.identity is not None
    assert len(remembered.caller.identity.groups) == 10


# Extras ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        ((), []),
        (("request",), []),
        (("certificate",), [(b"Impersonate-Extra-cluster-tunnel%2fcertificate-sha256", b"0f" * 32)]),
        (("address",), [(b"Impersonate-Extra-cluster-tunnel%2fclient-address", b"2001:db8::1")]),
        (
            ("certificate", "address"),
            [
                (b"Impersonate-Extra-cluster-tunnel%2fcertificate-sha256", b"0f" * 32),
                (b"Impersonate-Extra-cluster-tunnel%2fclient-address", b"2001:db8::1"),
            ],
        ),
    ],
)
def test_of_a_user_the_apiserver_is_told_no_more_than_the_owner_says(
    extra: tuple[Extra, ...], told: list[Field]
) -> None:
    """Each needs a right: told without it, every request would be refused."""
    assert fields_of(*FULL, extra=frozenset(extra)) == [
        (b"Impersonate-User", b"alice"),
        (b"Impersonate-Extra-team", b"a"),
        *told,
        (b"X-Forwarded-For", b"2001:db8::1"),
    ]


def test_what_the_stub_does_not_say_is_not_told() -> None:
    extra = frozenset[Extra]({"certificate", "address"})
    assert fields_of((b"user", b"alice"), extra=extra) == [(b"Impersonate-User", b"alice")]


def test_a_requests_id_is_told_in_a_line_that_the_apiserver_reads_as_an_extra() -> None:
    ceiling = Ceiling(impersonate=True, extra=frozenset({"request"}))
    told = impersonation_fields(Identity("a", extra=(("cluster-tunnel/request-id", ("id-1",)),)))
    assert ceiling.tells_request
    assert ceiling.request_line("id-1") == field_lines(told[1:])
    assert not Ceiling(impersonate=True).tells_request


# Nobody ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("impersonate", [True, False])
@pytest.mark.parametrize("pairs", [NOBODY, ()])
def test_nobody_may_come_where_the_agent_would_ask_in_its_own_name(
    pairs: tuple[tuple[bytes, bytes], ...], impersonate: bool
) -> None:
    with pytest.raises(Unauthorized, match="client certificate"):
        fields_of(*pairs, impersonate=impersonate)


def test_nobody_may_come_where_the_apiserver_tells_callers_by_their_tokens() -> None:
    assert fields_of(*NOBODY, impersonate=False, bearer=True) == [(b"X-Forwarded-For", b"192.0.2.1")]


@pytest.mark.parametrize("text", ["users: [alice]", "groups: [devs]", "forbiddenGroups: [ops]"])
def test_nobody_is_above_a_ceiling_that_says_who_may_come(tmp_path: Path, text: str) -> None:
    path = tmp_path / "ceiling.yaml"
    path.write_text(text)
    with pytest.raises(Forbidden, match="it says who may come"):
        fields_of(*NOBODY, impersonate=False, bearer=True, file=RulesFile(path, parse_ceiling, "--ceiling"))


def test_who_asked_can_be_told_afterwards_whether_or_not_it_was_let_in() -> None:
    ceiling = Ceiling(impersonate=True)
    for user in (b"alice", b"system:admin"):
        block = encode_pairs(pairs=[(b"user", user)])
        assert ceiling.caller(block).identity == Identity(user.decode())
    with pytest.raises(BadRequest):
        ceiling.caller(b"user")


# kubectl --as --------------------------------------------------------------------------------------


def acting_lines(user: str, acting: Identity, **settings: Any) -> bytes:
    block = encode_pairs(pairs=[(b"user", user.encode()), (b"group", b"devs"), *NOBODY])
    return Ceiling(impersonate=True, **settings).acting_lines(block, acting)


def test_whoever_acts_as_somebody_else_is_told_among_the_extras() -> None:
    acting = Identity("bob", ("ops",), "u-2", (("team", ("a",)),))
    assert acting_lines("alice", acting, extra=frozenset({"address"})) == (
        b"Impersonate-User: bob\r\n"
        b"Impersonate-Group: ops\r\n"
        b"Impersonate-Uid: u-2\r\n"
        b"Impersonate-Extra-team: a\r\n"
        b"Impersonate-Extra-cluster-tunnel%2fclient-address: 192.0.2.1\r\n"
        b"Impersonate-Extra-cluster-tunnel%2foriginal-user: alice\r\n"
        b"X-Forwarded-For: 192.0.2.1\r\n"
    )


@pytest.mark.parametrize(
    ("user", "acting"),
    [
        ("system:admin", Identity("bob")),
        ("eve", Identity("bob")),
        ("alice", Identity("system:admin")),
        ("alice", Identity("bob", ("system:masters",))),
        ("alice", Identity("eve")),
    ],
)
def test_both_have_to_be_within_the_ceiling(tmp_path: Path, user: str, acting: Identity) -> None:
    path = tmp_path / "ceiling.yaml"
    path.write_text("users: [alice, bob]")
    with pytest.raises(Forbidden, match="above the cluster's ceiling"):
        acting_lines(user, acting, file=RulesFile(path, parse_ceiling, "--ceiling"))
