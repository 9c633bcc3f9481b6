"""Reading a kubeconfig: how an agent that is given one reaches its apiserver, and as whom."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from certs.errors import CertificateProblem
from certs.pem import PemSource
from certs.sections import Section, load_section

EXEC_VERSIONS: Final = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
INTERACTIVE_MODES: Final = ("Never", "IfAvailable", "Always")

_IMPERSONATION: Final = ("as", "as-uid", "as-groups", "as-user-extra")
"""To overlook one of these would be to act with more rights than the file asks for."""


@dataclass(frozen=True, slots=True)
class ExecPlugin:
    """A program that prints a credential when it is run.

    Attributes:
        command: a name to be found on PATH, or an absolute path.
        environment: what is added to the agent's own; may hold secrets.
        interactive_mode: one of `INTERACTIVE_MODES`; `Always` cannot work for an agent, which has no terminal.
        provide_cluster_info: whether the program is told about the cluster.
        install_hint: what to tell a user who does not have the program.
    """

    command: str
    arguments: tuple[str, ...] = field(repr=False)
    environment: tuple[tuple[str, str], ...] = field(repr=False)
    api_version: str
    interactive_mode: str
    provide_cluster_info: bool
    install_hint: str | None


@dataclass(frozen=True, slots=True)
class UpstreamCredentials:
    """An apiserver and the credential towards it, as one context of a kubeconfig gives them.

    Attributes:
        server: an http or https URL, without a trailing slash; may have a path.
        ca: whom to trust; None for the system's authorities.
        certificate, key: the client certificate; both or neither.
        token, token_file: where both are given the file wins, as it does for kubectl.
        tls_server_name: the name to verify in place of the URL's host.
        insecure: whether the server's certificate goes unverified.
        proxy_url: a proxy on the way; may hold a password.
    """

    server: str
    ca: PemSource | None = None
    certificate: PemSource | None = None
    key: PemSource | None = None
    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    exec_plugin: ExecPlugin | None = None
    tls_server_name: str | None = None
    insecure: bool = False
    proxy_url: str | None = field(default=None, repr=False)

    @property
    def server_name(self) -> str:
        """The name to send as SNI and to verify."""
        return self.tls_server_name or urlsplit(self.server).hostname or ""


def read_kubeconfig(path: Path, context: str | None = None) -> UpstreamCredentials:
    """Return what a kubeconfig says about one context.

    Args:
        path: one file; relative paths in it start at its folder.
        context: None for its current-context.

    Raises:
        CertificateProblem: the file, the context or a part of it is missing, contradictory or not supported.
    """
    root = load_section(path)
    name = context or root.text("current-context")
    if name is None:
        raise CertificateProblem(f"{path}: has no current-context, and no context was given")
    chosen = root.named("contexts", name, "context")
    cluster = root.named("clusters", chosen.needed("cluster"), "cluster")
    user_name = chosen.text("user")
    user = root.named("users", user_name, "user") if user_name else Section({}, str(path), path.parent)
    return _credentials(cluster, user)


def _credentials(cluster: Section, user: Section) -> UpstreamCredentials:
    _refuse_unsupported(user)
    return UpstreamCredentials(
        server=_server(cluster),
        ca=cluster.source("certificate-authority"),
        certificate=user.source("client-certificate"),
        key=user.source("client-key"),
        token=user.text("token"),
        token_file=user.path("tokenFile"),
        username=user.text("username"),
        password=user.text("password"),
        exec_plugin=_exec_plugin(user),
        tls_server_name=cluster.text("tls-server-name"),
        insecure=cluster.flag("insecure-skip-tls-verify"),
        proxy_url=cluster.text("proxy-url"),
    )


def _refuse_unsupported(user: Section) -> None:
    if user.has("auth-provider"):
        raise CertificateProblem(
            f"{user.where}: auth-provider is not supported (nor is it by kubectl since 1.26); use an exec plugin or a token"
        )
    for key in _IMPERSONATION:
        if user.has(key):
            raise CertificateProblem(
                f"{user.where}: {key} (impersonation) is not supported; name a credential that has the rights itself"
            )
    if user.has("username") != user.has("password"):
        raise CertificateProblem(f"{user.where}: username and password are needed together")


def _server(cluster: Section) -> str:
    text = cluster.needed("server")
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.username is not None or parts.query or parts.fragment:
        raise CertificateProblem(f"{cluster.where}: server is not a URL such as https://10.0.0.1:6443")
    return text.rstrip("/")


def _exec_plugin(user: Section) -> ExecPlugin | None:
    if not user.has("exec"):
        return None
    plugin = user.section("exec")
    return ExecPlugin(
        command=plugin.program("command"),
        arguments=plugin.texts("args"),
        environment=tuple((item.needed("name"), item.text("value") or "") for item in plugin.sections("env")),
        api_version=plugin.choice("apiVersion", EXEC_VERSIONS, None),
        interactive_mode=plugin.choice("interactiveMode", INTERACTIVE_MODES, "IfAvailable"),
        provide_cluster_info=plugin.flag("provideClusterInfo"),
        install_hint=plugin.text("installHint"),
    )
