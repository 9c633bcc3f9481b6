from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel.core.errors import Forbidden
from tunnel.core.http.fields import field_fault
from tunnel.core.identity import (
    ATTRIBUTE_COUNT,
    NAME_CHARACTERS,
    Identity,
    check_identity,
    impersonation_fields,
)


@pytest.mark.parametrize(
    "identity",
    [
        Identity("alice"),
        Identity("Jörg Müller", ("dev ops", "systems", "x:system:y")),
        Identity("CN=a,O=b", ("g",), "uid-1", (("scopes", ("a", "b")), ("example.com/x", ()))),
        Identity("a" * NAME_CHARACTERS),
        Identity("a", ("g",) * ATTRIBUTE_COUNT),
    ],
)
def test_an_ordinary_identity_passes(identity: Identity) -> None:
    check_identity(identity)


@pytest.mark.parametrize(
    "name",
    [
        "",
        " alice",
        "alice ",
        "alice\n",
        "a\rb",
        "a\0b",
        "a\x1bb",
        "a\x7fb",
        "a\x85b",
        "\u00a0a",
        "a\ud800",
        "a" * 1025,
    ],
)
def test_an_attribute_that_could_be_misread_is_refused_and_named(name: str) -> None:
    cases = {
        "user name": Identity(name),
        "group": Identity("u", ("g", name)),
        "uid": Identity("u", (), name),
        "extra key": Identity("u", (), None, ((name, ("v",)),)),
        "value of the extra key 'k'": Identity("u", (), None, (("k", ("v", name)),)),
    }
    for attribute, identity in cases.items():
        with pytest.raises(Forbidden, match=attribute) as caught:
            check_identity(identity)
        assert caught.value.message.isprintable()
        assert len(caught.value.message) < 200


@pytest.mark.parametrize("name", ["system:admin", "system:", "system:serviceaccount:a:b", "System:Admin"])
def test_a_system_user_is_refused_unless_allowed_by_name(name: str) -> None:
    with pytest.raises(Forbidden, match=r"user name .* reserved"):
        check_identity(Identity(name), allow_groups=frozenset({name}))
    check_identity(Identity(name), allow_users=frozenset({name}))


@pytest.mark.parametrize("group", ["system:masters", "system:nodes", "system:authenticated"])
def test_a_system_group_is_refused_unless_allowed_by_name(group: str) -> None:
    identity = Identity("alice", ("dev", group))
    with pytest.raises(Forbidden, match=f"group '{group}' is reserved"):
        check_identity(identity, allow_users=frozenset({group}), allow_groups=frozenset({"system:"}))
    check_identity(identity, allow_groups=frozenset({group}))


def test_allowing_a_name_does_not_allow_a_malformed_one() -> None:
    with pytest.raises(Forbidden, match="is empty"):
        check_identity(Identity(""), allow_users=frozenset({""}))


def test_more_groups_and_extra_values_than_the_limit_are_refused() -> None:
    extra = (("k", ("v",) * 200),)
    check_identity(Identity("u", ("g",) * 56, None, extra))
    with pytest.raises(Forbidden, match="257 groups and extra values"):
        check_identity(Identity("u", ("g",) * 57, None, extra))


def test_an_identity_becomes_the_apiservers_own_fields() -> None:
    identity = Identity("jörg", ("dev", "ops"), "u-1", (("Scopes", ("a", "b")), ("example.com/x%", ("ü",))))
    assert impersonation_fields(identity) == [
        (b"Impersonate-User", "jörg".encode()),
        (b"Impersonate-Group", b"dev"),
        (b"Impersonate-Group", b"ops"),
        (b"Impersonate-Uid", b"u-1"),
        (b"Impersonate-Extra-scopes", b"a"),
        (b"Impersonate-Extra-scopes", b"b"),
        (b"Impersonate-Extra-example.com%2fx%25", "ü".encode()),
    ]


names = st.text(max_size=12)


@given(
    names,
    st.lists(names, max_size=3),
    names | st.none(),
    st.lists(st.tuples(names, st.tuples(names)), max_size=2),
)
def test_a_checked_identity_is_always_told_in_well_formed_fields(
    user: str, groups: list[str], uid: str | None, extra: list[tuple[str, tuple[str]]]
) -> None:
    identity = Identity(user, tuple(groups), uid, tuple(extra))
    try:
        check_identity(identity)
    except Forbidden:
        return
    fields = impersonation_fields(identity)
    assert field_fault(fields) is None
    assert all(value == value.strip() != b"" for _, value in fields)
    # The apiserver lower-cases a name, then undoes the percent-escapes.
    keys = [
        unquote(name.decode().lower().removeprefix("impersonate-extra-")) for name, _ in fields[-len(extra) :]
    ]
    assert not extra or keys == [key.lower() for key, _ in extra]
