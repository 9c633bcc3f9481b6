"""What the owner of a cluster can set on an agent."""

import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from agent.dialling.proxyrules import (
    LOCAL,
    ProxyChoice,
    ProxyUrl,
    no_proxy_form,
    no_proxy_from,
    proxy_form,
    proxy_from,
)
from tunnel.kit import values
from tunnel.kit.failures import UsageError
from tunnel.kit.process import ProcessSettings
from tunnel.kit.settings import setting
from tunnel.kit.values import Address, Form

Mode = Literal["impersonate", "token", "passthrough", "tokenrequest"]
Extra = Literal["certificate", "address", "request"]

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where Kubernetes puts a Pod's own credential."""

SHORTEST_FACTS_SECONDS: Final = 60.0


def _read_upstream(text: str) -> str:
    url = values.url(text)
    if not url.startswith("https://"):
        raise ValueError(f"{text!r} is not https: a credential is sent there")
    return url


def _read_name(text: str) -> str:
    if not text.isprintable() or not 1 <= len(text) <= 253:
        raise ValueError("an agent's name has 1 to 253 printable characters")
    return text


def _read_facts_interval(text: str) -> float:
    seconds = values.duration(text)
    if seconds < SHORTEST_FACTS_SECONDS:
        raise ValueError(f"{text!r} is too often for what lists nodes and pods: give 1m or more, or off")
    return seconds


def _read_extra(text: str) -> Extra:
    for known in _EXTRAS:
        if text == known:
            return known
    raise ValueError(f"{text!r} is none of {', '.join(_EXTRAS)}")


_EXTRAS: Final[tuple[Extra, ...]] = ("certificate", "address", "request")
_extra: Form[Extra] = Form(_read_extra, metavar="|".join(_EXTRAS))
_upstream = Form(_read_upstream, metavar="URL")
_facts_interval = Form(_read_facts_interval, values.duration.write, metavar="DURATION")
_name = Form(_read_name, metavar="NAME")


NO_FILE: Final = Path()
"""Stands for a file that the agent gets by joining."""


def _read_own_file(text: str) -> Path:
    return values.existing_file(text) if text else NO_FILE


def _write_own_file(path: Path) -> str:
    return "" if path == NO_FILE else str(path)


