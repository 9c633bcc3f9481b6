"""Whose clients are let in: the authorities in the stub's folder and those of others, followed as their files change."""

from collections.abc import Sequence
from pathlib import Path

from certs.followed import RELOAD_SECONDS, Followed
from certs.foreign import UserAuthority
from certs.peer import ClientAuthority, PeerReader
from certs.pem import PemFile, read_certificates


class Trust:
    """See the module.

    Args:
        user_ca: the stub's own authority of users; several certificates while one replaces another.
        agent_ca: that of agents.
        foreign: other authorities of users.
        interval_seconds: how often the files are looked at.

    Attributes:
        peers: reads certificates by what is trusted now; it stays the same object.

    Raises:
        CertificateProblem: a file cannot be used.
    """

    def __init__(
        self,
        user_ca: Path,
        agent_ca: Path,
        foreign: Sequence[UserAuthority] = (),
        interval_seconds: float = RELOAD_SECONDS,
    ) -> None:
        self._user_ca = user_ca
        self._agent_ca = agent_ca
        self._foreign = tuple(foreign)
        self.peers = PeerReader([], [])
        self._files = Followed("the authorities of clients", self.paths, self._take_up, interval_seconds)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files: those of users first, the agents' last."""
        return (self._user_ca, *(authority.path for authority in self._foreign), self._agent_ca)

    @property
    def problem(self) -> str | None:
        """Why the files as they are now are not in force; None where they are."""
        return self._files.problem

    @property
    def next_look(self) -> float:
        """When it is time for another look, on the clock of `refresh`."""
        return self._files.next_look

    def refresh(self, now: float) -> None:
        """Take up what changed, where it is time for a look.

        Args:
            now: seconds on a clock that never goes back.
        """
        self._files.current(now)

    def _take_up(self) -> None:
        foreign = [
            ClientAuthority("user-ca", certificate, authority.prefix, foreign=True)
            for authority in self._foreign
            for certificate in read_certificates(PemFile(authority.path))
        ]
        user_ca, agent_ca = (
            read_certificates(PemFile(self._user_ca)),
            read_certificates(PemFile(self._agent_ca)),
        )
        self.peers.trust(user_ca, agent_ca, foreign)
