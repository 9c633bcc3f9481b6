"""Which new connections get a TLS handshake: so many at once, fairly between addresses, and so many begun in a second."""

from collections import Counter
from dataclasses import dataclass
from enum import Enum
from typing import Final, Generic, Protocol, TypeVar

from tunnel.kit.bucket import Buckets, network_of

PENDING_HANDSHAKES: Final = 1024
"""Connections in their handshake at a time. Each holds about 30 KiB and two threads make about 1 200 handshakes a second, so
this is a second's work."""

BURST_SECONDS: Final = 5.0
"""What may begin at once is this many seconds' worth: agents dial their channels together, and after an outage all users come."""

_EVERYBODY: Final = ""


class TurnedAway(Enum):
    """Why a connection gets no handshake, or loses the one that it has begun."""

    CROWD = "too many handshakes are under way"
    ADDRESS_RATE = "too many handshakes in a short time from this address"
    TOTAL_RATE = "too many handshakes in a short time"
    GAVE_WAY = "it waited longest for its peer when others needed the place"


class Waiting(Protocol):
    """A connection in its handshake."""

    peer: str

    @property
    def waits_for_peer(self) -> bool:
        """Whether it is the peer's turn; else the handshake is at work, or waits for a thread."""
        ...


@dataclass(frozen=True, slots=True)
class HandshakeLimits:
    """How many handshakes there may be.

    Attributes:
        pending: under way at a time.
        per_second: begun in a second, from everywhere; 0 is no limit.
        per_address: the same from one IPv4 address, or from one /64 of IPv6; 0 is no limit.
    """

    pending: int = PENDING_HANDSHAKES
    per_second: int = 0
    per_address: int = 0


Stream = TypeVar("Stream", bound=Waiting)


class Admittance(Generic[Stream]):
    """Knows the connections in their handshake.

    Args:
        limits: how many there may be.

    Attributes:
        turned_away: how many connections, by reason.
    """

    def __init__(self, limits: HandshakeLimits) -> None:
        self._limits = limits
        self._total = _buckets(limits.per_second)
        self._by_address = _buckets(limits.per_address)
        self._pending: dict[Stream, str] = {}
        self.turned_away: Counter[TurnedAway] = Counter()

    def __len__(self) -> int:
        return len(self._pending)

    def pending(self) -> tuple[Stream, ...]:
        """Return those in their handshake, the oldest first."""
        return tuple(self._pending)

    def admit(self, stream: Stream, now: float) -> tuple[Stream, TurnedAway] | None:
        """Take a new connection in; return which one has to be closed for that, and why: this one, or another that gives way. None
        where there is room for all.

        Args:
            stream: its `peer` is known.
            now: seconds on a clock that never goes back.
        """
        network = network_of(stream.peer)
        reason = self._rate_refusal(network, now)
        closed = stream
        if reason is None and len(self._pending) >= self._limits.pending:
            reason, closed = self._make_room(stream)
        if closed is not stream or reason is None:
            self._pending[stream] = network
        if reason is None:
            return None
        self.turned_away[reason] += 1
        return closed, reason

    def over(self, stream: Stream) -> None:
        """Its handshake is over, well or not; also for one that was never taken in."""
        self._pending.pop(stream, None)

    def _rate_refusal(self, network: str, now: float) -> TurnedAway | None:
        if self._by_address is not None and self._by_address.take(network, now):
            return TurnedAway.ADDRESS_RATE
        if self._total is not None and self._total.take(_EVERYBODY, now):
            return TurnedAway.TOTAL_RATE
        return None

    def _make_room(self, stream: Stream) -> tuple[TurnedAway, Stream]:
        """Find who gives way: of the address with the most peers that are waited for the oldest. An honest handshake waits for its
        peer a round trip, one that only holds its place until the deadline."""
        waiting = [(each, network) for each, network in self._pending.items() if each.waits_for_peer]
        if not waiting:
            return TurnedAway.CROWD, stream
        crowds = Counter(network for _, network in waiting)
        _, most = max((count, network) for network, count in crowds.items())
        oldest = next(each for each, network in waiting if network == most)
        del self._pending[oldest]
        return TurnedAway.GAVE_WAY, oldest


def _buckets(per_second: int) -> Buckets | None:
    return Buckets(per_second, max(1.0, per_second * BURST_SECONDS)) if per_second else None
