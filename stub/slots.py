"""Slots: a name that stands for the first connected one of an ordered list of clusters, and moves on when that one is gone.

It is the switch for disaster recovery: users keep one kubeconfig, and the cluster behind it changes. All agents of all clusters of
a slot may be connected at the same time; requests go to exactly one cluster of them, so objects of two can never mix. A slot
never moves back by itself: a cluster that returns is out of date, and its owner decides when it is ready (by a drain of the other).
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from tunnel.core.identifiers import ClusterId

SETTLE_SECONDS: Final = 10.0
"""How long a cluster may be without an agent before another takes its slot. A rolling update of its agents takes less."""

_NEVER: Final = float("inf")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Switch:
    """A slot has moved.

    Attributes:
        slot: its name.
        before: the cluster that held it, or None where nobody did.
        after: the cluster that holds it now.
    """

    slot: ClusterId
    before: ClusterId | None
    after: ClusterId


class Slot:
    """One slot's state, as arithmetic on a clock that is handed in.

    Args:
        name: what users call it.
        clusters: in order of preference.
        settle_seconds: see `SETTLE_SECONDS`.
        now: the monotonic time in seconds.

    Attributes:
        holder: the cluster that it stands for; it stays while nobody else is there either.
        switches: how often it has moved from one cluster to another.
    """

    def __init__(
        self, name: ClusterId, clusters: Sequence[ClusterId], settle_seconds: float, now: float
    ) -> None:
        self.name = name
        self.clusters = tuple(clusters)
        self.holder: ClusterId | None = None
        self.switches = 0
        self._settle_seconds = settle_seconds
        self._connected: set[ClusterId] = set()
        self._settled_at = now + settle_seconds

    @property
    def target(self) -> ClusterId:
        """The cluster to ask: the holder, or before there is one the cluster that would be preferred."""
        return self.holder or self.clusters[0]

    def connected(self, cluster: ClusterId, now: float) -> Switch | None:
        """The first agent of a cluster is there."""
        self._connected.add(cluster)
        return self.tick(now)

    def gone(self, cluster: ClusterId, now: float) -> None:
        """The last agent of a cluster is gone."""
        self._connected.discard(cluster)
        if cluster == self.holder:
            self._settled_at = now + self._settle_seconds

    def tick(self, now: float) -> Switch | None:
        """Move where it is time to."""
        if self.holder in self._connected:
            return None
        follower = self._follower()
        # The preferred one need not wait for a first holder; for any other, it may just not have dialled yet.
        first_choice = self.holder is None and follower == self.clusters[0]
        if follower is None or not (first_choice or now >= self._settled_at):
            return None
        before, self.holder = self.holder, follower
        self.switches += before is not None
        return Switch(self.name, before, follower)

    @property
    def next_tick(self) -> float:
        """When `tick` may move it without an agent's coming, as monotonic time; infinite where it cannot."""
        waits = self.holder not in self._connected and self._follower() is not None
        return self._settled_at if waits else _NEVER

    def _follower(self) -> ClusterId | None:
        return next((cluster for cluster in self.clusters if cluster in self._connected), None)


class Timer(Protocol):
    """What a loop's `call_at` returns."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """The part of an event loop that slots need."""

    def time(self) -> float: ...
    def call_at(self, when: float, callback: Callable[[], None]) -> Timer: ...


class SlotBoard:
    """All slots of a stub.

    Args:
        slots: the clusters of each, by its name.
        settle_seconds: see `SETTLE_SECONDS`.
        clock: the running event loop.
        switched: told of each move, so that what the users of the slot have open can be ended: resource versions of one cluster
            mean nothing in another.
    """

    def __init__(
        self,
        slots: Mapping[ClusterId, Sequence[ClusterId]],
        settle_seconds: float,
        clock: Clock,
        switched: Callable[[Switch], None],
    ) -> None:
        self._clock = clock
        self._switched = switched
        self._slots = {
            name: Slot(name, clusters, settle_seconds, clock.time()) for name, clusters in slots.items()
        }
        self._timer: Timer | None = None

    def __iter__(self) -> Iterator[Slot]:
        return iter(self._slots.values())

    def get(self, name: ClusterId) -> Slot | None:
        """Return the slot of this name."""
        return self._slots.get(name)

    def cluster_connected(self, cluster: ClusterId) -> None:
        """The first agent of a cluster is there."""
        self._update(lambda slot, now: slot.connected(cluster, now), cluster)

    def cluster_gone(self, cluster: ClusterId) -> None:
        """The last agent of a cluster is gone."""

        def gone(slot: Slot, now: float) -> None:
            slot.gone(cluster, now)

        self._update(gone, cluster)

    def close(self) -> None:
        """Move nothing any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _update(self, step: Callable[[Slot, float], Switch | None], cluster: ClusterId | None = None) -> None:
        now = self._clock.time()
        for slot in self._slots.values():
            if cluster is None or cluster in slot.clusters:
                self._tell(step(slot, now))
        self._arm()

    def _tell(self, switch: Switch | None) -> None:
        if switch is None:
            return
        facts = {"slot": switch.slot, "before": switch.before or "", "after": switch.after}
        if switch.before is None:
            _log.info("a slot is taken", extra=facts)
        else:
            _log.warning("a slot moves to another cluster", extra=facts)
            self._switched(switch)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        when = min((slot.next_tick for slot in self._slots.values()), default=_NEVER)
        if when < _NEVER:
            self._timer = self._clock.call_at(when, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._update(Slot.tick)
