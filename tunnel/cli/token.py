"""`cluster-tunnel token`: join tokens, with which agents get their first certificate."""

import argparse
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from certs.lifetime import date_text, utc_now
from certs.names import check_cluster
from tunnel.cli.certs import add_folder, checked, folder_of, note
from tunnel.cli.parser import examples
from tunnel.kit import values

if TYPE_CHECKING:
    from certs.tokenfile import TokenFile, TokenRecord

    _Commands = argparse._SubParsersAction[argparse.ArgumentParser]

DEFAULT_LIFE: Final = "1h"

_EXAMPLES: Final = (
    "cluster-tunnel token create prod --dir ca > join-token",
    "cluster-tunnel token create prod --uses 20 --ttl 24h --dir ca",
    "cluster-tunnel token list --dir ca",
    "cluster-tunnel token revoke 3f9a0c1d22 --dir ca",
)
_WHERE: Final = """\
DIR is the stub's --ca-dir, with agent-ca.key and server-ca.crt in it; a stub that runs takes up each change at once.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands and their flags."""
    parser.description = "Make, list and revoke join tokens, with which agents get their first certificate."
    parser.epilog = f"{examples(*_EXAMPLES)}\n\n{_WHERE}"
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    commands = parser.add_subparsers(dest="token_command", metavar="COMMAND", required=True)
    _configure_create(commands)
    _add_command(commands, "list", _run_list, "show the tokens that are good or were lately", "--dir ca")
    revoke = _add_command(
        commands, "revoke", _run_revoke, "let nobody else join with a token", "3f9a0c1d22 --dir ca"
    )
    revoke.add_argument("id", metavar="ID", help="the token's id, as 'token list' shows it")


def run(options: argparse.Namespace) -> int:
    """Carry out the chosen subcommand and return the exit code.

    Raises:
        UsageError: a cluster id, number or time is not one.
        CommandFailed: a file is missing, broken, or cannot be written.
    """
    command: Callable[[argparse.Namespace], int] = options.token_run
    return command(options)


def _add_command(
    commands: "_Commands", name: str, run: Callable[[argparse.Namespace], int], help: str, example: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=help, description=f"{help[0].upper()}{help[1:]}.")
    parser.epilog = examples(f"cluster-tunnel token {name} {example}")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.set_defaults(token_run=run)
    add_folder(parser)
    return parser


def _configure_create(commands: "_Commands") -> None:
    help = "make a token and print it, for the only time"
    parser = _add_command(commands, "create", _run_create, help, "prod --uses 20 --ttl 24h --dir ca")
    parser.add_argument(
        "cluster", metavar="CLUSTER", help="the id of the cluster whose agents may join with it"
    )
    parser.add_argument(
        "--ttl",
        default=DEFAULT_LIFE,
        metavar="TIME",
        help=f"how long the token is good, such as 30m or 24h (default {DEFAULT_LIFE})",
    )
    parser.add_argument(
        "--uses", default="1", metavar="N", help="how many agents may join with it (default 1)"
    )
    parser.add_argument(
        "--rebind",
        action="store_true",
        help="let another cluster than before take over the id: the cluster was built anew",
    )


def _run_create(options: argparse.Namespace) -> int:
    from certs.pem import PemFile
    from certs.tokenfile import MOST_USES
    from certs.tokens import pin_of

    cluster = checked("CLUSTER", check_cluster, options.cluster)
    life = timedelta(seconds=checked("--ttl", values.timeout, options.ttl))
    uses = checked("--uses", values.count(minimum=1, maximum=MOST_USES), options.uses)
    file = _token_file(options)
    pin = pin_of(PemFile(options.dir / "server-ca.crt"))
    token, record = file.create(cluster, pin, life, uses, utc_now(), rebind=options.rebind)
    print(token.text)
    note(f"token {record.id}: {_agents(record)} of {cluster} may join until {date_text(record.expires)}")
    if not (options.dir / "agent-ca.key").exists():
        note(f"warning: {options.dir / 'agent-ca.key'} is not there; a stub without it lets nobody join")
    return 0


def _agents(record: "TokenRecord") -> str:
    return "one agent" if record.uses == 1 else f"{record.uses} agents"


def _run_list(options: argparse.Namespace) -> int:
    records = _token_file(options).records()
    if not records:
        note(f"{options.dir} has no join tokens; 'cluster-tunnel token create CLUSTER' makes one")
        return 0
    now = utc_now()
    rows = [("ID", "CLUSTER", "USED", "EXPIRES", "STATE")]
    for record in records:
        state = record.problem_at(now) or "good"
        rows.append(
            (record.id, record.cluster, f"{record.used}/{record.uses}", date_text(record.expires), state)
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _run_revoke(options: argparse.Namespace) -> int:
    record = _token_file(options).revoke(options.id, utc_now())
    print(f"revoked  {record.id}  {record.cluster}  used {record.used} of {record.uses}")
    if record.used:
        note(
            f"certificates that it gave stay good; 'cluster-tunnel certs revoke --agent {record.cluster}' ends them"
        )
    return 0


def _token_file(options: argparse.Namespace) -> "TokenFile":
    from certs.tokenfile import TokenFile

    return TokenFile(folder_of(options))
