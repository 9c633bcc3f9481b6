"""Token buckets: how often something may be done by each of many, over time and at once."""

from collections import OrderedDict
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

KEYS: Final = 4096
"""Keys remembered; the one heard longest ago is forgotten first, which gives it a full bucket again."""

_IPV6_PREFIX: Final = 64
"""One subscriber's network: who has one IPv6 address has all of these."""


class Buckets:
    """A bucket for each key, full at first, from which one is taken each time and which fills up evenly.

    Args:
        per_second: how fast each fills.
        capacity: how many may be taken at once.
        keys: how many are remembered.
    """

    __slots__ = ("_capacity", "_left", "_most", "_per_second")

    def __init__(self, per_second: float, capacity: float, keys: int = KEYS) -> None:
        self._per_second = per_second
        self._capacity = capacity
        self._most = keys
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str, now: float) -> float:
        """Take one; return 0, or after how many seconds there will be one where there is none.

        Args:
            now: seconds on a clock that never goes back.
        """
        left, at = self._left.pop(key, (self._capacity, now))
        left = min(self._capacity, left + (now - at) * self._per_second)
        taken = left >= 1
        self._left[key] = (left - 1 if taken else left, now)
        if len(self._left) > self._most:
            self._left.popitem(last=False)
        return 0.0 if taken else (1 - left) / self._per_second


def network_of(address: str) -> str:
    """Return what counts as one address: an IPv4 address, or an IPv6 address's /64; what is neither, as it is."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return str(ip_network((parsed, _IPV6_PREFIX), strict=False))
    return str(parsed)
