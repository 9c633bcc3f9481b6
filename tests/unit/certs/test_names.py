"""Names in certificates and of files."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certs.names import (
    AUTHORITIES,
    agent_stem,
    check_cluster,
    check_groups,
    check_user,
    parse_host,
    user_stem,
)


@pytest.mark.parametrize("text", ["", "Dev", "a_b", "a.b", "a" * 64, "dev\n", "é", "../x"])
def test_what_is_no_cluster_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a cluster id"):
        check_cluster(text)


@pytest.mark.parametrize("text", ["a", "dev-1", "0", "a" * 63])
def test_a_cluster_id_is_kept(text: str) -> None:
    assert check_cluster(text) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "must not be empty"),
        (" alice", "white space"),
        ("alice ", "white space"),
        ("al\rice", "cannot be printed"),
        ("al\x00ice", "cannot be printed"),
        ("a" * 65, "longer than 64"),
    ],
)
def test_a_user_name_unfit_for_a_header_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        check_user(text)


def test_groups_keep_their_order_and_lose_repetitions() -> None:
    assert check_groups(["ops", "devs", "ops"]) == ("ops", "devs")


def test_an_empty_group_is_refused() -> None:
    with pytest.raises(ValueError, match="a group must not be empty"):
        check_groups(["devs", ""])


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("Stub.Example.com", "stub.example.com"),
        ("stub.example.com.", "stub.example.com"),
        ("*.stub.example.com", "*.stub.example.com"),
        ("10.0.0.1", ipaddress.ip_address("10.0.0.1")),
        ("[::1]", ipaddress.ip_address("::1")),
        ("::1", ipaddress.ip_address("::1")),
    ],
)
def test_hosts_are_names_wildcards_or_addresses(text: str, host: object) -> None:
    assert parse_host(text) == host


@pytest.mark.parametrize(
    "text",
    ["", "https://stub", "stub:8443", "*", "*.com", "a.*.com", "-a.com", "a..b", "münchen.de", "a" * 64],
)
def test_what_no_client_could_match_is_no_host(text: str) -> None:
    with pytest.raises(ValueError, match="is not a host"):
        parse_host(text)


@pytest.mark.parametrize(
    ("user", "stem"),
    [
        ("alice", "user-alice"),
        ("alice@example.com", "user-alice@example.com"),
        ("a/b", "user-a%2Fb"),
        ("..", "user-.."),
        ("système", "user-syst%C3%A8me"),
    ],
)
def test_a_user_s_file_name_is_percent_encoded_where_it_must_be(user: str, stem: str) -> None:
    assert user_stem(user) == stem


def test_nobody_gets_the_files_of_an_authority() -> None:
    assert user_stem("ca") == "user-%63a"
    assert agent_stem("ca") == "agent-%63a"


@given(st.text(min_size=1, max_size=12), st.text(min_size=1, max_size=12))
def test_two_users_never_share_a_file(one: str, other: str) -> None:
    try:
        stems = user_stem(one), user_stem(other)
    except ValueError:
        return
    assert (stems[0] == stems[1]) == (one == other)
    assert not set(stems) & set(AUTHORITIES)
    assert "/" not in stems[0] + stems[1]


def test_a_name_too_long_for_a_file_is_refused_with_a_way_out() -> None:
    with pytest.raises(ValueError, match="cluster-tunnel kubeconfig"):
        user_stem("名" * 64)
