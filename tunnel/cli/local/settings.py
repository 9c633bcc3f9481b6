"""What can be set on `cluster-tunnel up`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from tunnel.cli.local.certificates import check_identity
from tunnel.core.identifiers import ClusterId, parse_cluster_id
from tunnel.kit import values
from tunnel.kit.failures import UsageError
from tunnel.kit.logs import LogSettings
from tunnel.kit.settings import setting
from tunnel.kit.values import Address, Form

Mode = Literal["token", "impersonate"]

DEFAULT_USER: Final = "developer"

_cluster = Form(parse_cluster_id, metavar="NAME")


@dataclass(frozen=True, slots=True, kw_only=True)
class UpSettings(LogSettings):
    """The settings of `cluster-tunnel up`.

    Raises:
        UsageError: no cluster is given, or two settings contradict each other.
    """

    kubeconfig: Path | None = setting(
        parse=values.existing_file,
        default=None,
        environment=False,
        help="The kubeconfig of the cluster to expose. It is never taken from the environment or the home folder.",
    )
    context: str | None = setting(
        parse=values.text,
        default=None,
        metavar="NAME",
        environment=False,
        help="The context in --kubeconfig; left out, its current one.",
    )
    simulator: bool = setting(
        parse=values.boolean,
        default=False,
        help="Expose a simulated cluster instead; only in a checkout of the project.",
    )
    dir: Path = setting(
        parse=values.path,
        default=Path("./.cluster-tunnel"),
        metavar="DIR",
        help="Where certificates, logs and the user's kubeconfig are kept.",
    )
    listen: Address = setting(
        parse=values.address,
        default=Address("127.0.0.1", 8443),
        help="Where the stub listens; port 0 is any free one.",
    )
    admin_listen: Address | None = setting(
        parse=values.optional(values.address),
        default=None,
        help="Where the stub serves /readyz, /metrics and /clusters over plain HTTP.",
    )
    cluster: ClusterId = setting(
        parse=_cluster, default=ClusterId("local"), help="What the tunnel calls the cluster."
    )
    agents: int = setting(parse=values.count(1, 16), default=1, help="How many agents to run.")
    mode: Mode = setting(
        choices=("token", "impersonate"),
        default="token",
        help="Whom the cluster sees: with token the owner of --kubeconfig; with impersonate --user and --group, under "
        "RBAC of their own.",
    )
    user: str = setting(
        parse=values.text,
        default="",
        metavar="NAME",
        help=f"The user's name; left out, {DEFAULT_USER}. Required with --mode impersonate.",
    )
    group: tuple[str, ...] = setting(
        parse=values.text, repeatable=True, short="-g", metavar="NAME", help="A group of the user."
    )

    def __post_init__(self) -> None:
        if self.simulator and self.kubeconfig:
            raise UsageError("--simulator and --kubeconfig exclude each other: which cluster is it to be?")
        if not self.simulator and not self.kubeconfig:
            raise UsageError(
                "which cluster? give --kubeconfig FILE, or in a checkout of the project --simulator"
            )
        if self.context is not None and self.kubeconfig is None:
            raise UsageError("--context chooses within --kubeconfig, which is not given")
        if self.mode == "impersonate" and not self.user:
            raise UsageError("--mode impersonate needs --user NAME: whom shall the cluster see?")
        check_identity(self.user or DEFAULT_USER, self.group)
