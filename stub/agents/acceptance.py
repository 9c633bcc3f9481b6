"""Decides what becomes of a connection that an agent opened: its certificate says for which cluster it speaks."""

import logging
import time

from certs.errors import PeerRefused
from certs.peer import PeerReader, agent_cluster
from stub.agents.channel import ResponseChannel
from stub.agents.link import AgentLink
from stub.agents.registry import Registry
from tunnel.aio.stream import StreamHandler, TlsFacts
from tunnel.core.identifiers import ClusterId
from tunnel.core.wire.control import CHANNEL_ALPN, StubHello

_log = logging.getLogger(__name__)


class AgentAcceptance:
    """Makes the handlers of agents' connections.

    Args:
        registry: where agents are listed.
        peers: reads certificates.
        hello: what this stub says of itself.
    """

    def __init__(self, registry: Registry, peers: PeerReader, hello: StubHello) -> None:
        self._registry = registry
        self._peers = peers
        self._hello = hello

    def accept(self, tls: TlsFacts, address: str) -> StreamHandler | None:
        """Return the handler of a new connection, or None where it is refused; the reason is logged."""
        try:
            cluster, fingerprint = self._verify(tls)
        except PeerRefused as refusal:
            _log.warning("an agent is refused", extra={"address": address, "reason": str(refusal)})
            return None
        if tls.alpn == CHANNEL_ALPN:
            return ResponseChannel(self._registry, self._hello, fingerprint)
        return AgentLink(self._registry, cluster, fingerprint, self._hello, address).runner

    def _verify(self, tls: TlsFacts) -> tuple[ClusterId, str]:
        if tls.certificate is None:
            raise PeerRefused("it shows no certificate")
        if tls.version != "TLSv1.3":
            raise PeerRefused(f"agents speak TLS 1.3, not {tls.version}")
        peer = self._peers.read(tls.certificate)
        problem = peer.problem_at(time.time())
        if problem:
            raise PeerRefused(problem)
        return ClusterId(agent_cluster(peer)), peer.fingerprint
