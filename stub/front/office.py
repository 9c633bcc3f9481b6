"""What all users' connections share: the checks, the agents to ask, identifiers, and the book-keeping."""

import asyncio
import itertools
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from stub.agents.link import AgentLink
from stub.agents.registry import Registry
from stub.front.admission import Admission
from stub.front.quotas import QuotaLimits, Quotas
from stub.slots import Switch
from tunnel.core import limits
from tunnel.core.audit import Stage
from tunnel.core.errors import NotFound, Unavailable
from tunnel.core.http.fields import sanitise_response
from tunnel.core.http.message import Field
from tunnel.core.http.shapes import RESPONSE_SPECIAL, Shapes
from tunnel.core.identifiers import ClusterId

if TYPE_CHECKING:
    from stub.front.connection import FrontConnection
    from stub.front.exchange import Exchange
    from stub.recording.recorder import Recorder
    from stub.signing.endpoints import SigningEndpoints

RECENTLY_SECONDS: Final = 10.0
"""How long after a cluster's last agent left a client is asked to try again; agents re-dial within seconds."""

STARTING_SECONDS: Final = 30.0
"""How long after its start a stub takes a cluster it has not seen for one whose agents are still dialling: an agent finds a new
stub within 30 s, by looking its name up again."""


class Ledger(Protocol):
    """Hears of every exchange that is over."""

    def exchange_completed(self, exchange: "Exchange", reason: str) -> None: ...


class StageLedger(Protocol):
    """Hears of the stages of an exchange before its last."""

    def exchange_reached(self, exchange: "Exchange", stage: Stage) -> None: ...


class ActiveCheck(Protocol):
    """Knows whether this stub is the active one of several."""

    def require_active(self) -> None:
        """Do nothing while it is. Raises Unavailable: it stands by."""


@dataclass(frozen=True, slots=True)
class Signing:
    """What issues certificates.

    Attributes:
        endpoints: what answers.
        tasks: owns that work.
    """

    endpoints: "SigningEndpoints"
    tasks: asyncio.TaskGroup


