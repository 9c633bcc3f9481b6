"""How often one address may ask for a certificate: each attempt costs a signature check, and a guess must cost time."""

import math
from collections import OrderedDict
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

ADDRESSES: Final = 4096
"""Addresses remembered; the one heard longest ago is forgotten first."""

_IPV6_PREFIX: Final = 64
"""One subscriber's network: who has one IPv6 address has all of these."""


class Attempts:
    """Counts attempts: a bucket of a minute's attempts for each address, which fills up again evenly.

    Args:
        per_minute: attempts of one address in a minute, and at once.
        addresses: how many are remembered.
    """

    def __init__(self, per_minute: int, addresses: int = ADDRESSES) -> None:
        self._capacity = float(per_minute)
        self._per_second = per_minute / 60
        self._most = addresses
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, address: str, now: float) -> int | None:
        """Count an attempt; return after how many seconds the next is allowed where this one is not, else None.

        Args:
            address: an IP address.
            now: seconds on a clock that never goes back.
        """
        key = _network(address)
        left, at = self._left.pop(key, (self._capacity, now))
        left = min(self._capacity, left + (now - at) * self._per_second)
        allowed = left >= 1
        self._left[key] = (left - 1 if allowed else left, now)
        if len(self._left) > self._most:
            self._left.popitem(last=False)
        return None if allowed else max(1, math.ceil((1 - left) / self._per_second))


def _network(address: str) -> str:
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return str(ip_network((parsed, _IPV6_PREFIX), strict=False))
    return str(parsed)
