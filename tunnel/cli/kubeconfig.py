"""`cluster-tunnel kubeconfig`: a kubeconfig with a short-lived certificate of its own."""

import argparse
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from certs.lifetime import KUBECONFIG_LIFE, date_text
from certs.names import check_cluster
from tunnel.cli.certs import add_folder, add_groups, add_life, checked, life, note, user_and_groups
from tunnel.cli.parser import examples
from tunnel.kit.failures import UsageError

if TYPE_CHECKING:
    from certs.kubeconfig import Access

_EXAMPLES: Final = (
    "cluster-tunnel kubeconfig alice --cluster prod -g developers --server https://stub.example.com:8443 --dir ca -o alice.yaml",
    "kubectl --kubeconfig alice.yaml get pods",
)
_RENEWAL: Final = """\
The same command again renews the certificate. The file holds a private key and is made with mode 0600.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.description = "Write a kubeconfig that leads a user to one cluster through the stub, with a new short-lived certificate in it."
    parser.epilog = f"{examples(*_EXAMPLES)}\n\n{_RENEWAL}"
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("user", metavar="USER", help="the user's name as the cluster sees it")
    parser.add_argument("--cluster", required=True, metavar="ID", help="the cluster to reach")
    _add_server(parser)
    add_groups(parser)
    add_life(parser, KUBECONFIG_LIFE)
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
        "-o", "--output", type=Path, metavar="FILE", help="where to write (default: standard output)"
    )
    parser.add_argument(
        "--merge",
        action="store_true",
        help="add the context to FILE, or renew it there, and keep everything else",
    )
    parser.add_argument("--context", metavar="NAME", help="the context's name (default: the cluster's id)")


def run(options: argparse.Namespace) -> int:
    """Issue the certificate, write the kubeconfig and return the exit code.

    Raises:
        UsageError: a name, URL or time is not one, or flags contradict each other.
        CommandFailed: an authority is missing, or the file cannot or must not be written.
    """
    if options.merge and options.output is None:
        raise UsageError("--merge needs -o FILE, the kubeconfig to merge into")
    access, expires = _access(options)
    if options.output is None:
        _print(access)
    else:
        _write(options, access, expires)
    return 0


def _access(options: argparse.Namespace) -> "tuple[Access, datetime]":
    from certs.authority import lifetime_of
    from certs.issue import issue_user
    from certs.kubeconfig import Access, server_url
    from certs.store import CertificateStore

    cluster = checked("--cluster", check_cluster, options.cluster)
    server = checked(
        "--server", lambda url: server_url(url, cluster, default=options.default), options.server
    )
    context = checked("--context", _context_name, cluster if options.context is None else options.context)
    lifetime = life(options)
    user, groups = user_and_groups(options)
    store = CertificateStore(options.dir)
    pair = issue_user(store.authority("user-ca"), user, groups, lifetime)
    access = Access(context, server, store.authority_pem("server-ca"), pair)
    return access, lifetime_of(pair.certificate).not_after


def _context_name(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError(f"{text!r} is not a name for a context")
    return text


def _print(access: "Access") -> None:
    from certs.kubeconfig import make_kubeconfig

    sys.stdout.write(make_kubeconfig(access))


def _write(options: argparse.Namespace, access: "Access", expires: datetime) -> None:
    from certs.kubeconfig import write_kubeconfig

    outcome = write_kubeconfig(options.output, access, merge=options.merge)
    print(f"{outcome}  {options.output}  context {access.context}  until {date_text(expires)}")
    note(f"try: kubectl --kubeconfig {options.output} --context {access.context} get --raw /version")
