"""When a certificate is replaced by the next one."""

from datetime import datetime, timedelta
from typing import Final

from certs.authority import lifetime_of
from certs.pem import KeyPair

RENEWED_AT: Final = 2 / 3
"""The part of a certificate's life behind which another one is asked for: a stub may be away for the last third."""


def is_good(pair: KeyPair, now: datetime) -> bool:
    """Whether a certificate's dates hold."""
    return lifetime_of(pair.certificate).problem_at(now) is None


def is_fresh(pair: KeyPair, now: datetime) -> bool:
    """Whether a certificate is good and not yet due for renewal."""
    return is_good(pair, now) and now < renewal_due(pair)


def renewal_due(pair: KeyPair, earlier: float = 0.0) -> datetime:
    """Return when two thirds of a certificate's life are over, counted from when it was made.

    Args:
        earlier: a part of its life by which to be earlier.
    """
    lifetime = lifetime_of(pair.certificate)
    return lifetime.issued + (lifetime.not_after - lifetime.issued) * (RENEWED_AT - earlier)


def expiry(pair: KeyPair) -> datetime:
    """Return when a certificate ends."""
    return lifetime_of(pair.certificate).not_after


def usable_until(pair: KeyPair) -> datetime:
    """Return until when to tell others to use a certificate: a little less than its end, for what is on its way then."""
    lifetime = lifetime_of(pair.certificate)
    return lifetime.not_after - min(timedelta(seconds=30), (lifetime.not_after - lifetime.issued) / 10)
