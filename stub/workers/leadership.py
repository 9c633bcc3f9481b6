"""The election where a stub has workers: the parent takes part in it, and its workers follow."""

from dataclasses import replace

from stub.agents.link import AgentLink
from stub.agents.registry import Registry
from stub.election.candidate import Term
from stub.front.office import FrontOffice
from stub.leadership import Candidacy, Contender, announce, standing_by
from stub.workers.term import SharedTerm
from tunnel.aio.workers.link import Link, Message
from tunnel.aio.workers.supervisor import Supervisor
from tunnel.core.wire.control import Active


class ParentLeadership(Contender):
    """The parent's part.

    Args:
        candidacy: what for, and as whom.
        shared: where workers find the deadline.
    """

    def __init__(self, candidacy: Candidacy, shared: SharedTerm) -> None:
        around = replace(candidacy.surroundings, on_record=self._record_told)
        super().__init__(replace(candidacy, surroundings=around))
        self._shared = shared
        self.supervisor: Supervisor | None = None
        """Knows the workers; None before there are any."""
        self._told_instances: tuple[str, ...] = ()

    def term_began(self, term: Term) -> None:
        """See `Contender`."""
        self._shared.begin(term.epoch)
        self._shared.extend(self.elector.deadline)
        if self.supervisor is not None:
            self.supervisor.tell(**_told(term))

    def deadline_moved(self, deadline: float | None) -> None:
        """See `Contender`."""
        # Between the election and the leading work it belongs to a term that nobody was told of.
        self._shared.extend(deadline if self.term is not None else None)

    def _record_told(self) -> None:
        """Workers name the holder to agents, who would look for one that is gone."""
        if self.supervisor is not None and self.known_instances != self._told_instances:
            self._told_instances = self.known_instances
            self.supervisor.tell(instances=self._told_instances)

    def has_agents(self) -> bool:
        """See `Contender`."""
        return self.supervisor is not None and any(
            worker.facts.get("agents") for worker in self.supervisor.workers
        )

    def heard(self) -> None:
        """Workers have agents that they did not have, or the other way round."""
        if self.term is None and self.has_agents():
            self.elector.reconsider()

    def greet(self, link: Link) -> None:
        """Tell a worker that has just begun which term is under way, and who holds the lease."""
        link.send(instances=self._told_instances)
        if self.term is not None:
            link.send(**_told(self.term))


def _told(term: Term) -> dict[str, object]:
    return {"term": [term.lease, term.epoch]}


class WorkerLeadership:
    """A worker's part.

    Args:
        shared: has the deadline.
        office: has users; learns the epoch.
        registry: has the agents, which learn of each term.
    """

    def __init__(self, shared: SharedTerm, office: FrontOffice, registry: Registry) -> None:
        self._shared = shared
        self._office = office
        self._registry = registry
        self._term: Active | None = None
        self.known_instances: tuple[str, ...] = ()
        """The stub that holds the lease, as the parent last said."""
        office.leadership = self
        registry.subscribe(self._agent_added)

    @property
    def active(self) -> bool:
        """Whether this stub is the active one at this instant, and the agents of this worker know."""
        return self._term is not None and self._shared.holds(self._term.epoch)

    def require_active(self) -> None:
        """Do nothing while this stub is the active one.

        Raises:
            Unavailable: it stands by.
        """
        if not self.active:
            raise standing_by()

    def heard(self, message: Message) -> None:
        """Take what the parent says."""
        if "instances" in message:
            self.known_instances = tuple(message["instances"])
        if "term" in message:
            lease, epoch = message["term"]
            self._term = Active(lease, epoch)
            announce(self._term, self._office, self._registry)

    def _agent_added(self, link: AgentLink) -> None:
        if self._term is not None and self.active:
            link.activate(self._term)
