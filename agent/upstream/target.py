"""Where the apiserver is and how a connection to it is made."""

import ssl
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from agent.settings import AgentSettings
from agent.upstream.connection import UpstreamConnection
from agent.upstream.credential import BasicPassword, Credential, NoToken, StaticToken, TokenFile
from certs.contexts import upstream_context
from certs.pem import PemFile
from certs.upstream import UpstreamCredentials, read_kubeconfig
from tunnel.aio.dial import dial_plain, dial_tls
from tunnel.aio.sockets import UPSTREAM_LEG
from tunnel.kit.failures import CommandFailed, UsageError


@dataclass(frozen=True, slots=True)
class UpstreamTarget:
    """The apiserver as the agent sees it.

    Attributes:
        host, port: where to connect; fixed for the process, whatever a request says.
        authority: the Host field.
        base_path: in front of every target, where the URL has a path.
        context: for TLS; None for plain HTTP. It shows the agent's certificate, where it has one, but not where users bring tokens.
        server_name: to verify.
        credential: what the agent proves itself with; in mode passthrough only where it asks for itself.
    """

    host: str
    port: int
    authority: bytes
    base_path: bytes
    context: ssl.SSLContext | None
    server_name: str
    credential: Credential = field(repr=False)

    @property
    def url(self) -> bytes:
        """Its own, to recognise redirects to itself."""
        return (b"https://" if self.context else b"http://") + self.authority + self.base_path

    async def connect(self, connection: UpstreamConnection, deadline: float) -> None:
        """Open `connection`.

        Args:
            deadline: when to give up, in `loop.time()`.

        Raises:
            DialFailed: naming the step that failed.
        """
        if self.context is None:
            await dial_plain(
                self.host,
                self.port,
                handler_factory=lambda: connection,
                deadline=deadline,
                options=UPSTREAM_LEG,
            )
        else:
            await dial_tls(
                self.host,
                self.port,
                self.context,
                server_hostname=self.server_name,
                handler_factory=lambda: connection,
                deadline=deadline,
                options=UPSTREAM_LEG,
            )


def target_of(settings: AgentSettings) -> UpstreamTarget:
    """Return the target that the settings describe.

    Raises:
        CommandFailed: a file cannot be used; the text names it.
        UsageError: the credential is none for the mode.
    """
    if settings.kubeconfig is not None:
        found = read_kubeconfig(settings.kubeconfig, settings.context)
    else:
        assert settings.upstream is not None
        ca = PemFile(settings.upstream_ca) if settings.upstream_ca is not None else None
        found = UpstreamCredentials(settings.upstream, ca=ca, token_file=settings.token_file)
    if settings.mode in {"passthrough", "tokenrequest"}:
        # A certificate belongs to the connection, which carries the requests of all users: the apiserver would take each of
        # them for the agent, before it looks at any token.
        found = replace(found, certificate=None, key=None)
    target = _from_credentials(found)
    if settings.mode == "tokenrequest" and isinstance(target.credential, NoToken):
        raise UsageError(
            "--mode tokenrequest: the agent needs a token of its own, by which it asks for those of users"
        )
    return target


def _from_credentials(found: UpstreamCredentials) -> UpstreamTarget:
    if found.proxy_url is not None:
        raise CommandFailed(
            "the kubeconfig's proxy-url: an agent cannot reach its apiserver through a proxy yet"
        )
    url = urlsplit(found.server)
    tls = url.scheme == "https"
    context = (
        upstream_context(ca=found.ca, certificate=found.certificate, key=found.key, insecure=found.insecure)
        if tls
        else None
    )
    return UpstreamTarget(
        host=url.hostname or "",
        port=url.port or (443 if tls else 80),
        authority=url.netloc.rpartition("@")[2].encode(),
        base_path=url.path.rstrip("/").encode(),
        context=context,
        server_name=found.server_name,
        credential=_credential(found),
    )


def _credential(found: UpstreamCredentials) -> Credential:
    if found.exec_plugin is not None:
        from agent.upstream.plugin import PluginCredential  # only few kubeconfigs have one

        return PluginCredential(found.exec_plugin)
    if found.token_file is not None:
        return TokenFile(found.token_file)
    if found.token is not None:
        return StaticToken(found.token)
    if found.username is not None:
        return BasicPassword(found.username, found.password or "")
    return NoToken()
