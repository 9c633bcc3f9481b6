"""How much one address, one user and one cluster may have open at once, so that none of them takes the stub from the others."""

from dataclasses import dataclass
from typing import Final

from stub.count import Count
from tunnel.core.errors import TooManyRequests
from tunnel.core.identifiers import ClusterId

_RETRY_AFTER: Final = 1


@dataclass(frozen=True, slots=True)
class QuotaLimits:
    """What the operator allows; 0 is no limit.

    Attributes:
        connections_per_address: open at once from one client address. Behind a load balancer that hides addresses, all
            clients share one.
        connections_per_user: open at once with certificates of one user name.
        requests_per_user: under way at once, watches and pipes included.
        requests_per_cluster: the same, of all users together.
    """

    connections_per_address: int = 2048
    connections_per_user: int = 1024
    requests_per_user: int = 1024
    requests_per_cluster: int = 8192


def _too_many(text: str) -> TooManyRequests:
    return TooManyRequests(text, retry_after=_RETRY_AFTER)


class Quotas:
    """All counts of a stub.

    Args:
        limits: what the operator allows.
    """

    __slots__ = ("_clusters", "_users", "addresses", "user_connections")

    def __init__(self, limits: QuotaLimits) -> None:
        self.addresses = Count(
            limits.connections_per_address, "connections are open from your address", _too_many
        )
        self.user_connections = Count(
            limits.connections_per_user, "connections are open with your name", _too_many
        )
        self._users = Count(limits.requests_per_user, "requests of yours are under way", _too_many)
        self._clusters = Count(
            limits.requests_per_cluster, "requests to this cluster are under way", _too_many
        )

    def take_request(self, user: str, cluster: ClusterId) -> None:
        """Count a request in.

        Raises:
            TooManyRequests: its user or its cluster has as many as it may have; then nothing is counted.
        """
        self._users.take(user)
        try:
            self._clusters.take(cluster)
        except TooManyRequests:
            self._users.give_back(user)
            raise

    def give_request_back(self, user: str, cluster: ClusterId) -> None:
        """Count it out."""
        self._users.give_back(user)
        self._clusters.give_back(cluster)


class ConnectionCount:
    """One connection's part in the counts.

    Args:
        quotas: all counts of the stub.

    Attributes:
        refusal: why no request is answered on it, where it is one too many.
    """

    __slots__ = ("_address", "_quotas", "_user", "refusal")

    def __init__(self, quotas: Quotas) -> None:
        self._quotas = quotas
        self._address: str | None = None
        self._user: str | None = None
        self.refusal: TooManyRequests | None = None

    def opened(self, address: str) -> None:
        """It is open."""
        if self._counts(self._quotas.addresses, address):
            self._address = address

    def identified(self, user: str) -> None:
        """It is known whose it is."""
        if self._counts(self._quotas.user_connections, user):
            self._user = user

    def closed(self) -> None:
        """It is closed; may be said more than once."""
        address, self._address = self._address, None
        if address is not None:
            self._quotas.addresses.give_back(address)
        user, self._user = self._user, None
        if user is not None:
            self._quotas.user_connections.give_back(user)

    def _counts(self, count: Count, key: str) -> bool:
        try:
            count.take(key)
        except TooManyRequests as crowd:
            crowd.close = True
            self.refusal = crowd
            return False
        return True
