"""`cluster-tunnel login`: kubectl's credential plugin, which signs its user in and renews the certificate by itself."""

import argparse
import base64
import binascii
import json
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from certs.lifetime import utc_now
from tunnel.cli.parser import examples
from tunnel.kit.failures import CommandFailed, UsageError
from tunnel.kit.values import Address

if TYPE_CHECKING:
    from certs.pem import KeyPair, PemText
    from tunnel.aio.connect import Proxy
    from tunnel.cli.signin import SignIn, TokenSource

API_VERSIONS: Final = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
INFORMATION: Final = "KUBERNETES_EXEC_INFO"
"""In which kubectl tells a plugin what it wants, and for which cluster."""

_EXAMPLES: Final = (
    "cluster-tunnel kubeconfig alice --cluster prod -g developers --login --server https://stub.example.com:8443 --dir ca",
    "cluster-tunnel login --server https://stub.example.com:8443 --ca server-ca.crt --oidc-token-file token",
)
_HOW: Final = """\
kubectl runs it by itself where `cluster-tunnel kubeconfig --login` wrote the kubeconfig. It prints an ExecCredential. The
certificate is kept in --cache (mode 0600) and renewed when two thirds of its life are over: by an id-token where one is given,
else by showing the certificate before.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.description = (
        "Sign in at the stub: print a short-lived certificate for kubectl, renewed when it is time."
    )
    parser.epilog = f"{examples(*_EXAMPLES)}\n\n{_HOW}"
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--server", metavar="URL", help="the stub (default the kubeconfig's, which kubectl tells)"
    )
    parser.add_argument(
        "--ca",
        type=Path,
        metavar="FILE",
        help="the authority of the stub's certificate (default the kubeconfig's)",
    )
    parser.add_argument(
        "--proxy",
        metavar="URL|off",
        help="the HTTP proxy that leads to the stub (default the kubeconfig's proxy-url, else what HTTPS_PROXY and NO_PROXY say)",
    )
    parser.add_argument("--cert", type=Path, metavar="FILE", help="a certificate to begin with, with --key")
    parser.add_argument("--key", type=Path, metavar="FILE", help="the key of --cert")
    add_oidc(parser)
    parser.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        help="where certificates are kept (default ~/.cache/cluster-tunnel)",
    )


def add_oidc(parser: argparse.ArgumentParser) -> None:
    """Add where id-tokens come from."""
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--oidc-token-file", type=Path, metavar="FILE", help="sign in with the id-token in this file"
    )
    source.add_argument(
        "--oidc-token-command",
        metavar="COMMAND",
        help="sign in with the id-token that this command prints, alone or in an ExecCredential",
    )


def run(options: argparse.Namespace) -> int:
    """Print an ExecCredential and return the exit code.

    Raises:
        UsageError: flags contradict each other, or say too little.
        CommandFailed: there is no certificate, and the stub gives none.
    """
    from certs.renewal import usable_until

    asked = _information(os.environ)
    pair = _sign_in(options, asked, os.environ).certificate(utc_now())
    credential = {
        "apiVersion": _version(asked),
        "kind": "ExecCredential",
        "status": {
            "clientCertificateData": pair.certificate_pem.decode("ascii"),
            "clientKeyData": pair.key_pem.decode("ascii"),
            "expirationTimestamp": usable_until(pair).strftime("%Y-%m-%dT%H:%M:%SZ"),
        },
    }
    print(json.dumps(credential))
    return 0


# What is asked ---------------------------------------------------------------------------------


def _information(environ: Mapping[str, str]) -> dict[str, Any]:
    text = environ.get(INFORMATION)
    if not text:
        return {}
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict) or value.get("kind") != "ExecCredential":
        raise CommandFailed(f"{INFORMATION} is not an ExecCredential; kubectl 1.22 or newer is needed")
    return value


def _version(asked: Mapping[str, Any]) -> str:
    version = asked.get("apiVersion", API_VERSIONS[0])
    if version not in API_VERSIONS:
        raise CommandFailed(f"{INFORMATION} asks for {version!r}; known are {', '.join(API_VERSIONS)}")
    return str(version)


def _sign_in(options: argparse.Namespace, asked: Mapping[str, Any], environ: Mapping[str, str]) -> "SignIn":
    from certs.logins import LoginCache
    from tunnel.cli.signin import SignIn

    cluster = _cluster(asked)
    server = options.server or cluster.get("server")
    if not server:
        raise UsageError(
            "--server is missing: where is the stub? (kubectl tells it where provideClusterInfo is set)"
        )
    stub, name = _stub(server)
    name = cluster.get("tls-server-name") or name
    authority, first = _authority(options, cluster), _first(options, environ)
    cache = options.cache or _default_cache(environ)
    source = options.oidc_token_command or str(options.oidc_token_file or "")
    first_name = "" if first is None else first.certificate_pem.decode("ascii")
    way = json.dumps([str(stub), name, authority.read().decode("ascii"), source, first_name])
    return SignIn(
        stub,
        name,
        authority,
        LoginCache(cache, way),
        first,
        _token_source(options),
        _proxy(options, cluster, environ, stub),
    )


def _cluster(asked: Mapping[str, Any]) -> dict[str, Any]:
    spec = asked.get("spec")
    cluster = spec.get("cluster") if isinstance(spec, dict) else None
    return cluster if isinstance(cluster, dict) else {}


def _stub(server: str) -> tuple[Address, str]:
    try:
        parts = urlsplit(server)
        host, port = parts.hostname, parts.port or 443
    except ValueError:
        host = None
    if host is None or parts.scheme != "https":
        raise UsageError(
            f"--server: {server!r} is not the URL of a stub: give one such as https://stub.example.com:8443"
        )
    return Address(host, port), host


def _proxy(
    options: argparse.Namespace, cluster: Mapping[str, Any], environ: Mapping[str, str], stub: Address
) -> "Proxy | None":
    """The proxy that kubectl itself would ask, unless a flag says otherwise."""
    from agent.dialling.proxyrules import LOCAL, NoProxy, ProxyUrl, no_proxy_from, proxy_form, proxy_from
    from certs.contexts import upstream_context
    from tunnel.aio.connect import Proxy

    where, text = (
        ("--proxy", options.proxy)
        if options.proxy
        else ("the kubeconfig's proxy-url", cluster.get("proxy-url"))
    )
    if text:
        try:
            url = proxy_form.read(str(text))
        except ValueError as error:
            raise UsageError(f"{where}: {error}") from None
    else:
        excepted = NoProxy((*no_proxy_from(environ), *LOCAL)).covers(stub)
        url = None if excepted else proxy_from(environ)
    if not isinstance(url, ProxyUrl):
        return None
    basic = url.basic
    return Proxy(url.host, url.port, upstream_context(ca=None) if url.tls else None, lambda: basic)


def _authority(options: argparse.Namespace, cluster: Mapping[str, Any]) -> "PemText":
    from certs.pem import PemText, read_bounded, read_certificates

    data = cluster.get("certificate-authority-data")
    if options.ca is not None:
        authority = PemText(str(options.ca), read_bounded(options.ca))
    elif data:
        authority = PemText(
            "certificate-authority-data", _decoded(data, "the kubeconfig's certificate-authority-data")
        )
    else:
        raise UsageError(
            "--ca is missing: which authority signed the stub's certificate? (the kubeconfig has none)"
        )
    read_certificates(authority)
    return authority


def _first(options: argparse.Namespace, environ: Mapping[str, str]) -> "KeyPair | None":
    from certs.kubeconfig import LOGIN_CERTIFICATE
    from certs.logins import embedded_pair
    from certs.pem import PemFile, read_pair

    if (options.cert is None) != (options.key is None):
        raise UsageError("--cert and --key go together: give both or neither")
    if options.cert is not None:
        return read_pair(PemFile(options.cert), PemFile(options.key))
    text = environ.get(LOGIN_CERTIFICATE)
    return embedded_pair(LOGIN_CERTIFICATE, _decoded(text, LOGIN_CERTIFICATE)) if text else None


def _decoded(text: str, name: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError, AttributeError):
        raise CommandFailed(f"{name} is not base64") from None


def _token_source(options: argparse.Namespace) -> "TokenSource | None":
    from tunnel.cli.signin import token_from_command, token_from_file

    file, command = options.oidc_token_file, options.oidc_token_command
    if file is not None:
        return lambda: token_from_file(file)
    if command is not None:
        try:
            empty = not shlex.split(command)
        except ValueError as error:
            raise UsageError(f"--oidc-token-command: {error}") from None
        if empty:
            raise UsageError("--oidc-token-command is empty")
        return lambda: token_from_command(command)
    return None


def _default_cache(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cluster-tunnel"
