"""What an operator can set on a stub."""

from dataclasses import dataclass
from pathlib import Path

from tunnel.core import limits
from tunnel.core.identifiers import ClusterId, parse_cluster_id
from tunnel.kit import values
from tunnel.kit.process import ProcessSettings
from tunnel.kit.settings import setting
from tunnel.kit.values import Address, Form


def _read_domain(text: str) -> str:
    domain = text.strip(".").lower()
    if not all(label.replace("-", "").isalnum() for label in domain.split(".")) or not domain.isascii():
        raise ValueError(f"{text!r} is not a domain: give one such as clusters.example.com")
    return domain


_cluster: Form[ClusterId] = Form(parse_cluster_id, metavar="CLUSTER")
_domain = Form(_read_domain, metavar="DOMAIN")


@dataclass(frozen=True, slots=True, kw_only=True)
class StubSettings(ProcessSettings):
    """The settings of `cluster-tunnel stub`. Times are in seconds, sizes in bytes."""

    # Where ---------------------------------------------------------------------------------------

    listen: Address = setting(
        parse=values.address,
        default=Address("0.0.0.0", 8443),  # noqa: S104 a stub is there to be reached
        help="Where users connect, and agents too unless --agent-listen is given.",
    )
    agent_listen: Address | None = setting(
        parse=values.address,
        default=None,
        help="A second listener, for agents alone; then --listen takes no agents. The default is the same as --listen.",
    )
    admin_listen: Address | None = setting(
        parse=values.optional(values.address),
        default=Address("127.0.0.1", 8444),
        help="Where /livez, /readyz, /metrics and /clusters are served over plain HTTP: on loopback or the pod network.",
    )
    ca_dir: Path = setting(
        parse=values.existing_folder,
        help="The folder with server.crt, server.key, user-ca.crt and agent-ca.crt, as 'cluster-tunnel certs' makes it. "
        "The keys of the authorities are not needed.",
    )

    # Which cluster -------------------------------------------------------------------------------

    domain: str | None = setting(
        parse=_domain,
        default=None,
        help="The clusters' hosts are CLUSTER.DOMAIN. Without it only the path /clusters/CLUSTER and the default choose one.",
    )
    default_cluster: ClusterId | None = setting(
        parse=_cluster,
        default=None,
        help="The cluster of a request that names none by host or path; without it such a request is refused (404).",
    )

    # Who -----------------------------------------------------------------------------------------

    allow_users: tuple[str, ...] = setting(
        parse=values.text,
        repeatable=True,
        metavar="NAME",
        help="A user name beginning with 'system:' that certificates may carry; all others are refused, because "
        "Kubernetes gives such names rights of their own. The agent's ceiling must allow it as well.",
    )
    allow_groups: tuple[str, ...] = setting(
        parse=values.text,
        repeatable=True,
        metavar="NAME",
        help="A group beginning with 'system:' that certificates may carry, as --allow-users.",
    )
    access: Path | None = setting(
        parse=values.existing_file,
        default=None,
        help="The rules that say who may reach which cluster, and what for (docs/identity.md); read again when they "
        "change. Without it every user certificate may reach every cluster.",
    )
    forward_cookies: bool = setting(
        parse=values.boolean,
        default=False,
        help="Let Cookie and Set-Cookie pass, for browsers that reach services through the apiserver's proxy. All "
        "clusters under one host would share them, so they are dropped otherwise.",
    )
    audit: str | None = setting(
        parse=values.optional(values.text),
        default=None,
        metavar="FILE|-|off",
        help="Append one JSON line for each request to FILE, or to standard output (-).",
    )

    # How much ------------------------------------------------------------------------------------

    max_connections: int = setting(
        parse=values.count(minimum=1),
        default=8192,
        help="Connections of users that may be open at once; further ones wait unaccepted.",
    )
    max_pending_handshakes: int = setting(
        parse=values.count(minimum=1),
        default=256,
        help="TLS handshakes under way at once, about 1.5 ms of CPU each; further ones wait their turn.",
    )

    # How long ------------------------------------------------------------------------------------

    drain_grace: float = setting(
        parse=values.duration,
        default=30.0,
        help="How long running responses and pipes may go on after SIGTERM. In a Pod, "
        "terminationGracePeriodSeconds must be longer by 5 s or so.",
    )
    handshake_timeout: float = setting(
        parse=values.timeout,
        default=limits.HANDSHAKE_SECONDS,
        help="How long a TLS handshake may take.",
    )
    head_timeout: float = setting(
        parse=values.timeout,
        default=limits.HEAD_SECONDS,
        help="How long a request's head may take from its first byte to its last.",
    )
    idle_timeout: float = setting(
        parse=values.timeout,
        default=limits.IDLE_SECONDS,
        help="How long a user's connection may be silent between two requests. A running request has no limit.",
    )
    splice_drain: float = setting(
        parse=values.duration,
        default=limits.CLOSE_SECONDS,
        help="How long the other direction of an exec, attach or port-forward may go on after one side ended.",
    )
