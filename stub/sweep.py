"""What happens on a timer rather than per request: certificates are read again, and what they no longer justify is cut."""

import asyncio
import logging
import ssl
from collections.abc import Iterator, Sequence

from certs.followed import Followed
from certs.peer import PeerCertificate
from certs.standing import Standing
from stub.agents.link import AgentLink
from stub.agents.registry import Registry
from stub.front.connection import FrontConnection
from stub.front.exchange import Exchange
from stub.front.office import FrontOffice
from tunnel.aio.listen import Listener

_log = logging.getLogger(__name__)


class Sweep:
    """See the module.

    Args:
        standing: judges certificates.
        office: the users' connections.
        registry: the agents' sessions.
        listeners: each with what its TLS context is made from.
    """

    def __init__(
        self,
        standing: Standing,
        office: FrontOffice,
        registry: Registry,
        listeners: Sequence[tuple[Listener, Followed[ssl.SSLContext]]],
    ) -> None:
        self._standing = standing
        self._office = office
        self._registry = registry
        self._listeners = listeners

    async def run(self, interval_seconds: float) -> None:
        """Sweep until cancelled."""
        while True:
            await asyncio.sleep(interval_seconds)
            self.sweep(asyncio.get_running_loop().time())

    def sweep(self, now: float) -> None:
        """Do it once, at a monotonic time in seconds."""
        for listener, followed in self._listeners:
            before = followed.value
            if followed.current(now) is not before:
                listener.set_context(followed.value)
                _log.info("the listener's certificate was read again")
        for connection, reason in self._standing.sweep(self._users()):
            _log.warning("a user is cut", extra={"address": connection.stream.peer, "reason": reason})
            connection.abort(reason)
        for link, reason in self._standing.sweep(self._agents()):
            self._cut(link, reason)
        for exchange, reason in self._standing.sweep_revoked(self._answered()):
            exchange.agent_revoked(reason)

    def _cut(self, link: AgentLink, reason: str) -> None:
        """What an agent's channels carry goes on where its certificate merely ran out: it has renewed, or it will not ask again."""
        _log.warning("an agent is cut", extra={"cluster": link.cluster, "agent": link.name, "reason": reason})
        if link.peer is not None and self._standing.revocation(link.peer) is not None:
            link.runner.reject(reason)  # its channels and pipes go with it
        else:
            link.runner.close(reason)

    def _users(self) -> Iterator[tuple[FrontConnection, PeerCertificate]]:
        for connection in list(self._office.connections):
            peer = connection.certificate
            if peer is not None:
                yield connection, peer

    def _answered(self) -> Iterator[tuple[Exchange, PeerCertificate]]:
        """What agents are answering, that of sessions which have ended since included: an agent that expects to be revoked could
        end its session and keep what it carries."""
        for connection in list(self._office.connections):
            exchange = connection.running
            if exchange is not None and exchange.link is not None and exchange.link.peer is not None:
                yield exchange, exchange.link.peer

    def _agents(self) -> Iterator[tuple[AgentLink, PeerCertificate]]:
        for link in list(self._registry.links):
            if link.peer is not None:
                yield link, link.peer
