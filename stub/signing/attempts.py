"""How often one address may ask for a certificate: each attempt costs a signature check, and a guess must cost time."""

import math

from tunnel.kit.bucket import KEYS, Buckets, network_of


class Attempts:
    """Counts attempts: a bucket of a minute's attempts for each address.

    Args:
        per_minute: attempts of one address in a minute, and at once.
        addresses: how many are remembered.
    """

    def __init__(self, per_minute: int, addresses: int = KEYS) -> None:
        self._buckets = Buckets(per_minute / 60, per_minute, addresses)

    def take(self, address: str, now: float) -> int | None:
        """Count an attempt; return after how many seconds the next is allowed where this one is not, else None.

        Args:
            address: an IP address.
            now: seconds on a clock that never goes back.
        """
        wait = self._buckets.take(network_of(address), now)
        return max(1, math.ceil(wait)) if wait else None
