"""Decides what becomes of a connection that an agent opened: its certificate says for which cluster it speaks."""

import logging
from collections.abc import Callable
from dataclasses import replace

from certs.errors import PeerRefused
from certs.peer import PeerCertificate, agent_cluster
from certs.standing import Standing
from stub.agents.channel import ResponseChannel
from stub.agents.link import AgentLink
from stub.agents.registry import Registry
from stub.agents.rejection import RejectedSession
from tunnel.aio.stream import StreamHandler, TlsFacts
from tunnel.core.identifiers import ClusterId
from tunnel.core.wire.control import CHANNEL_ALPN, StubHello

_log = logging.getLogger(__name__)


class AgentAcceptance:
    """Makes the handlers of agents' connections.

    Args:
        registry: where agents are listed.
        standing: reads certificates and says whether they stand.
        hello: what this stub says of itself.

    Attributes:
        known_instances: tells which stubs there are, as far as this one knows now. An agent that reached this one alone looks for
            them in haste.
    """

    def __init__(self, registry: Registry, standing: Standing, hello: StubHello) -> None:
        self._registry = registry
        self._standing = standing
        self._hello = hello
        self.known_instances: Callable[[], tuple[str, ...]] = tuple

    def accept(self, tls: TlsFacts, address: str) -> StreamHandler:
        """Return the handler of a new connection. Where its certificate is none of an agent's or does not stand, which is logged,
        that of a session tells it so.

        Raises:
            PeerRefused: it would be a channel, or shows no certificate.
        """
        try:
            cluster, peer = self._verify(tls)
        except PeerRefused as refusal:
            _log.warning("an agent is refused", extra={"address": address, "reason": str(refusal)})
            if tls.alpn == CHANNEL_ALPN or tls.certificate is None:
                raise
            return RejectedSession(str(refusal))
        hello = self._hello
        others = [instance for instance in self.known_instances() if instance not in hello.instances]
        if others:
            hello = replace(hello, instances=(*hello.instances, *others))
        if tls.alpn == CHANNEL_ALPN:
            return ResponseChannel(self._registry, hello, peer.fingerprint)
        link = AgentLink(self._registry, cluster, peer.fingerprint, hello, address)
        link.peer = peer
        return link.runner

    def _verify(self, tls: TlsFacts) -> tuple[ClusterId, PeerCertificate]:
        if tls.certificate is None:
            raise PeerRefused("it shows no certificate")
        if tls.version != "TLSv1.3":
            raise PeerRefused(f"agents speak TLS 1.3, not {tls.version}")
        peer = self._standing.read(tls.certificate)
        cluster = ClusterId(agent_cluster(peer))
        problem = self._standing.problem(peer)
        if problem:
            raise PeerRefused(problem)
        return cluster, peer
