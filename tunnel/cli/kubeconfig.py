"""`cluster-tunnel kubeconfig`: a kubeconfig with a short-lived certificate of its own."""

import argparse
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from certs.lifetime import KUBECONFIG_LIFE, date_text
from certs.names import check_cluster
from tunnel.cli.certs import add_folder, add_groups, add_life, checked, life, note, user_and_groups
from tunnel.cli.login import add_oidc
from tunnel.cli.parser import examples
from tunnel.kit.failures import UsageError

if TYPE_CHECKING:
    from certs.kubeconfig import Access, LoginPlugin
    from certs.pem import KeyPair
    from certs.store import CertificateStore

_EXAMPLES: Final = (
    "cluster-tunnel kubeconfig alice --cluster prod --login --server https://stub.example.com:8443 --dir ca -o alice.yaml",
    "cluster-tunnel kubeconfig alice --cluster prod -g developers --server https://stub.example.com:8443 --dir ca -o alice.yaml",
    "kubectl --kubeconfig alice.yaml get pods",
)
_RENEWAL: Final = """\
The same command again renews the certificate; without --login nothing else does. The file holds a private key and is made with mode 0600. With --login kubectl
runs `cluster-tunnel login`, which renews by itself: within --ttl for the first time, and then as long as the stub's
--login-max-age allows; or, with --oidc-token-..., it signs in by the organisation's id-token, and USER is left out.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.description = "Write a kubeconfig that leads a user to one cluster through the stub, with a new short-lived certificate in it."
    parser.epilog = f"{examples(*_EXAMPLES)}\n\n{_RENEWAL}"
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("user", nargs="?", metavar="USER", help="the user's name as the cluster sees it")
    parser.add_argument("--cluster", required=True, metavar="ID", help="the cluster to reach")
    _add_server(parser)
    add_groups(parser)
    add_life(parser, KUBECONFIG_LIFE)
    parser.add_argument(
        "--login", action="store_true", help="let kubectl renew the certificate by 'cluster-tunnel login'"
    )
    add_oidc(parser)
    add_folder(parser)
    _add_output(parser)


def _add_server(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--server",
        required=True,
        metavar="URL",
        help="the stub's URL; /clusters/ID is appended unless it has a path or its host starts with 'ID.'",
    )
    parser.add_argument(
        "--default", action="store_true", help="append nothing: the cluster is the stub's default cluster"
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="where to write (default standard output)"
    )
    parser.add_argument(
        "--merge",
        action="store_true",
        help="add the context to FILE, or renew it there, and keep everything else",
    )
    parser.add_argument("--context", metavar="NAME", help="the context's name (default the cluster's id)")


def run(options: argparse.Namespace) -> int:
    """Issue the certificate, write the kubeconfig and return the exit code.

    Raises:
        UsageError: a name, URL or time is not one, or flags contradict each other.
        CommandFailed: an authority is missing, or the file cannot or must not be written.
    """
    if options.merge and options.output is None:
        raise UsageError("--merge needs -o FILE, the kubeconfig to merge into")
    _check_user(options)
    access, expires = _access(options)
    if options.output is None:
        _print(access)
    else:
        _write(options, access, expires)
    return 0


def _check_user(options: argparse.Namespace) -> None:
    oidc = options.oidc_token_file or options.oidc_token_command
    if oidc and not options.login:
        raise UsageError("--oidc-token-file and --oidc-token-command go with --login")
    if not oidc and options.user is None:
        raise UsageError("USER is missing: whose kubeconfig is it?")
    if oidc and (options.user is not None or options.group):
        raise UsageError("USER and -g are not given with --oidc-token-...: the id-token says who it is")


def _access(options: argparse.Namespace) -> "tuple[Access, datetime | None]":
    from certs.kubeconfig import Access, server_url
    from certs.store import CertificateStore

    cluster = checked("--cluster", check_cluster, options.cluster)
    server = checked(
        "--server", lambda url: server_url(url, cluster, default=options.default), options.server
    )
    context = checked("--context", _context_name, cluster if options.context is None else options.context)
    store = CertificateStore(options.dir)
    credential, expires = _credential(options, store)
    return Access(context, server, store.authority_pem("server-ca"), credential), expires


def _credential(
    options: argparse.Namespace, store: "CertificateStore"
) -> "tuple[KeyPair | LoginPlugin, datetime | None]":
    from certs.kubeconfig import LoginPlugin
    from certs.renewal import expiry

    if options.oidc_token_file is not None:
        arguments = ("--oidc-token-file", str(options.oidc_token_file.absolute()))
        return LoginPlugin(arguments), None
    if options.oidc_token_command is not None:
        return LoginPlugin(("--oidc-token-command", options.oidc_token_command), interactive=True), None
    lifetime = life(options)
    pair = store.user_pair(*user_and_groups(options), lifetime, for_login=options.login)
    return LoginPlugin(first=pair) if options.login else pair, expiry(pair)


def _context_name(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError(f"{text!r} is not a name for a context")
    return text


def _print(access: "Access") -> None:
    from certs.kubeconfig import make_kubeconfig

    sys.stdout.write(make_kubeconfig(access))


def _write(options: argparse.Namespace, access: "Access", expires: datetime | None) -> None:
    from certs.kubeconfig import write_kubeconfig

    outcome = write_kubeconfig(options.output, access, merge=options.merge)
    until = "signs in by id-token" if expires is None else f"until {date_text(expires)}"
    print(f"{outcome}  {options.output}  context {access.context}  {until}")
    note(f"try: kubectl --kubeconfig {options.output} --context {access.context} version")
