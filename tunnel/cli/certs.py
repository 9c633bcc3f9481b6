"""`cluster-tunnel certs`: authorities, and certificates for stub, agents and users, in one folder."""

import argparse
import sys
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from certs.lifetime import (
    AGENT_LIFE,
    SERVER_LIFE,
    USER_LIFE,
    Lifetime,
    date_text,
    utc_now,
)
from certs.names import check_cluster, check_groups, check_user, is_reserved, parse_host, user_stem
from tunnel.cli.parser import examples
from tunnel.kit import values
from tunnel.kit.failures import UsageError

if TYPE_CHECKING:
    from certs.store import CertificateStore, Written

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

# What needs the cryptography package is imported by the command that uses it: it would cost every `--help` 40 ms.

T = TypeVar("T")

DEFAULT_FOLDER: Final = Path(".cluster-tunnel")

_EXAMPLES: Final = (
    "cluster-tunnel certs init --dir ca",
    "cluster-tunnel certs server --host stub.example.com '*.stub.example.com' --dir ca",
    "cluster-tunnel certs agent prod --dir ca",
    "cluster-tunnel certs user alice -g developers --ttl 30d --dir ca",
    "cluster-tunnel certs show ca/user-alice.crt",
    "cluster-tunnel certs revoke --user alice --dir ca",
)
_WHO_NEEDS_WHAT: Final = """\
The stub needs server.crt, server.key, user-ca.crt, agent-ca.crt and denied.json; an agent its own pair and server-ca.crt.
Keep the keys of the authorities (*-ca.key) away from both.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands and their flags."""
    parser.description = (
        "Make the authorities and the certificates of stub, agents and users. Needs no running stub."
    )
    parser.epilog = f"{examples(*_EXAMPLES)}\n\n{_WHO_NEEDS_WHAT}"
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    commands = parser.add_subparsers(dest="certs_command", metavar="COMMAND", required=True)
    _configure_init(commands)
    _configure_server(commands)
    _configure_agent(commands)
    _configure_user(commands)
    _configure_show(commands)
    from tunnel.cli.revocation import configure_revocation  # which builds on the flags below

    configure_revocation(commands)


def run(options: argparse.Namespace) -> int:
    """Carry out the chosen subcommand and return the exit code.

    Raises:
        UsageError: a name, host or time is not one.
        CommandFailed: a file is missing, broken, or cannot be written.
    """
    command: Callable[[argparse.Namespace], int] = options.certs_run
    return command(options)


def add_command(
    commands: "Commands", name: str, run: Callable[[argparse.Namespace], int], help: str, example: str
) -> argparse.ArgumentParser:
    """Add a subcommand of `certs` and return its parser."""
    parser = commands.add_parser(name, help=help, description=f"{help[0].upper()}{help[1:]}.")
    parser.epilog = examples(f"cluster-tunnel certs {name} {example}")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.set_defaults(certs_run=run)
    return parser


def add_folder(parser: argparse.ArgumentParser) -> None:
    """Add `--dir`."""
    parser.add_argument(
        "--dir",
        type=Path,
        default=DEFAULT_FOLDER,
        metavar="DIR",
        help=f"the folder of authorities and certificates (default {DEFAULT_FOLDER})",
    )


def folder_of(options: argparse.Namespace) -> Path:
    """Return the folder of `--dir` for a command that only reads it: an empty answer would hide a mistyped name."""
    return checked("--dir", values.existing_folder, str(options.dir))


def add_life(parser: argparse.ArgumentParser, default: timedelta) -> None:
    """Add `--ttl`."""
    text = values.duration.write(default.total_seconds())
    parser.add_argument(
        "--ttl",
        default=text,
        metavar="TIME",
        help=f"how long the certificate is valid, such as 30m, 12h or 90d (default {text})",
    )


def add_groups(parser: argparse.ArgumentParser) -> None:
    """Add `-g`."""
    parser.add_argument(
        "-g",
        "--group",
        action="append",
        default=[],
        metavar="GROUP",
        help="a group of the user's; repeatable",
    )


# What the flags say ----------------------------------------------------------------------------


def checked(what: str, check: Callable[[str], T], text: str) -> T:
    """Return `check(text)`; its ValueError becomes a UsageError that begins with `what`."""
    try:
        return check(text)
    except ValueError as error:
        raise UsageError(f"{what}: {error}") from None


def life(options: argparse.Namespace) -> Lifetime:
    """Return the lifetime that `--ttl` asks for, from now on."""
    return checked("--ttl", _lifetime, options.ttl)


