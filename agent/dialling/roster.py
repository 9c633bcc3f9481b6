"""Which stub workers this agent has a session with, and who is to look for more."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from tunnel.core.wire.control import StubHello

if TYPE_CHECKING:
    from agent.dialling.session import FiledSession


class Worker(NamedTuple):
    """One process of a stub.

    Attributes:
        server_name: what its certificate proves. The rest is only what it says of itself: the stub behind one name cannot pass for the
            one behind another.
        instance: of the stub.
        number: of the process.
    """

    server_name: str
    instance: str
    number: int


MISSED_SECONDS: Final = 600.0
"""How long an instance that a HELLO named is looked for in haste: a session's HELLO is not renewed, and months later the stubs
it names may be gone for good."""


def worker_of(server_name: str, hello: StubHello) -> Worker:
    """Return who says HELLO behind a certificate for `server_name`."""
    return Worker(server_name, hello.instance, hello.worker)


class Seeker(Protocol):
    """Looks for stubs behind one endpoint."""

    def worker_lost(self, worker: Worker) -> None:
        """The session with a worker is over."""

    def worker_draining(self, worker: Worker) -> None:
        """A worker will go: another one may be there already."""


@dataclass(slots=True)
class DialCounts:
    """What became of the sessions dialled, for metrics.

    Attributes:
        filed: with a worker that had none.
        known: with a worker that had one already; closed again.
        failed: by the step that failed.
        misdirected: response channels that reached another worker than their session's.
    """

    filed: int = 0
    known: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    misdirected: int = 0


class Roster:
    """See the module."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._sessions: dict[Worker, tuple[FiledSession, float]] = {}
        self.seekers: set[Seeker] = set()
        self.counts = DialCounts()

    @property
    def workers(self) -> set[Worker]:
        """Those with a session."""
        return set(self._sessions)

    def session_with(self, worker: Worker) -> "FiledSession | None":
        """Return the session with a worker, if there is one."""
        found = self._sessions.get(worker)
        return found[0] if found else None

    def file(self, worker: Worker, session: "FiledSession") -> None:
        """A session is the one with this worker."""
        self._sessions[worker] = session, self._loop.time()
        self.counts.filed += 1

    def remove(self, worker: Worker, session: "FiledSession") -> None:
        """A session is over; what was not filed does not matter."""
        if self.session_with(worker) is session:
            del self._sessions[worker]
            for seeker in list(self.seekers):
                seeker.worker_lost(worker)

    def drains(self, worker: Worker) -> None:
        """A worker has said so."""
        for seeker in list(self.seekers):
            seeker.worker_draining(worker)

    @property
    def missing(self) -> set[str]:
        """The instances that stubs have named lately and none of whose workers has a session."""
        since = self._loop.time() - MISSED_SECONDS
        named: set[str] = set()
        for session, filed_at in self._sessions.values():
            if session.stub is not None and filed_at > since:
                named.update(session.stub.instances)
        return named - {worker.instance for worker in self._sessions}

    def misses_workers(self, met: set[Worker]) -> bool:
        """Whether the stub of one of these has workers with a session, by whose words there are more."""
        stubs = {worker[:2] for worker in met}
        found = Counter(worker[:2] for worker in self._sessions)
        return any(
            worker[:2] in stubs and session.stub is not None and found[worker[:2]] < session.stub.workers
            for worker, (session, _) in self._sessions.items()
        )
