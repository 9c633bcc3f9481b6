"""`cluster-tunnel certs revoke`, `denied` and `restore`: certificates that stubs refuse although their dates hold."""

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from certs.lifetime import date_text, utc_now
from certs.names import READ_NAME_LENGTH, check_cluster, check_user
from tunnel.cli.certs import add_command, add_folder, checked, folder_of, note, shown_file
from tunnel.kit.failures import UsageError

if TYPE_CHECKING:
    from certs.denied import Denial
    from tunnel.cli.certs import Commands

_SERIAL_DIGITS = 40
"""RFC 5280 4.1.2.2: at most 20 bytes."""

_WHO_HEARS = """\
DIR must be the stub's --ca-dir, which it follows while it runs; where it is another folder, copy its denied.json into the
--ca-dir of every stub (on Kubernetes into their Secret: "Revoking" in docs/install.md). No stub hears of it before.
"""


def configure_revocation(commands: "Commands") -> None:
    """Add the subcommands."""
    help = "refuse certificates from now on; what is open by them is cut within seconds"
    parser = add_command(commands, "revoke", _run_revoke, help, "--user alice --dir ca")
    parser.epilog = f"{parser.epilog}\n\n{_WHO_HEARS}"
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "file", nargs="?", metavar="FILE", help="one certificate: a PEM file, or its name in DIR"
    )
    what.add_argument(
        "--serial", metavar="HEX", help="one certificate, by its serial number as 'certs show' has it"
    )
    what.add_argument("--user", metavar="NAME", help="all that was issued to a user until now")
    what.add_argument(
        "--agent", metavar="CLUSTER", help="all that was issued to a cluster's agents until now"
    )
    parser.add_argument(
        "--for-good",
        action="store_true",
        help="with --user or --agent: also what will be issued, until 'certs restore'",
    )
    add_folder(parser)
    add_folder(add_command(commands, "denied", _run_denied, "list what is revoked", "--dir ca"))
    parser = add_command(commands, "restore", _run_restore, "take a revocation back", "5e0f9b1c --dir ca")
    parser.add_argument("id", metavar="ID", help="of the revocation, as 'certs denied' shows it")
    add_folder(parser)


def _run_revoke(options: argparse.Namespace) -> int:
    from certs.denied import deny, for_good

    named = options.user is not None or options.agent is not None
    if options.for_good and not named:
        raise UsageError("--for-good goes with --user or --agent: one certificate stays revoked anyway")
    denial = _denial(options)
    denial = for_good(denial) if options.for_good else denial
    deny(options.dir, [denial])
    print(f"revoked  {denial.id}  {denial.subject}")
    note(
        f"stubs whose --ca-dir is {options.dir} hear of it within a second; others need a copy of its denied.json"
    )
    if not named:
        note("certificates that were renewed from it have other serials: --user or --agent revokes those too")
    return 0


def _denial(options: argparse.Namespace) -> "Denial":
    from certs.denied import new_denial

    now = utc_now()
    if options.user is not None:
        return new_denial("user", checked("--user", _user, options.user), now)
    if options.agent is not None:
        return new_denial("agent", checked("--agent", check_cluster, options.agent), now)
    if options.serial is not None:
        return new_denial("serial", checked("--serial", _serial, options.serial), now)
    return _certificate_denial(options)


def _user(text: str) -> str:
    return check_user(text, READ_NAME_LENGTH)


def _serial(text: str) -> str:
    digits = text.replace(":", "").lower().removeprefix("0x")
    if not digits or len(digits) > _SERIAL_DIGITS or digits.strip("0123456789abcdef"):
        raise ValueError(f"{text[:60]!r} is not a serial number: up to {_SERIAL_DIGITS} hexadecimal digits")
    return f"{int(digits, 16):x}"


def _certificate_denial(options: argparse.Namespace) -> "Denial":
    from certs.denied import denial_of
    from certs.pem import PemFile, read_certificates

    return denial_of(read_certificates(PemFile(shown_file(options)))[0], utc_now())


def _run_denied(options: argparse.Namespace) -> int:
    from certs.denied import DENIED, read_denials

    folder = folder_of(options)
    rows = list(_rows(read_denials(folder / DENIED)))
    if not rows:
        note(f"nothing is revoked in {folder}")
        return 0
    rows.insert(0, ("ID", "SINCE", "WHAT"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _rows(denials: "list[Denial]") -> Iterator[tuple[str, str, str]]:
    for denial in denials:
        yield denial.id, date_text(denial.since), denial.subject


def _run_restore(options: argparse.Namespace) -> int:
    from certs.denied import restore

    denial = restore(folder_of(options), options.id)
    print(f"restored  {denial.subject}")
    return 0
