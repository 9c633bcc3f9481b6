"""What the parent of a stub's workers has settled for all of them."""

from dataclasses import dataclass, replace
from typing import Any, Final

from stub.settings import StubSettings
from stub.workers.term import SharedTerm
from tunnel.aio.workers.seat import Seat, own_file, share
from tunnel.kit.values import Address

SHARED_LIMITS: Final = (
    "max_connections",
    "max_connections_per_address",
    "max_connections_per_user",
    "max_requests_per_user",
    "max_requests_per_cluster",
    "max_channels_per_cluster",
    "max_pending_handshakes",
    "max_handshakes_per_second",
    "max_handshakes_per_address",
    "signing_attempts",
)
"""Limits that hold for the whole stub. Each worker keeps to its part of them, because counting together would cost each request a
lock; the kernel spreads connections evenly."""


@dataclass(frozen=True, slots=True)
class Orders:
    """See the module; it travels to their processes by pickle.

    Attributes:
        settings: of the stub, as they were given.
        listen: where users are served, with the real port.
        agent_listen: the same for agents; None where they share it.
        instance: what the stub calls itself in HELLO.
        term: the term under way; None where there is no lease.
    """

    settings: StubSettings
    listen: Address
    agent_listen: Address | None
    instance: str
    term: SharedTerm | None

    def settings_of(self, seat: Seat) -> StubSettings:
        """Return the settings of one worker."""
        settings = self.settings
        parts: dict[str, Any] = {name: share(getattr(settings, name), seat.count) for name in SHARED_LIMITS}
        return replace(
            settings,
            listen=self.listen,
            agent_listen=self.agent_listen,
            admin_listen=None,
            control=own_file(settings.control, seat.number),
            **parts,
        )
