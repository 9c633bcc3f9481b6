"""What a caller block says."""

import pytest

from agent.caller import Caller, parse_caller
from tunnel.core.errors import BadRequest
from tunnel.core.identity import Identity
from tunnel.core.wire.pairs import encode_pairs

CERTIFICATE = b"extra/cluster-tunnel/certificate-sha256"


def parsed(*pairs: tuple[bytes, bytes]) -> Caller:
    return parse_caller(encode_pairs(pairs=list(pairs)))


def test_it_says_who_asks_from_where_and_with_which_certificate() -> None:
    assert parsed(
        (b"user", b"alice"),
        (b"uid", b"u-1"),
        (b"group", b"devs"),
        (b"extra/team", b"a"),
        (b"extra/team", b"b"),
        (CERTIFICATE, b"0f" * 32),
        (b"address", b"192.0.2.1"),
    ) == Caller(Identity("alice", ("devs",), "u-1", (("team", ("a", "b")),)), "192.0.2.1", "0f" * 32)


@pytest.mark.parametrize("pairs", [(), ((b"address", b"192.0.2.1"),)])
def test_a_block_without_any_name_is_about_nobody(pairs: tuple[tuple[bytes, bytes], ...]) -> None:
    assert parsed(*pairs).identity is None


@pytest.mark.parametrize(
    "pair", [(b"group", b"devs"), (b"uid", b"1"), (b"user", b""), (CERTIFICATE, b"0f" * 32)]
)
def test_half_a_name_is_somebody_without_one(pair: tuple[bytes, bytes]) -> None:
    """Whom the ceiling refuses: nobody may pass for nobody and bring groups."""
    identity = parsed(pair, (b"address", b"192.0.2.1")).identity
    assert identity is not None
    assert identity.user == ""


@pytest.mark.parametrize(
    "name",
    [
        b"USER",
        b"role",
        b"extra",
        b"",
        b"extra/cluster-tunnel/client-address",
        b"extra/cluster-tunnel/request-id",
        b"extra/Cluster-Tunnel/certificate-sha256",
        b"extra/cluster-tunnel/",
    ],
)
def test_what_it_does_not_know_and_what_the_agent_says_itself_is_refused(name: bytes) -> None:
    with pytest.raises(BadRequest, match="upgrade the agent"):
        parsed((b"user", b"alice"), (name, b"1"))


@pytest.mark.parametrize("value", [b"", b"0f" * 31, b"0F" * 32, b"0f" * 32 + b"\n", b"g" * 64])
def test_a_fingerprint_that_is_none_is_refused(value: bytes) -> None:
    with pytest.raises(BadRequest, match="not a SHA-256"):
        parsed((b"user", b"alice"), (CERTIFICATE, value))


@pytest.mark.parametrize("block", [b"user", b"user\0alice\0group", b"user\0\xff\xfe", b"extra/\xff\0a"])
def test_a_block_that_cannot_be_read_is_refused(block: bytes) -> None:
    with pytest.raises(BadRequest, match="cannot be read"):
        parse_caller(block)


@pytest.mark.parametrize(
    "address", [b"10.0.0.1\r\nX: 1", b"example.com", b"1" * 65, b"unix:/run/x", b"\xc2\xb2"]
)
def test_an_address_that_is_none_is_refused(address: bytes) -> None:
    with pytest.raises(BadRequest, match="not an address"):
        parsed((b"user", b"alice"), (b"address", address))


def test_a_link_local_addresss_zone_is_left_out() -> None:
    assert parsed((b"address", b"fe80::1%eth0")).address == "fe80::1"
