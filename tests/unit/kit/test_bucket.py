"""Token buckets."""

import pytest

from tunnel.kit.bucket import Buckets, network_of


def test_a_bucket_is_full_at_first_and_fills_evenly() -> None:
    buckets = Buckets(per_second=2, capacity=3)
    assert [buckets.take("a", 10.0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert buckets.take("a", 10.25) == 0.25
    assert [buckets.take("a", 11.0) for _ in range(3)] == [0, 0, 0.5]


def test_what_is_not_taken_does_not_pile_up() -> None:
    buckets = Buckets(per_second=1, capacity=2)
    assert [buckets.take("a", now) for now in (0.0, 1e6, 1e6, 1e6)] == [0, 0, 0, 1]


def test_keys_do_not_share() -> None:
    buckets = Buckets(per_second=1, capacity=1)
    assert [buckets.take(key, 0.0) for key in ("a", "b", "a")] == [0, 0, 1]


def test_the_key_heard_longest_ago_is_forgotten() -> None:
    buckets = Buckets(per_second=1, capacity=1, keys=2)
    assert [buckets.take(key, 0.0) for key in "abacab"] == [0, 0, 1, 0, 1, 0]


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", "unknown"),
        ("", ""),
    ],
)
def test_an_ipv6_network_counts_as_one_address(address: str, network: str) -> None:
    assert network_of(address) == network


def test_an_ipv4_address_within_ipv6_counts_alone() -> None:
    assert network_of("::ffff:192.0.2.1") != network_of("::ffff:192.0.2.2")
