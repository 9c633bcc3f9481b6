"""The certificates and the user's kubeconfig of one `up`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from certs.files import PRIVATE, replace_file
from certs.kubeconfig import Access, make_kubeconfig
from certs.lifetime import AGENT_LIFE, SERVER_LIFE, USER_LIFE, Lifetime, utc_now
from certs.names import check_groups, check_user, is_reserved
from certs.store import CertificateStore, PairFiles
from tunnel.kit.failures import UsageError
from tunnel.kit.values import Address


@dataclass(frozen=True, slots=True)
class LocalCertificates:
    """Where the pairs of agents and user lie."""

    agent: PairFiles
    user: PairFiles


def make_certificates(
    store: CertificateStore, host: str, cluster: str, user: str, groups: Sequence[str]
) -> LocalCertificates:
    """Make what the stub, the agents and the user need.

    Authorities that are there are kept, so that kubeconfigs handed out earlier stay good. Everything they sign is made
    anew at each start: it follows the flags, and can be neither expired nor from an authority that was replaced.

    Raises:
        CertificateProblem: the folder cannot be written, or an authority in it is broken or has expired.
    """
    now = utc_now()
    store.make_authorities(now)
    store.issue_server([host] if host else [], Lifetime.starting(now, SERVER_LIFE))
    agent = store.issue_agent(cluster, Lifetime.starting(now, AGENT_LIFE))
    person = store.issue_user(user, groups, Lifetime.starting(now, USER_LIFE))
    return LocalCertificates(agent.files, person.files)


def write_kubeconfig(
    path: Path, store: CertificateStore, user: PairFiles, server: Address, cluster: str
) -> None:
    """Write the user's kubeconfig, readable by nobody else.

    Its server is a bare URL, and the stub's default cluster answers: kubectl before 1.34 drops a path with `--raw`.
    """
    access = Access(cluster, f"https://{server}", store.authority_pem("server-ca"), user.read())
    replace_file(path, make_kubeconfig(access).encode(), PRIVATE)


def check_identity(user: str, groups: Sequence[str]) -> None:
    """Raise UsageError where a certificate could not carry these names."""
    try:
        check_user(user)
    except ValueError as error:
        raise UsageError(f"--user: {error}") from None
    try:
        check_groups(groups)
    except ValueError as error:
        raise UsageError(f"--group: {error}") from None
    for name in (user, *groups):
        if is_reserved(name):
            raise UsageError(
                f"{name!r} is reserved: the stub refuses users and groups that begin with 'system:'"
            )
