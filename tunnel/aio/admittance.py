"""Which new connections get a TLS handshake: so many at once, fairly between addresses, and so many begun in a second."""

from collections import Counter
from dataclasses import dataclass
from enum import Enum
from typing import Final, Generic, Protocol, TypeVar

from tunnel.kit.bucket import Buckets, network_of

PENDING_HANDSHAKES: Final = 1024
"""Connections in their handshake at a time. Each holds about 30 KiB and two threads make about 1 200 handshakes a second, so
this is a second's work."""

PATIENCE_SECONDS: Final = 1.0
"""For so long a handshake that has begun keeps its place while its peer is to speak: our signature is made by then, and is lost where
it has to give way. When a thousand agents dial again at once nearly all of them wait, and those that gave way came again: taking
them in took 39 s and 25 ms of the stub's CPU each, of which 15 were for handshakes that came to nothing (`growth storm`)."""

BURST_SECONDS: Final = 5.0
"""What may begin at once is this many seconds' worth: agents dial their channels together, and after an outage all users come."""

_EVERYBODY: Final = ""


class TurnedAway(Enum):
    """Why a connection gets no handshake, or loses the one that it has begun."""

    CROWD = "too many handshakes are under way"
    ADDRESS_RATE = "too many handshakes in a short time from this address"
    TOTAL_RATE = "too many handshakes in a short time"
    GAVE_WAY = "its peer said nothing when others needed the place"


class Waiting(Protocol):
    """A connection in its handshake."""

    peer: str

    @property
    def waits_for_peer(self) -> bool:
        """Whether it is the peer's turn; else the handshake is at work, or waits for a thread."""
        ...

    @property
    def waiting_since(self) -> float:
        """When that became so, by the loop's clock; the beginning of time where the peer has not said anything yet, or where
        the handshake has failed and the connection is kept for its alert alone."""
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
        self._crowds: dict[str, dict[Stream, None]] = {}  # the same by network, the oldest first
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
            reason, closed = self._make_room(stream, now)
        if closed is not stream or reason is None:
            self._pending[stream] = network
            self._crowds.setdefault(network, {})[stream] = None
        if reason is None:
            return None
        self.turned_away[reason] += 1
        return closed, reason

    def over(self, stream: Stream) -> None:
        """Its handshake is over, well or not; also for one that was never taken in."""
        network = self._pending.pop(stream, None)
        if network is not None:
            crowd = self._crowds[network]
            del crowd[stream]
            if not crowd:
                del self._crowds[network]

    def _rate_refusal(self, network: str, now: float) -> TurnedAway | None:
        if self._by_address is not None and self._by_address.take(network, now):
            return TurnedAway.ADDRESS_RATE
        if self._total is not None and self._total.take(_EVERYBODY, now):
            return TurnedAway.TOTAL_RATE
        return None

    def _make_room(self, newcomer: Stream, now: float) -> tuple[TurnedAway, Stream]:
        """Find who gives way: the oldest whose peer is waited for and has said nothing yet, or nothing for a while, of the address that
        has most handshakes under way. Honest peers speak at once. Where there is none the newcomer goes, which has cost nothing."""
        for crowd in sorted(self._crowds.values(), key=len, reverse=True):
            for each in crowd:
                if each.waits_for_peer and now - each.waiting_since >= PATIENCE_SECONDS:
                    self.over(each)
                    return TurnedAway.GAVE_WAY, each
        return TurnedAway.CROWD, newcomer


def _buckets(per_second: int) -> Buckets | None:
    return Buckets(per_second, max(1.0, per_second * BURST_SECONDS)) if per_second else None