def _lifetime(text: str) -> Lifetime:
    try:
        length = timedelta(seconds=values.duration(text))
    except OverflowError:
        raise ValueError(f"{text!r} is too long") from None
    return Lifetime.starting(utc_now(), length)


def user_and_groups(options: argparse.Namespace) -> tuple[str, tuple[str, ...]]:
    """Return the checked user and groups, with a warning on standard error where the stub will refuse them."""
    user = checked("NAME", check_user, options.user)
    groups = checked("-g", lambda _: check_groups(options.group), "")
    for name in filter(is_reserved, (user, *groups)):
        note(
            f"warning: stub and agent refuse {name!r} unless their owners list it: system: names carry power"
        )
    return user, groups


def note(text: str) -> None:
    """Print a line that is no result."""
    print(text, file=sys.stderr)


# Commands --------------------------------------------------------------------------------------


def _configure_init(commands: "Commands") -> None:
    add_folder(add_command(commands, "init", _run_init, "make the authorities that are missing", "--dir ca"))


def _run_init(options: argparse.Namespace) -> int:
    return _report(_store(options).make_authorities(utc_now()))


def _configure_server(commands: "Commands") -> None:
    help = "make the stub's certificate; localhost, 127.0.0.1 and ::1 are always in it"
    parser = add_command(commands, "server", _run_server, help, "--host stub.example.com --dir ca")
    parser.add_argument(
        "--host",
        action="extend",
        nargs="+",
        required=True,
        metavar="NAME",
        help="a DNS name, a wildcard such as *.stub.example.com, or an IP address that clients or agents dial; repeatable",
    )
    add_life(parser, SERVER_LIFE)
    add_folder(parser)


def _run_server(options: argparse.Namespace) -> int:
    for host in options.host:
        checked("--host", parse_host, host)
    return _report([_store(options).issue_server(options.host, life(options))])


def _configure_agent(commands: "Commands") -> None:
    parser = add_command(
        commands, "agent", _run_agent, "make the certificate of a cluster's agents", "prod --dir ca"
    )
    parser.add_argument("cluster", metavar="CLUSTER", help="the cluster's id: one to 63 of a-z, 0-9 and '-'")
    add_life(parser, AGENT_LIFE)
    add_folder(parser)


def _run_agent(options: argparse.Namespace) -> int:
    cluster = checked("CLUSTER", check_cluster, options.cluster)
    return _report([_store(options).issue_agent(cluster, life(options))])


def _configure_user(commands: "Commands") -> None:
    parser = add_command(
        commands, "user", _run_user, "make a user's certificate", "alice -g developers --ttl 30d --dir ca"
    )
    parser.add_argument("user", metavar="NAME", help="the user's name as the cluster sees it")
    add_groups(parser)
    add_life(parser, USER_LIFE)
    add_folder(parser)


def _run_user(options: argparse.Namespace) -> int:
    lifetime = life(options)
    user, groups = user_and_groups(options)
    checked("NAME", user_stem, user)
    return _report([_store(options).issue_user(user, groups, lifetime)])


def _configure_show(commands: "Commands") -> None:
    help = "show what a certificate or key file holds; exit code 1 where something is wrong with it"
    parser = add_command(commands, "show", _run_show, help, "ca/user-alice.crt")
    parser.add_argument("file", metavar="FILE", help="a PEM file, or the name of a certificate in DIR")
    add_folder(parser)


def _run_show(options: argparse.Namespace) -> int:
    from certs.describe import describe_file

    description = describe_file(shown_file(options), utc_now())
    print(description.text, end="")
    return 0 if description.sound else 1


def shown_file(options: argparse.Namespace) -> Path:
    """Return the file that FILE names: a path, or the name of a certificate in DIR."""
    given = Path(options.file)
    candidates = (given, options.dir / given, options.dir / f"{given}.crt")
    return next((path for path in candidates if path.is_file()), given)


def _store(options: argparse.Namespace) -> "CertificateStore":
    from certs.store import CertificateStore

    return CertificateStore(options.dir)


def _report(written: Iterable["Written"]) -> int:
    rows = [_columns(row) for row in written]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _columns(row: "Written") -> tuple[str, ...]:
    if row.made:
        return "made", str(row.files.certificate), str(row.files.key), f"until {date_text(row.expires)}"
    return "kept", str(row.files.certificate), "", f"until {date_text(row.expires)}"
