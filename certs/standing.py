"""Whether a certificate that was accepted still stands: asked for each request, and on a timer for what is open.

A handshake says nothing about later: connections live for days, TLS has no way to ask again, and OpenSSL's own revocation
lists are read once per context.
"""

import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from certs.denied import Denials, DenyList
from certs.peer import PeerCertificate
from certs.trust import Trust

Holder = TypeVar("Holder")


class Standing:
    """See the module.

    Args:
        trust: the authorities.
        denied: the deny list.

    Attributes:
        peers: reads certificates by the authorities in force; it stays the same object while those change.
    """

    def __init__(self, trust: Trust, denied: DenyList) -> None:
        self._trust = trust
        self.peers = trust.peers
        self.denied = denied
        self._next_look = float("-inf")
        self._denials = Denials()

    def read(self, der: bytes) -> PeerCertificate:
        """Return what a certificate says, by the authorities trusted now. Raises PeerRefused where it cannot be parsed."""
        self._trust.refresh(time.monotonic())
        return self.peers.read(der)

    @property
    def faults(self) -> list[str]:
        """Why files as they are now are not in force: for whoever watches a stub."""
        return [fault for fault in (self._trust.problem, self.denied.problem) if fault is not None]

    def problem(self, peer: PeerCertificate) -> str | None:
        """Return why a certificate does not stand now, in words for its holder, or None where it does.

        Dates first: they cost nothing. Changed files are looked at by the way, at most once a second.
        """
        now = time.time()
        if not peer.valid_at(now):
            return peer.problem_at(now) or "the client certificate is not valid now"
        return self.revocation(peer)

    def revocation(self, peer: PeerCertificate) -> str | None:
        """Return why a certificate is not good any more whatever its dates say, or None where it is.

        What an agent has open by a certificate that has run out may go on if it has renewed; by one that was revoked, nothing.
        """
        now = time.monotonic()
        if now >= self._next_look:
            self._look(now)
        if not self.peers.trusts(peer):
            return "the authority of the client certificate is no longer trusted here"
        return self._denials.refuses(peer)

    def _look(self, now: float) -> None:
        """Look at files whose time has come; asking each of them for each request would cost five calls."""
        self._trust.refresh(now)
        self._denials = self.denied.current(now)
        self._next_look = min(self._trust.next_look, self.denied.next_look)

    def sweep(self, holders: Iterable[tuple[Holder, PeerCertificate]]) -> list[tuple[Holder, str]]:
        """Return those whose certificates no longer stand, each with the reason, to be cut.

        Args:
            holders: whatever is open (connections, sessions), with the certificate that opened it.
        """
        return _fallen(holders, self.problem)

    def sweep_revoked(self, holders: Iterable[tuple[Holder, PeerCertificate]]) -> list[tuple[Holder, str]]:
        """As `sweep`, of those alone that were revoked: certificates that merely ran out stand here."""
        return _fallen(holders, self.revocation)


def _fallen(
    holders: Iterable[tuple[Holder, PeerCertificate]], judge: Callable[[PeerCertificate], str | None]
) -> list[tuple[Holder, str]]:
    """Judge each certificate once, however many hold it."""
    problems: dict[str, str | None] = {}
    fallen = []
    for holder, peer in holders:
        if peer.fingerprint not in problems:
            problems[peer.fingerprint] = judge(peer)
        reason = problems[peer.fingerprint]
        if reason is not None:
            fallen.append((holder, reason))
    return fallen
