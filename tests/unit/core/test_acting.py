"""`kubectl --as`, as a client sends it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.core.acting import read_acting, split_acting
from tunnel.core.errors import BadRequest
from tunnel.core.http.message import Field
from tunnel.core.identity import Identity, impersonation_fields

USER: Field = (b"Impersonate-User", b"bob")


def test_all_that_begins_so_is_taken_apart_and_the_rest_keeps_its_order() -> None:
    others: list[Field] = [
        (b"Accept", b"*/*"),
        (b"X-Impersonate", b"1"),
        (b"Connection", b"Impersonate-User"),
    ]
    acting: list[Field] = [
        USER,
        (b"IMPERSONATE-Group", b"ops"),
        (b"impersonate_user", b"x"),
        (b"Impersonated", b"x"),
    ]
    mixed = [others[0], acting[0], others[1], acting[1], acting[2], others[2], acting[3]]
    assert split_acting(mixed) == (others, acting)
    assert split_acting(others) == (others, [])


def test_a_user_groups_a_uid_and_extras_are_read() -> None:
    fields: list[Field] = [
        (b"Impersonate-User", b"j\xc3\xbcrgen"),
        (b"Impersonate-Group", b"devs"),
        (b"impersonate-group", b"ops"),
        (b"IMPERSONATE-UID", b"u-1"),
        (b"Impersonate-Extra-Scopes", b"view"),
        (b"Impersonate-Extra-scopes", b"edit"),
        (b"Impersonate-Extra-example.com%2Fteam", b"a"),
    ]
    extra = (("scopes", ("view", "edit")), ("example.com/team", ("a",)))
    assert read_acting(fields) == Identity("jürgen", ("devs", "ops"), "u-1", extra)


@pytest.mark.parametrize(
    "fields",
    [
        [(b"Impersonate-Group", b"ops")],
        [(b"Impersonate-User", b"")],
        [USER, (b"Impersonate-User", b"alice")],
        [USER, (b"impersonate-user", b"bob")],
        [USER, (b"Impersonate-Uid", b"1"), (b"Impersonate-Uid", b"1")],
        [USER, (b"Impersonate_Group", b"ops")],
        [USER, (b"Impersonate", b"x")],
        [USER, (b"Impersonate-Scopes", b"x")],
        [USER, (b"Impersonate-Extra-", b"x")],
        [USER, (b"Impersonate-Extra-%ff", b"x")],
        [USER, (b"Impersonate-Group", b"\xff")],
        [USER, (b"Impersonate-Extra-cluster-tunnel%2foriginal-user", b"root")],
        [USER, (b"Impersonate-Extra-Cluster-Tunnel%2Frequest-id", b"x")],
        [USER, (b"Impersonate-Extra-%43luster-tunnel/x", b"x")],
    ],
)
def test_what_could_be_read_in_two_ways_or_is_the_tunnels_own_is_refused(fields: list[Field]) -> None:
    with pytest.raises(BadRequest):
        read_acting(fields)


@given(st.binary(min_size=1, max_size=30))
def test_a_key_is_told_to_the_apiserver_as_it_was_read(key: bytes) -> None:
    """Else the review would be about another one than what is asked for."""
    name = b"Impersonate-Extra-" + key
    try:
        read = read_acting([USER, (name, b"v")])
    except BadRequest:
        return
    (again,) = impersonation_fields(read)[1:]
    assert read_acting([USER, again]) == read
