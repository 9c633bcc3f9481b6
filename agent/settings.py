"""What the owner of a cluster can set on an agent."""

import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from tunnel.kit import values
from tunnel.kit.failures import UsageError
from tunnel.kit.process import ProcessSettings
from tunnel.kit.settings import setting
from tunnel.kit.values import Address, Form

Mode = Literal["impersonate", "token"]

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where Kubernetes puts a Pod's own credential."""


def _read_upstream(text: str) -> str:
    url = values.url(text)
    if not url.startswith("https://"):
        raise ValueError(f"{text!r} is not https: a credential is sent there")
    return url


def _read_name(text: str) -> str:
    if not text.isprintable() or not 1 <= len(text) <= 253:
        raise ValueError("an agent's name has 1 to 253 printable characters")
    return text


_upstream = Form(_read_upstream, metavar="URL")
_name = Form(_read_name, metavar="NAME")


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings(ProcessSettings):
    """The settings of `cluster-tunnel agent`. Times are in seconds.

    Raises:
        UsageError: two of them contradict each other.
    """

    # The stub ------------------------------------------------------------------------------------

    stub: tuple[Address, ...] = setting(
        parse=values.endpoint,
        repeatable=True,
        help="A stub, or an address behind which there are several; all of them are dialled.",
    )
    cert: Path = setting(
        parse=values.existing_file,
        help="The agent's certificate, which also says which cluster it serves. It is read again when it changes.",
    )
    key: Path = setting(parse=values.existing_file, help="The key of --cert.")
    ca: Path = setting(
        parse=values.existing_file,
        help="The authority that signed the stub's certificate (server-ca.crt).",
    )
    name: str = setting(
        parse=_name,
        default="",
        help="What this agent is called in logs and lists. The default is the host's name, in a Pod the Pod's.",
    )

    # The cluster ---------------------------------------------------------------------------------

    upstream: str | None = setting(
        parse=_upstream,
        default=None,
        help="The apiserver. Without this and --kubeconfig it is the one of the cluster that the agent's Pod runs in.",
    )
    upstream_ca: Path | None = setting(
        parse=values.existing_file,
        default=None,
        help="The authority that signed the apiserver's certificate. The default are the system's authorities, "
        "in a Pod the cluster's.",
    )
    token_file: Path | None = setting(
        parse=values.existing_file,
        default=None,
        help="The file with the agent's own bearer token, read again when it changes. In a Pod the default is the "
        "service account's.",
    )
    kubeconfig: Path | None = setting(
        parse=values.existing_file,
        default=None,
        help="A kubeconfig to take apiserver and credential from, in place of --upstream.",
    )
    context: str | None = setting(
        parse=values.text,
        default=None,
        metavar="NAME",
        help="The context in --kubeconfig. The default is its current one.",
    )
    mode: Mode = setting(
        choices=("impersonate", "token"),
        default="impersonate",
        help="Whom the apiserver sees: with impersonate the user, on whose behalf the agent asks; with token the agent "
        "itself, whoever the user is.",
    )

    ceiling: Path | None = setting(
        parse=values.existing_file,
        default=None,
        help="What is allowed at most, whatever a stub asks for (docs/identity.md); read again when it changes. Without it "
        "only names beginning with 'system:' are refused.",
    )

    # Operation -----------------------------------------------------------------------------------

    admin_listen: Address | None = setting(
        parse=values.optional(values.address),
        default=None,
        help="Where /livez, /readyz and /metrics are served over plain HTTP.",
    )
    drain_grace: float = setting(
        parse=values.duration,
        default=30.0,
        help="How long running responses and pipes may go on after SIGTERM. In a Pod, "
        "terminationGracePeriodSeconds must be longer by 5 s or so.",
    )
    channels_floor: int = setting(
        parse=values.count(minimum=1, maximum=1024),
        default=4,
        help="Response channels kept open and idle at least, for each worker of a stub, so that a request need not "
        "wait for one to be dialled.",
    )
    channels_limit: int = setting(
        parse=values.count(minimum=1, maximum=65536),
        default=1024,
        help="Response channels at most, for each worker of a stub: this many responses and pipes run at once, "
        "further requests are refused (429).",
    )
    upstream_connections: int = setting(
        parse=values.count(minimum=1, maximum=65536),
        default=1024,
        help="Connections to the apiserver at most; a request holds one until its response ends.",
    )
    connect_timeout: float = setting(
        parse=values.timeout,
        default=10.0,
        help="How long connecting to the apiserver or to a stub may take, the TLS handshake included.",
    )

    def __post_init__(self) -> None:
        if not self.stub:
            raise UsageError(
                "--stub is missing: give --stub HOST:PORT, CTUN_STUB or 'stub:' in the configuration file"
            )
        if self.channels_floor > self.channels_limit:
            raise UsageError(
                f"--channels-floor {self.channels_floor} is above --channels-limit {self.channels_limit}"
            )
        if self.kubeconfig is None:
            if self.context is not None:
                raise UsageError("--context chooses within --kubeconfig, which is not given")
            return
        for flag in self._given_beside_kubeconfig():
            raise UsageError(
                f"{flag} and --kubeconfig exclude each other: the kubeconfig says where and with what"
            )

    def _given_beside_kubeconfig(self) -> Iterator[str]:
        given = {
            "--upstream": self.upstream,
            "--upstream-ca": self.upstream_ca,
            "--token-file": self.token_file,
        }
        return (flag for flag, value in given.items() if value is not None)


def with_defaults(
    settings: AgentSettings, environ: Mapping[str, str], service_account: Path = SERVICE_ACCOUNT
) -> AgentSettings:
    """Return `settings` with what the place the agent runs in supplies: its name, and in a Pod apiserver and token.

    Args:
        settings: as they were given.
        environ: the environment; Kubernetes puts `KUBERNETES_SERVICE_HOST` and `..._PORT` there.
        service_account: the folder with the Pod's `token` and `ca.crt`.

    Raises:
        UsageError: no apiserver is given and none is around, or no credential for it.
    """
    named = replace(settings, name=settings.name or socket.gethostname())
    if named.kubeconfig is not None:
        return named
    if named.upstream is not None:
        return _checked(named)
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise UsageError(
            "which cluster? give --upstream or --kubeconfig; there is no default here, because this is not a Pod "
            "(KUBERNETES_SERVICE_HOST is not set)"
        )
    host = f"[{host}]" if ":" in host else host
    return _in_pod(replace(named, upstream=f"https://{host}:{port}"), service_account)


def _checked(settings: AgentSettings) -> AgentSettings:
    if settings.token_file is None:
        raise UsageError(
            "--upstream needs --token-file: without a credential the apiserver would refuse everything"
        )
    return settings


def _in_pod(settings: AgentSettings, service_account: Path) -> AgentSettings:
    token = settings.token_file or service_account / "token"
    if not token.is_file():
        raise UsageError(
            f"{token}: there is no service account token; set automountServiceAccountToken, or give --token-file"
        )
    return replace(settings, token_file=token, upstream_ca=settings.upstream_ca or service_account / "ca.crt")