_own_file = Form(_read_own_file, _write_own_file, values.existing_file.metavar)


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
        parse=_own_file,
        default=NO_FILE,
        help="The agent's certificate, which also says which cluster it serves. It is read again when it changes. Without "
        "--cert, --key and --ca the agent gets them by itself (--state).",
    )
    key: Path = setting(parse=_own_file, default=NO_FILE, help="The key of --cert.")
    ca: Path = setting(
        parse=_own_file,
        default=NO_FILE,
        help="The authority that signed the stub's certificate (server-ca.crt).",
    )
    state: Path | None = setting(
        parse=values.path,
        default=None,
        metavar="DIR",
        help="The folder in which the agent keeps the certificate that it got by joining, and renews it. It must outlive "
        "the agent's process.",
    )
    join: str = setting(
        parse=values.text,
        default="",
        metavar="TOKEN",
        secret=True,
        help="The join token for the first certificate ('cluster-tunnel token create'), where --state holds none yet. On a "
        "command line others can see it: rather use the variable or --join-file.",
    )
    join_file: Path | None = setting(
        parse=values.path,
        default=None,
        metavar="FILE",
        help="A file with the join token. It is read only where --state holds no certificate yet.",
    )
    join_at: Address | None = setting(
        parse=values.endpoint,
        default=None,
        help="Where the agent joins and renews: a stub's --listen, where --stub leads to listeners for agents alone. The "
        "default is what --stub says.",
    )
    name: str = setting(
        parse=_name,
        default="",
        help="What this agent is called in logs and lists. The default is the host's name, in a Pod the Pod's.",
    )
    proxy: ProxyChoice = setting(
        parse=proxy_form,
        default=None,
        help="The HTTP proxy that leads to the stubs; off for none. The default is what HTTPS_PROXY names.",
    )
    no_proxy: tuple[str, ...] = setting(
        parse=no_proxy_form,
        repeatable=True,
        help="A stub's host, domain, IP address or CIDR that needs no proxy. The default is what NO_PROXY lists.",
    )
    proxy_credentials: Path | None = setting(
        parse=values.existing_file,
        default=None,
        help="A file with USER:PASSWORD for the proxy, read again when it changes. A URL may hold them too, but not on "
        "a command line that others can see.",
    )
    proxy_ca: Path | None = setting(
        parse=values.existing_file,
        default=None,
        help="The authority that signed the certificate of an https proxy. The default are the system's.",
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
        choices=("impersonate", "token", "passthrough", "tokenrequest"),
        default="impersonate",
        help="Whom the apiserver sees: with impersonate the user, on whose behalf the agent asks; with token the agent "
        "itself, whoever the user is; with passthrough whoever the client's own bearer token stands for; with tokenrequest the "
        "service account that the user acts as.",
    )
    impersonate_extra: tuple[Extra, ...] = setting(
        parse=_extra,
        repeatable=True,
        help="What else the apiserver is told of a user it is to impersonate: the fingerprint of the certificate, the client's "
        "address, the request's id. For each the agent's credential needs a right (docs/identity.md).",
    )
    allow_impersonation: bool = setting(
        parse=values.boolean,
        default=False,
        help="Let users act as somebody else (kubectl --as) where the cluster's own rules let them, which the agent asks the "
        "apiserver; the stub's access rules must allow it as well (docs/identity.md).",
    )
    accounts: Path | None = setting(
        parse=values.existing_file,
        default=None,
        help="Which service account a user acts as, with --mode tokenrequest (docs/identity.md); read again when it changes.",
    )

    ceiling: Path | None = setting(
        parse=values.existing_file,
        default=None,
        help="What is allowed at most, whatever a stub asks for (docs/identity.md); read again when it changes. Without it "
        "only names beginning with 'system:' are refused.",
    )

    # Operation -----------------------------------------------------------------------------------

    audit: str | None = setting(
        parse=values.optional(values.text),
        default=None,
        metavar="FILE|-|off",
        help="Append a JSON line for each request to FILE, or to standard output (-), as Kubernetes' own audit log has them "
        "(docs/audit.md).",
    )
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
    facts_interval: float | None = setting(
        parse=values.optional(_facts_interval),
        default=300.0,
        help="How often nodes and pods are listed, to report the cluster's capacity.",
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
        self._check_identity()
        self._check_mode()
        if not self.stub:
            raise UsageError(
                "--stub is missing: give --stub HOST:PORT, CTUN_STUB or 'stub:' in the configuration file"
            )
        if self.channels_floor > self.channels_limit:
            raise UsageError(
                f"--channels-floor {self.channels_floor} is above --channels-limit {self.channels_limit}"
            )
        self._check_proxy()
        if self.kubeconfig is None:
            if self.context is not None:
                raise UsageError("--context chooses within --kubeconfig, which is not given")
            return
        for flag in self._given_beside_kubeconfig():
            raise UsageError(
                f"{flag} and --kubeconfig exclude each other: the kubeconfig says where and with what"
            )

    def _check_mode(self) -> None:
        if self.mode == "tokenrequest" and self.accounts is None:
            raise UsageError(
                "--mode tokenrequest needs --accounts, which says which service account a user acts as"
            )
        if self.mode != "tokenrequest" and self.accounts is not None:
            raise UsageError(f"--accounts goes with --mode tokenrequest, and --mode is {self.mode}")
        for flag, given in (
            ("--impersonate-extra", self.impersonate_extra),
            ("--allow-impersonation", self.allow_impersonation),
        ):
            if given and self.mode != "impersonate":
                raise UsageError(f"{flag} goes with --mode impersonate, and --mode is {self.mode}")

    def _check_proxy(self) -> None:
        in_url = isinstance(self.proxy, ProxyUrl) and bool(self.proxy.username)
        if in_url and self.proxy_credentials is not None:
            raise UsageError("--proxy-credentials and a proxy URL with a user name exclude each other")

    def _check_identity(self) -> None:
        """It is given whole, or got by joining."""
        own = {"--cert": self.cert, "--key": self.key, "--ca": self.ca}
        given = [flag for flag, path in own.items() if path != NO_FILE]
        if self.state is not None:
            for flag in given:
                raise UsageError(f"{flag} and --state exclude each other: the agent gets its own by joining")
            if self.join and self.join_file is not None:
                raise UsageError("--join and --join-file exclude each other: a join token is used once")
            return
        for flag, value in (
            ("--join", self.join),
            ("--join-file", self.join_file),
            ("--join-at", self.join_at),
        ):
            if value:
                raise UsageError(f"{flag} needs --state, the folder in which to keep the certificate")
        for flag in (flag for flag in own if flag not in given):
            raise UsageError(
                f"{flag} is missing: give --cert, --key and --ca, or --state with --join-file to join"
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
    """Return `settings` with what the place the agent runs in supplies: its name, the proxy, and in a Pod apiserver and
    token.

    Args:
        settings: as they were given.
        environ: the environment; Kubernetes puts `KUBERNETES_SERVICE_HOST` and `..._PORT` there, owners `HTTPS_PROXY`.
        service_account: the folder with the Pod's `token` and `ca.crt`.

    Raises:
        UsageError: no apiserver is given and none is around, or no credential for it; or the proxy cannot be used.
    """
    named = replace(_with_proxy(settings, environ), name=settings.name or socket.gethostname())
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


def _with_proxy(settings: AgentSettings, environ: Mapping[str, str]) -> AgentSettings:
    except_for = settings.no_proxy or no_proxy_from(environ)
    if settings.proxy is not None:
        return replace(settings, no_proxy=except_for)
    found = proxy_from(environ)
    return replace(settings, proxy=found or "off", no_proxy=(*except_for, *LOCAL) if found else except_for)


def _checked(settings: AgentSettings) -> AgentSettings:
    if settings.token_file is None and settings.mode != "passthrough":
        raise UsageError(
            "--upstream needs --token-file: without a credential the apiserver would refuse everything"
        )
    return settings


def _in_pod(settings: AgentSettings, service_account: Path) -> AgentSettings:
    token = settings.token_file or service_account / "token"
    if settings.mode == "passthrough" and not token.is_file():
        return replace(settings, upstream_ca=settings.upstream_ca or service_account / "ca.crt")
    if not token.is_file():
        raise UsageError(
            f"{token}: there is no service account token; set automountServiceAccountToken, or give --token-file"
        )
    return replace(settings, token_file=token, upstream_ca=settings.upstream_ca or service_account / "ca.crt")
