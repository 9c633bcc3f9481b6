"""The folder in which an installation keeps its authorities and what they issued.

    server-ca  user-ca  agent-ca  server  agent-CLUSTER  user-NAME        each with .crt and .key
    denied.json  join-tokens.json  .lock                                  what is revoked, who may join, who writes now

Every part works on the files it needs and no more: a stub's folder holds two authorities without their keys.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from certs import files
from certs.authority import Authority, lifetime_of, make_authority
from certs.denied import DENIED, Denials, make_deny_list, read_denials
from certs.errors import CertificateProblem, FileMissing
from certs.issue import issue_agent, issue_server, issue_user
from certs.lifetime import AUTHORITY_LIFE, Lifetime
from certs.names import AUTHORITIES, SERVER, AuthorityName, agent_stem, user_stem
from certs.pem import KeyPair, PemFile, read_certificates, read_pair


@dataclass(frozen=True, slots=True)
class PairFiles:
    """Where a certificate and its key lie."""

    certificate: Path
    key: Path

    def read(self) -> KeyPair:
        """Return the pair. Raises CertificateProblem where a file is missing, broken, or belongs to another."""
        return read_pair(PemFile(self.certificate), PemFile(self.key))


@dataclass(frozen=True, slots=True)
class Written:
    """What a command did to one pair of files.

    Attributes:
        name: what the pair is, such as `agent-ca`.
        made: False where it existed and was kept.
        expires: when the certificate does.
    """

    name: str
    files: PairFiles
    made: bool
    expires: datetime


class CertificateStore:
    """An installation's folder.

    Args:
        folder: need not exist before `make_authorities`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def files(self, stem: str) -> PairFiles:
        """Return the paths of the pair called `stem`."""
        return PairFiles(self.folder / f"{stem}.crt", self.folder / f"{stem}.key")

    def make_authorities(self, now: datetime, life: timedelta = AUTHORITY_LIFE) -> list[Written]:
        """Make the authorities that are not there yet, and a deny list. What is there is never touched.

        Raises:
            CertificateProblem: the folder cannot be written, or holds a key whose certificate is gone.
        """
        files.make_folder(self.folder)
        with files.locked_folder(self.folder):
            written = [self._ensure_authority(name, Lifetime.starting(now, life)) for name in AUTHORITIES]
            # From the start, so that it is among the files that are copied to where a stub runs.
            make_deny_list(self.folder)
        return written

    def authority(self, name: AuthorityName) -> Authority:
        """Return an authority together with its key, to sign with.

        Raises:
            CertificateProblem: it is not in the folder, or its files are broken.
        """
        paths = self.files(name)
        try:
            return Authority(paths.read(), str(paths.certificate))
        except FileMissing as error:
            hint = f"`cluster-tunnel certs init --dir {self.folder}` makes new authorities"
            raise FileMissing(f"{error}; {hint}") from None

    def authority_pem(self, name: AuthorityName) -> bytes:
        """Return an authority's certificate, to trust; its key is not looked at."""
        source = PemFile(self.files(name).certificate)
        read_certificates(source)
        return source.read()

    def issue_server(self, hosts: Sequence[str], lifetime: Lifetime) -> Written:
        """Write the stub's pair, in place of an earlier one. Raises as `certs.issue.issue_server`."""
        return self._write(SERVER, issue_server(self.authority("server-ca"), hosts, lifetime))

    def issue_agent(self, cluster: str, lifetime: Lifetime) -> Written:
        """Write the pair of a cluster's agent, in place of an earlier one. Raises as `certs.issue.issue_agent`."""
        stem = agent_stem(cluster)
        lifetime = lifetime.behind(self._denials().issued_until("agent", cluster))
        return self._write(stem, issue_agent(self.authority("agent-ca"), cluster, lifetime))

    def issue_user(self, user: str, groups: Sequence[str], lifetime: Lifetime) -> Written:
        """Write a user's pair, in place of an earlier one. Raises as `certs.issue.issue_user`."""
        stem = user_stem(user)
        return self._write(stem, self.user_pair(user, groups, lifetime))

    def user_pair(
        self, user: str, groups: Sequence[str], lifetime: Lifetime, *, for_login: bool = False
    ) -> KeyPair:
        """Return a user's pair that is written nowhere. Raises as `certs.issue.issue_user`, and where the deny list refuses
        the user for good.

        Args:
            for_login: whether it may renew itself, as long as a stub lets it.
        """
        lifetime = lifetime.behind(self._denials().issued_until("user", user))
        authority = self.authority("user-ca")
        until = authority.lifetime.not_after.timestamp() if for_login else None
        return issue_user(authority, user, groups, lifetime, renewable_until=until)

    def _denials(self) -> Denials:
        return Denials(read_denials(self.folder / DENIED))

    def _ensure_authority(self, name: AuthorityName, lifetime: Lifetime) -> Written:
        paths = self.files(name)
        if os.path.lexists(paths.certificate):
            kept = read_certificates(PemFile(paths.certificate))[0]
            return Written(name, paths, made=False, expires=lifetime_of(kept).not_after)
        if os.path.lexists(paths.key):
            raise CertificateProblem(
                f"{paths.key}: its certificate {paths.certificate.name} is gone; restore that, or remove the key"
            )
        pair = make_authority(name, lifetime)
        # The key first: an authority that was begun and has no key would be kept forever, and could sign nothing.
        files.create_file(paths.key, pair.key_pem, files.PRIVATE)
        files.create_file(paths.certificate, pair.certificate_pem, files.PUBLIC)
        return Written(name, paths, made=True, expires=lifetime.not_after)

    def _write(self, stem: str, pair: KeyPair) -> Written:
        paths = self.files(stem)
        with files.locked_folder(self.folder):
            # Two files cannot change in one step. Who watches them sees the certificate change last, when both fit.
            files.replace_file(paths.key, pair.key_pem, files.PRIVATE)
            files.replace_file(paths.certificate, pair.certificate_pem, files.PUBLIC)
        return Written(stem, paths, made=True, expires=lifetime_of(pair.certificate).not_after)
