"""This stub's part among several: it stands by, or is the active one and says so to users, to agents and on its Pod."""

import asyncio
import logging
import socket
from dataclasses import dataclass, field, replace
from typing import Final

from stub.agents.link import AgentLink
from stub.agents.registry import Registry
from stub.election.api import KubernetesApi
from stub.election.candidate import Term
from stub.election.choice import FileLease, KubernetesLease, NoLease
from stub.election.errors import StoreRefused
from stub.election.events import BecameActive, ElectionEvent, Lost, log_event
from stub.election.label import PodLabel
from stub.election.loop import Elector, Surroundings, instance_of, new_identity
from stub.election.stores import LeaseStore
from stub.election.stores.file import FileLeaseStore
from stub.election.stores.kubernetes import KubernetesLeaseStore
from stub.election.timing import ElectionTiming
from stub.front.office import FrontOffice
from stub.settings import StubSettings
from tunnel.core.errors import Unavailable
from tunnel.core.wire.control import Active
from tunnel.kit.failures import CommandFailed

_log = logging.getLogger(__name__)

CLEAR_SECONDS: Final = 5.0
"""How long the election waits at the start for the label of the Pod's former life to be cleared. Behind the first term it would
be cleared from under the active stub; and a stub that may not set labels can still be active."""

SILENT_SECONDS: Final = 15.0
"""A loop that has decided nothing for this long, beside a call to the store, hangs: it waits 2 s at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidacy:
    """What a stub competes for, and as whom.

    Attributes:
        lease: where it is, for people.
        store: the same, for the election.
        identity: this process's name in the lease.
        label: of this stub's Pod; None where nothing is labelled.
        timing: of the election.
        surroundings: clocks and chance.
    """

    lease: FileLease | KubernetesLease
    store: LeaseStore
    identity: str
    label: PodLabel | None = None
    timing: ElectionTiming = field(default_factory=ElectionTiming)
    surroundings: Surroundings = field(default_factory=Surroundings)


def standing_by() -> Unavailable:
    """Return what users of a standby hear. The connection ends with it: another one may lead to the active stub."""
    text = "this stub stands by, because it does not hold the lease; try again"
    return Unavailable(text, retry_after=1, close=True)


def announce(term: Active, office: FrontOffice, registry: Registry) -> None:
    """Let the users and agents of this process know that its stub is the active one."""
    office.epoch = term.epoch
    office.became_active()
    for link in registry.links:
        link.activate(term)


class Contender:
    """A process that takes part in the election; what follows from a term, its subclasses say.

    Args:
        candidacy: what for, and as whom; its store is closed by `close`.
    """

    def __init__(self, candidacy: Candidacy) -> None:
        self._candidacy = candidacy
        self.term: Term | None = None
        """The term in which the leading work is under way."""
        self._over = asyncio.Event()
        self._over.set()
        self.elector = Elector(
            candidacy.store,
            candidacy.identity,
            self._lead,
            candidacy.timing,
            replace(
                candidacy.surroundings,
                on_event=self._hear,
                on_deadline=self.deadline_moved,
                defers=lambda: not self.has_agents(),
            ),
        )
        self.takeovers = 0
        """How often this process has become the active stub."""
        self.losses = 0
        """How often it ceased to be against its will."""

    @property
    def active(self) -> bool:
        """Whether this stub is the active one at this instant, and its agents know."""
        return self.term is not None and self.elector.holds()

    @property
    def known_instances(self) -> tuple[str, ...]:
        """The stub that holds the lease: the only other one that a stub can know of."""
        record = self.elector.record
        holder = instance_of(record.holder) if record is not None else None
        return (holder,) if holder is not None else ()

    def has_agents(self) -> bool:
        """Whether an agent is connected, as far as is known; a stub without one could carry nothing, and leaves a free lease to
        others for a while."""
        return True

    def term_began(self, term: Term) -> None:
        """This stub is the active one."""

    def deadline_moved(self, deadline: float | None) -> None:
        """The term under way lasts until then, on the elector's clock; with None there is none."""

    # Running ---------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Find mistakes before anything is served.

        Raises:
            CommandFailed: the lease cannot be used.
        """
        try:
            await self._candidacy.store.open()
        except StoreRefused as error:
            raise CommandFailed(f"--lease {self._candidacy.lease}: {error}") from None

    async def run(self) -> None:
        """Take part in the election until `hand_over` is called.

        Cancelling it ends it at once: others wait until the lease has run out.
        """
        self._over.clear()
        _log.info(
            "standing by", extra={"lease": str(self._candidacy.lease), "identity": self._candidacy.identity}
        )
        try:
            await self._clear_label()
            await self.elector.run()
        finally:
            self._over.set()

    async def close(self) -> None:
        """Let go of the store, behind `run` or without it."""
        await self._candidacy.store.close()

    async def hand_over(self) -> None:
        """Be active no more from this call on, and wait until the lease is released, or cannot be: some seconds at most."""
        self.elector.stop()
        await self._over.wait()

    async def _clear_label(self) -> None:
        label = self._candidacy.label
        if label is None:
            return
        try:
            async with asyncio.timeout(CLEAR_SECONDS):
                await label.clear_own()
        except TimeoutError:
            _log.warning("the active label of this Pod's former life was not cleared")

    async def _lead(self, term: Term) -> None:
        self.term = term
        self.term_began(term)
        try:
            if self._candidacy.label is not None:
                await self._candidacy.label.keep()
            else:
                await asyncio.get_running_loop().create_future()
        finally:
            self.term = None

    def _hear(self, event: ElectionEvent) -> None:
        log_event(event)
        self.takeovers += isinstance(event, BecameActive)
        self.losses += isinstance(event, Lost)

    # Showing ---------------------------------------------------------------------------------------

    def problem(self) -> str | None:
        """Return why this stub could not become active if it had to, as far as it lies with itself; or None."""
        silent = self.elector.silent_seconds
        if silent <= SILENT_SECONDS + self._candidacy.timing.call_seconds:
            return None
        return f"the election has not moved for {silent:.0f} s"

    def describe(self) -> dict[str, object]:
        """Return what is known of the lease, for people and programs."""
        record = self.elector.record
        return {
            "lease": str(self._candidacy.lease),
            "state": "active" if self.active else "standby",
            "identity": self._candidacy.identity,
            "holder": record.holder if record else "",
            "epoch": record.transitions if record else 0,
            "storeFails": self.elector.failing_since is not None,
        }


def describe_lease(contender: Contender | None) -> dict[str, object]:
    """Return what operators are shown of the lease; None stands for a stub without one, which is always active."""
    return contender.describe() if contender is not None else {"lease": "none", "state": "active"}


class Leadership(Contender):
    """The part of a stub that is one process: it tells its users and agents by itself.

    Args:
        candidacy: what for, and as whom.
        office: has users; learns the epoch.
        registry: has the agents, which learn of each term.
    """

    def __init__(self, candidacy: Candidacy, office: FrontOffice, registry: Registry) -> None:
        super().__init__(candidacy)
        self._office = office
        self._registry = registry
        office.leadership = self
        registry.subscribe(self._agent_added)

    def require_active(self) -> None:
        """Do nothing while this stub is the active one.

        Raises:
            Unavailable: it stands by.
        """
        if not self.active:
            raise standing_by()

    def term_began(self, term: Term) -> None:
        """See `Contender`."""
        announce(Active(term.lease, term.epoch), self._office, self._registry)

    def has_agents(self) -> bool:
        """See `Contender`."""
        return bool(self._registry.links)

    def _agent_added(self, link: AgentLink) -> None:
        if self.term is not None:
            link.activate(Active(self.term.lease, self.term.epoch))
        else:
            self.elector.reconsider()


def make_leadership(
    settings: StubSettings, instance: str, office: FrontOffice, registry: Registry
) -> Leadership | None:
    """Return this stub's part in the election, or None where there is no lease.

    Args:
        settings: of the stub.
        instance: what it calls itself in HELLO.
        office: has users.
        registry: has the agents.
    """
    candidacy = make_candidacy(settings, instance)
    return None if candidacy is None else Leadership(candidacy, office, registry)


def make_candidacy(settings: StubSettings, instance: str) -> Candidacy | None:
    """Return what a stub competes for, and as whom, or None where there is no lease.

    Args:
        settings: of the stub.
        instance: what it calls itself in HELLO; it is part of the holder's name, so that agents' logs can be matched.
    """
    lease = settings.lease
    if isinstance(lease, NoLease):
        return None
    store, label = _make_store(lease, settings)
    return Candidacy(
        lease=lease,
        store=store,
        identity=new_identity(settings.pod_name or socket.gethostname(), instance),
        label=label,
        timing=settings.timing,
    )


def _make_store(
    lease: FileLease | KubernetesLease, settings: StubSettings
) -> tuple[LeaseStore, PodLabel | None]:
    if isinstance(lease, FileLease):
        return FileLeaseStore(lease.path), None
    api = KubernetesApi(settings.lease_kubeconfig)
    label = None
    if settings.pod_name is not None and settings.pod_selector is not None:
        label = PodLabel(api, lease.namespace, settings.pod_name, settings.pod_selector)
    return KubernetesLeaseStore(api, lease.namespace, lease.name), label
