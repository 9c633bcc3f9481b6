"""Which agents are connected, for which cluster, and which of them is asked next."""

import asyncio
import logging
import random
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from stub.agents.link import AgentLink
from stub.agents.quotas import AgentLimits
from stub.count import Count
from tunnel.core.errors import PeerViolation
from tunnel.core.identifiers import ClusterId

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class ClusterEntry:
    """One cluster's agents.

    Attributes:
        agents: those that have said HELLO.
        left_at: when the last one went, as monotonic time, while there is none.
    """

    agents: list[AgentLink] = field(default_factory=list)
    left_at: float | None = None


class Registry:
    """All connected agents.

    Args:
        choose: picks two of many; a parameter so that tests can decide.
        limits: for each cluster.

    Attributes:
        channels: how many connections carry the answers of each cluster's agents, or could; those of sessions that are over included.
    """

    def __init__(
        self,
        choose: Callable[[list[AgentLink]], list[AgentLink]] | None = None,
        limits: AgentLimits = AgentLimits(),  # noqa: B008 frozen
    ) -> None:
        self._most_sessions = limits.sessions
        self.channels = Count(limits.channels, "channels of this cluster are open", PeerViolation)
        self._clusters: dict[ClusterId, ClusterEntry] = {}
        self._tokens: dict[str, AgentLink] = {}
        self._choose = choose or (lambda agents: random.sample(agents, 2))
        self._on_added: list[Callable[[AgentLink], None]] = []
        self._on_emptied: list[Callable[[ClusterId], None]] = []

    @property
    def clusters(self) -> dict[ClusterId, ClusterEntry]:
        """Every cluster that was ever connected to this process."""
        return self._clusters

    @property
    def links(self) -> Collection[AgentLink]:
        """Every connected agent."""
        return self._tokens.values()

    def subscribe(self, added: Callable[[AgentLink], None]) -> None:
        """Call `added` with each agent that is listed from now on, before it is asked anything."""
        self._on_added.append(added)

    def subscribe_emptied(self, emptied: Callable[[ClusterId], None]) -> None:
        """Call `emptied` with each cluster whose last agent is gone."""
        self._on_emptied.append(emptied)

    def session_of(self, token: str) -> AgentLink | None:
        """Return the session whose channels present this token."""
        return self._tokens.get(token)

    def add(self, link: AgentLink) -> None:
        """List an agent that has said HELLO.

        Raises:
            PeerViolation: its cluster has as many sessions as it may have.
        """
        entry = self._clusters.setdefault(link.cluster, ClusterEntry())
        if 0 < self._most_sessions <= len(entry.agents):
            raise PeerViolation(f"{len(entry.agents)} sessions of this cluster are open, which is the limit")
        entry.agents.append(link)
        entry.left_at = None
        self._tokens[link.token] = link
        _log.info(
            "an agent connected",
            extra={
                "cluster": link.cluster,
                "agent": link.name,
                "address": link.address,
                "agents": len(entry.agents),
            },
        )
        for added in self._on_added:
            added(link)
        # One that dials again has lost the session it had, which this end may not have noticed; or it has workers.
        for older in [each for each in entry.agents if each.name == link.name and each is not link]:
            older.doubt()

    def remove(self, link: AgentLink, reason: str) -> None:
        """Take an agent off the list; its channels keep what they are carrying."""
        if self._tokens.pop(link.token, None) is None:
            return
        entry = self._clusters[link.cluster]
        entry.agents.remove(link)
        if not entry.agents:
            entry.left_at = asyncio.get_running_loop().time()
        _log.info(
            "an agent is gone",
            extra={
                "cluster": link.cluster,
                "agent": link.name,
                "reason": reason,
                "agents": len(entry.agents),
            },
        )
        if not entry.agents:
            for emptied in self._on_emptied:
                emptied(link.cluster)

    def pick(self, cluster: ClusterId, avoid: AgentLink | None = None) -> AgentLink | None:
        """Return the agent to ask: of two drawn at random the one with less to do, which keeps the load even without
        sending everybody to the same idle one (the power of two choices). One whose apiserver does not answer is asked only
        where no other is there, and so is one that owes an answer to a PING: one that vanished without a word gets few requests
        behind the next PING, though it takes another `PONG_SECONDS` to be sure."""
        entry = self._clusters.get(cluster)
        if entry is None:
            return None
        ready = [link for link in entry.agents if link.ready and link is not avoid]
        if len(ready) > 1:
            ready = [link for link in ready if link.report.upstream_reachable] or ready
            ready = [link for link in ready if link.answering] or ready
        if len(ready) < 2:
            return ready[0] if ready else None
        return min(self._choose(ready), key=lambda link: link.in_flight)
