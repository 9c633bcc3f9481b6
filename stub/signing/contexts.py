"""The TLS contexts of the stub's listeners, made again when their certificate, its key or an authority change."""

import ssl
from collections.abc import Sequence
from pathlib import Path

from certs.contexts import agent_listener_context, stub_context
from certs.followed import Followed
from stub.settings import StubSettings


def follow_public_context(
    settings: StubSettings, alpn: Sequence[str], *, agents: bool
) -> Followed[ssl.SSLContext]:
    """Return the context of `--listen`.

    Args:
        alpn: what is spoken there.
        agents: whether agents' certificates pass the handshake: where they open sessions there, and where they renew.

    Raises:
        CertificateProblem: a file cannot be used.
    """
    folder = settings.ca_dir
    foreign = [authority.path for authority in settings.user_ca]
    authorities = [folder / "user-ca.crt", *foreign, *([folder / "agent-ca.crt"] if agents else [])]
    certificate, key = _own(folder)

    def make() -> ssl.SSLContext:
        return stub_context(certificate, key, authorities, alpn)

    return Followed("the certificate of --listen", [certificate, key, *authorities], make)


def follow_agent_context(settings: StubSettings, alpn: Sequence[str]) -> Followed[ssl.SSLContext]:
    """Return the context of a separate `--agent-listen`. Raises CertificateProblem."""
    certificate, key = _own(settings.ca_dir)
    authority = settings.ca_dir / "agent-ca.crt"

    def make() -> ssl.SSLContext:
        return agent_listener_context(certificate, key, [authority], alpn)

    return Followed("the certificate of --agent-listen", [certificate, key, authority], make)


def _own(folder: Path) -> tuple[Path, Path]:
    return folder / "server.crt", folder / "server.key"