class FrontOffice:
    """See the module.

    Args:
        admission: the checks.
        registry: the agents.
        ledgers: the audit log, the metrics.
        idle_seconds, head_seconds, body_idle_seconds, splice_drain_seconds, retry_seconds: the settings of these names.
        quotas: how much one address, user and cluster may have open.
    """

    def __init__(
        self,
        admission: Admission,
        registry: Registry,
        ledgers: tuple[Ledger, ...] = (),
        *,
        idle_seconds: float = limits.IDLE_SECONDS,
        head_seconds: float = limits.HEAD_SECONDS,
        body_idle_seconds: float = limits.BODY_IDLE_SECONDS,
        splice_drain_seconds: float = limits.CLOSE_SECONDS,
        retry_seconds: float = limits.RETRY_SECONDS,
        quotas: QuotaLimits = QuotaLimits(),  # noqa: B008 frozen
    ) -> None:
        self.admission = admission
        self._registry = registry
        self._ledgers = ledgers
        self._loop = asyncio.get_running_loop()
        self.now = self._loop.time
        """Returns the monotonic time in seconds. Bound once: it is asked twice a request."""
        self.idle_seconds = idle_seconds
        self.head_seconds = head_seconds
        self.body_idle_seconds = body_idle_seconds
        self.splice_drain_seconds = splice_drain_seconds
        self.retry_seconds = retry_seconds
        self.quotas = Quotas(quotas)
        self.connections: set[FrontConnection] = set()
        self.empty = asyncio.Event()
        """Set while no user is connected."""
        self.empty.set()
        self.draining = False
        self._started_at = self._loop.time()
        self._settled_at = self._started_at
        """Until then an agent that is missing may be on its way from the stub that was active before."""
        self.epoch = 0
        self.signing: Signing | None = None
        """What issues certificates; None before the stub serves."""
        self.recorder: Recorder | None = None
        """Records exec and attach, where that is wanted."""
        self.stages: StageLedger | None = None
        """Hears of exchanges while they run."""
        self.leadership: ActiveCheck | None = None
        """Asked before each request, where there are several stubs."""
        self.answer_shapes = Shapes(self.sanitise_answer, RESPONSE_SPECIAL)
        # Unique without a random number per request: 8 random bytes for this process, then a counter.
        self._audit_prefix = secrets.token_bytes(8)
        self._audit_numbers = itertools.count(1)

    def sanitise_answer(self, fields: list[Field]) -> list[Field]:
        """Return what of an answer's fields a client may see."""
        return sanitise_response(fields, forward_set_cookie=self.admission.rules.forward_cookies)

    def connection_opened(self, connection: "FrontConnection") -> None:
        """A user connected."""
        self.connections.add(connection)
        self.empty.clear()

    def connection_gone(self, connection: "FrontConnection") -> None:
        """A user's connection is closed, or its pipe is."""
        self.connections.discard(connection)
        if not self.connections:
            self.empty.set()

    def new_audit_id(self) -> bytes:
        """Return 16 bytes that name a request in every log."""
        return self._audit_prefix + next(self._audit_numbers).to_bytes(8)

    def became_active(self) -> None:
        """This stub follows another one, or itself before a restart. The agents that served there and are not here yet will be
        soon: within `RECENTLY_SECONDS`, or `STARTING_SECONDS` where it has only just been started. Until then clients are told
        to come again. A stub without a lease follows nobody, and tells at once that no agent is there."""
        now = self._loop.time()
        self._settled_at = max(now + RECENTLY_SECONDS, self._started_at + STARTING_SECONDS)

    def require_active(self) -> None:
        """Do nothing while this stub answers requests.

        Raises:
            Unavailable: it stands by, or is about to stop.
        """
        if self.draining:
            raise Unavailable("this stub is shutting down; try again", retry_after=1, close=True)
        if self.leadership is not None:
            self.leadership.require_active()

    def find_agent(
        self, cluster: ClusterId, *, hidden: bool = False, avoid: AgentLink | None = None
    ) -> AgentLink:
        """Return the agent to ask; of a hidden cluster, none was ever connected.

        Args:
            avoid: an agent that was asked already.

        Raises:
            Unavailable: none is connected, or this stub stands by or is about to stop.
            NotFound: no agent of that cluster was ever connected, so the id may be wrong.
        """
        self.require_active()
        if hidden:
            raise self._never_seen(cluster)
        link = self._registry.pick(cluster, avoid)
        if link is not None:
            return link
        entry = self._registry.clusters.get(cluster)
        if entry is not None:
            raise self._unavailable(cluster, entry.left_at)
        raise self._never_seen(cluster)

    def _never_seen(self, cluster: ClusterId) -> Unavailable | NotFound:
        """A stub learns which clusters exist from their agents alone, so shortly after its start it cannot tell."""
        now = self._loop.time()
        expected = now < self._settled_at
        known = cluster == self.admission.rules.default_cluster
        if known or expected or now - self._started_at < STARTING_SECONDS:
            return Unavailable(
                f"no agent of cluster {cluster!r} is connected to this stub yet; check the agent's log",
                retry_after=1 if expected else None,
            )
        return NotFound(
            f"no agent of cluster {cluster!r} has ever connected to this stub; check the cluster's name"
        )

    def _unavailable(self, cluster: ClusterId, left_at: float | None) -> Unavailable:
        if left_at is None:
            return Unavailable(f"every agent of cluster {cluster!r} is draining; try again", retry_after=1)
        now = self._loop.time()
        gone = now - left_at
        expected = gone < RECENTLY_SECONDS or now < self._settled_at
        message = f"no agent of cluster {cluster!r} is connected; the last one left {gone:.0f} s ago"
        return Unavailable(message, retry_after=1 if expected else None)

    def slot_switched(self, switch: Switch) -> None:
        """End what users of a slot have open: resource versions of one cluster mean nothing in another, so that a watch that went on
        would miss what it should show. A connection with nothing under way stays: clients keep one for all clusters of a host, and
        its next request goes where the slot leads by then."""
        for connection in list(self.connections):
            if connection.uses(switch.slot):
                connection.abort(f"the slot {switch.slot!r} moved to the cluster {switch.after!r}")

    def reached(self, exchange: "Exchange", stage: Stage) -> None:
        """An exchange goes on."""
        if self.stages is not None:
            self.stages.exchange_reached(exchange, stage)

    def completed(self, exchange: "Exchange", reason: str) -> None:
        """An exchange is over; `reason` is empty where it ended as it should."""
        exchange.reason = reason
        for ledger in self._ledgers:
            ledger.exchange_completed(exchange, reason)
