"""What an operator can set on a stub."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stub.agents.quotas import AgentLimits
from stub.election import choice
from stub.election.choice import KubernetesLease, LeaseChoice, NoLease
from stub.election.timing import ElectionTiming
from stub.front.quotas import QuotaLimits
from stub.signing.settings import SigningSettings, check_signing
from stub.slots import SETTLE_SECONDS
from tunnel.aio.admittance import PENDING_HANDSHAKES
from tunnel.core import limits
from tunnel.core.identifiers import ClusterId, parse_cluster_id
from tunnel.kit import values
from tunnel.kit.failures import UsageError
from tunnel.kit.settings import setting
from tunnel.kit.values import Address, Form


def _read_domain(text: str) -> str:
    domain = text.strip(".").lower()
    if not all(label.replace("-", "").isalnum() for label in domain.split(".")) or not domain.isascii():
        raise ValueError(f"{text!r} is not a domain: give one such as clusters.example.com")
    return domain


def _read_whole_seconds(text: str) -> int:
    seconds = values.timeout.read(text)
    if not seconds.is_integer():
        raise ValueError(f"{text!r} is not a whole number of seconds, which a Lease holds")
    return int(seconds)


_FLAGS: Final = {
    "lease_seconds": "--lease-duration",
    "renew_deadline_seconds": "--lease-renew-deadline",
    "retry_seconds": "--lease-retry",
}
"""What the fields of `ElectionTiming` are called here."""

RECORDING_BYTES: Final = 256 * limits.MIB
"""The default of `--record-exec-max-size`: days of a terminal, or one large file that was copied out."""

_whole_seconds = Form(_read_whole_seconds, values.timeout.write, "DURATION")
_cluster: Form[ClusterId] = Form(parse_cluster_id, metavar="CLUSTER")


def _read_slot(text: str) -> tuple[ClusterId, tuple[ClusterId, ...]]:
    name, equals, listed = text.partition("=")
    if not equals:
        raise ValueError(f"{text!r} is not a slot: give NAME=CLUSTER:CLUSTER")
    clusters = tuple(parse_cluster_id(cluster) for cluster in listed.split(":"))
    slot = parse_cluster_id(name)
    if len(set(clusters)) < len(clusters) or slot in clusters:
        raise ValueError(f"{text!r} names something twice: give NAME=CLUSTER:CLUSTER")
    return slot, clusters


def _write_slot(value: tuple[ClusterId, tuple[ClusterId, ...]]) -> str:
    return f"{value[0]}={':'.join(value[1])}"


_slot = Form(_read_slot, _write_slot, metavar="NAME=CLUSTER:CLUSTER…")
_domain = Form(_read_domain, metavar="DOMAIN")


@dataclass(frozen=True, slots=True, kw_only=True)
class StubSettings(SigningSettings):
    """The settings of `cluster-tunnel stub`. Times are in seconds, sizes in bytes.

    Raises:
        UsageError: two of them contradict each other.
    """

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
        help="Where /livez, /readyz, /metrics, /clusters, /slots and /lease are served over plain HTTP: on loopback or the pod "
        "network.",
    )
    ca_dir: Path = setting(
        parse=values.existing_folder,
        help="The folder with server.crt, server.key, user-ca.crt and agent-ca.crt, as 'cluster-tunnel certs' makes it. The "
        "keys of the authorities are needed, with server-ca.crt, only for what is to be issued here: agent-ca.key lets agents "
        "join and renew, user-ca.key lets users sign in.",
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

    slot: tuple[tuple[ClusterId, tuple[ClusterId, ...]], ...] = setting(
        parse=_slot,
        repeatable=True,
        help="A name that stands for the first connected one of several clusters, in order of preference, and moves on when "
        "that one is gone (docs/high-availability.md).",
    )
    slot_settle: float = setting(
        parse=values.duration,
        default=SETTLE_SECONDS,
        help="How long a cluster may be without an agent before another takes its slot.",
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
    forward_fingerprint: bool = setting(
        parse=values.boolean,
        default=True,
        help="Tell agents the SHA-256 of the certificate that a user showed, for their audit log and, where they are set to "
        "(--impersonate-extra), for the apiserver's.",
    )
    audit: str | None = setting(
        parse=values.optional(values.text),
        default=None,
        metavar="FILE|-|off",
        help="Append a JSON line for each request to FILE, or to standard output (-), as Kubernetes' own audit log has them "
        "(docs/audit.md).",
    )
    record_exec: Path | None = setting(
        parse=values.optional(values.existing_folder),
        default=None,
        help="Record what each exec and attach shows, in a file of this folder that asciinema plays (docs/audit.md).",
    )
    record_exec_input: bool = setting(
        parse=values.boolean,
        default=False,
        help="Record also what users type and pipe in there, passwords included.",
    )
    record_exec_required: bool = setting(
        parse=values.boolean,
        default=False,
        help="Refuse an exec that cannot be recorded, hold it while the disk is slow, and cut it when its recording ends. "
        "Otherwise it goes on without.",
    )
    record_exec_max_size: int = setting(
        parse=values.size,
        default=RECORDING_BYTES,
        help="How long one recording may become; 0 is no limit.",
    )

    # Which of several stubs is active ------------------------------------------------------------

    lease: LeaseChoice = setting(
        parse=choice.lease,
        default=NoLease(),
        help="What several stubs compete for, so that one of them is active and the others stand by "
        "(docs/high-availability.md): a Lease of the cluster they run in, or a file for stubs on one machine. "
        "With none this stub is always active.",
    )
    lease_kubeconfig: Path | None = setting(
        parse=values.existing_file,
        default=None,
        help="How the cluster of a Kubernetes Lease is reached: the current context of this file. The default is the "
        "service account of the stub's Pod.",
    )
    lease_duration: int = setting(
        parse=_whole_seconds,
        default=15,
        help="For how long others leave a lease alone that was not renewed: how long a crash of the active stub is felt.",
    )
    lease_renew_deadline: float = setting(
        parse=values.timeout,
        default=10.0,
        help="How long behind its last renewal a stub is active, less than --lease-duration.",
    )
    lease_retry: float = setting(
        parse=values.timeout,
        default=2.0,
        help="Between two renewals, less than --lease-renew-deadline even when a fifth is added at random.",
    )
    pod_name: str | None = setting(
        parse=choice.pod,
        default=None,
        help="The Pod of this stub (metadata.name from the downward API). The active stub labels its Pod "
        "cluster-tunnel/active=true, for a Service to select; without a name nothing is labelled.",
    )
    pod_selector: str | None = setting(
        parse=choice.selector,
        default=None,
        help="The labels that all stubs of the lease have in common and no other Pod of the Lease's namespace, such as "
        "app.kubernetes.io/instance=blue: the active stub takes cluster-tunnel/active from them. Goes with --pod-name.",
    )

    # How much ------------------------------------------------------------------------------------

    max_connections: int = setting(
        parse=values.count(minimum=1),
        default=8192,
        help="Connections of users that may be open at once; further ones are closed behind their handshake, and counted as "
        "failed handshakes.",
    )
    max_connections_per_address: int = setting(
        parse=values.count(minimum=0),
        default=QuotaLimits().connections_per_address,
        help="Connections that may be open at once from one client address; 0 is no limit. Behind a load balancer that "
        "hides addresses all clients share one.",
    )
    max_connections_per_user: int = setting(
        parse=values.count(minimum=0),
        default=QuotaLimits().connections_per_user,
        help="Connections that may be open at once with certificates of one user name; 0 is no limit.",
    )
    max_requests_per_user: int = setting(
        parse=values.count(minimum=0),
        default=QuotaLimits().requests_per_user,
        help="Requests of one user under way at once, watches and pipes included; further ones are answered 429.",
    )
    max_requests_per_cluster: int = setting(
        parse=values.count(minimum=0),
        default=QuotaLimits().requests_per_cluster,
        help="Requests to one cluster under way at once, of all users together; further ones are answered 429.",
    )
    max_sessions_per_cluster: int = setting(
        parse=values.count(minimum=0),
        default=AgentLimits().sessions,
        help="Sessions that the agents of one cluster may have open at once; further ones are refused. Each worker of the stub has "
        "a session with each agent, and this many. 0 is no limit.",
    )
    max_channels_per_cluster: int = setting(
        parse=values.count(minimum=0),
        default=AgentLimits().channels,
        help="Channels that the agents of one cluster may have open at once, idle ones and pipes included; further ones are "
        "refused. Each takes a descriptor and some memory. 0 is no limit.",
    )
    max_pending_handshakes: int = setting(
        parse=values.count(minimum=1),
        default=PENDING_HANDSHAKES,
        help="TLS handshakes under way at once, about 2 ms of CPU each. Above that the oldest whose peer has said nothing for a second "
        "gives way, of the address that has most of them; where there is none, the newest is turned away.",
    )
    max_handshakes_per_second: int = setting(
        parse=values.count(minimum=0),
        default=0,
        help="TLS handshakes begun in a second, five seconds' worth at once; further connections are closed. 0 is no limit.",
    )
    max_handshakes_per_address: int = setting(
        parse=values.count(minimum=0),
        default=0,
        help="The same from one client address (of IPv6 from one /64). kubectl makes one for a command and three for an exec, an "
        "agent dials its idle channels at once, and behind a NAT or a load balancer many share an address. 0 is no limit.",
    )

    # How long ------------------------------------------------------------------------------------

    drain_grace: float = setting(
        parse=values.duration,
        default=30.0,
        help="How long running responses and pipes may go on after SIGTERM. In a Pod, "
        "terminationGracePeriodSeconds must be longer by 5 s or so.",
    )
    drain_delay: float | None = setting(
        parse=values.duration,
        default=None,
        help="How long after SIGTERM connections are still accepted and answered 503 with Retry-After, until whoever "
        "leads users here has turned to another stub; it is part of --drain-grace. The default is 5s with --lease, else 0s.",
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
    body_idle_timeout: float = setting(
        parse=values.timeout,
        default=limits.BODY_IDLE_SECONDS,
        help="How long a user may be silent in the middle of a request's body before it is answered 408; not for upgrades, and not "
        "for requests through the apiserver's proxy, whose bodies may be streams.",
    )
    idle_timeout: float = setting(
        parse=values.timeout,
        default=limits.IDLE_SECONDS,
        help="How long a user's connection may be silent between two requests. A running request has no limit.",
    )
    retry_budget: float = setting(
        parse=values.duration,
        default=limits.RETRY_SECONDS,
        help="How old a request may be that is asked of a second agent where the first one certainly did not ask the "
        "apiserver, or has not answered a GET. 0 switches that off.",
    )
    splice_drain: float = setting(
        parse=values.duration,
        default=limits.CLOSE_SECONDS,
        help="How long the other direction of an exec, attach or port-forward may go on after one side ended; at most 30s, which "
        "agents keep to.",
    )

    def __post_init__(self) -> None:
        check_signing(self)
        if self.record_exec is None and (self.record_exec_input or self.record_exec_required):
            flag = "--record-exec-required" if self.record_exec_required else "--record-exec-input"
            raise UsageError(f"{flag} needs --record-exec, which names the folder")
        if self.splice_drain > limits.CLOSE_SECONDS:
            most, given = (values.duration.write(each) for each in (limits.CLOSE_SECONDS, self.splice_drain))
            raise UsageError(f"--splice-drain: agents keep to {most}, and {given} is more")
        self._check_lease()
        self._check_slots()

    def _check_slots(self) -> None:
        names = [name for name, _ in self.slot]
        clusters = {cluster for _, listed in self.slot for cluster in listed}
        for name in names:
            if names.count(name) > 1 or name in clusters:
                raise UsageError(
                    f"--slot: {name!r} is named twice; a slot's name is no cluster's and no other slot's"
                )
        if names and self.workers > 1:
            # Each worker knows its own agents only: two could send one slot's users to two clusters.
            raise UsageError(f"--slot needs --workers 1, and --workers is {self.workers}")

    def _check_lease(self) -> None:
        try:
            _ = self.timing
        except ValueError as error:
            raise UsageError(_with_flags(str(error))) from None
        if (self.pod_name is None) != (self.pod_selector is None):
            raise UsageError("--pod-name and --pod-selector go together: give both or neither")
        if isinstance(self.lease, KubernetesLease):
            return
        for flag, value in (("--lease-kubeconfig", self.lease_kubeconfig), ("--pod-name", self.pod_name)):
            if value is not None:
                raise UsageError(
                    f"{flag} needs --lease kubernetes:NAMESPACE/NAME, and --lease is {self.lease}"
                )

    @property
    def timing(self) -> ElectionTiming:
        """The times of the election."""
        return ElectionTiming(
            lease_seconds=self.lease_duration,
            renew_deadline_seconds=self.lease_renew_deadline,
            retry_seconds=self.lease_retry,
        )


def _with_flags(text: str) -> str:
    for field, flag in _FLAGS.items():
        text = text.replace(field, flag)
    return text
