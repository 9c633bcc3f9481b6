"""`cluster-tunnel profile`: shows where a running stub or agent spends its CPU time."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tunnel.aio.operations import MAX_PROFILE_SECONDS
from tunnel.cli.asking import add_control, ask, control_of
from tunnel.cli.certs import checked
from tunnel.cli.parser import examples
from tunnel.kit import values
from tunnel.kit.sampling import DEFAULT_HERTZ, MAX_HERTZ, Profile, collapsed, table

_EXAMPLES: Final = (
    "cluster-tunnel profile --control /run/cluster-tunnel/stub.sock --seconds 30",
    "cluster-tunnel profile --control /run/cluster-tunnel/agent.sock --output agent.collapsed",
)
_MEANING: Final = """\
The table has a line for each function: the share of the CPU time spent in itself, and with all that it called. Time in OpenSSL
and the kernel belongs to the function that called them; what the event loop itself takes, to the function that runs it.
A file written by --output is what flame graph programs (flamegraph.pl, inferno, speedscope.app) read.
"""
_IDLE: Final = "it had next to nothing to do: look for longer, or while it works"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.description = "Show where a running stub or agent spends its CPU time."
    parser.epilog = f"{examples(*_EXAMPLES)}\n\n{_MEANING}"
    add_control(parser)
    parser.add_argument("--seconds", metavar="N", default="10", help="how long to look (default 10)")
    parser.add_argument(
        "--rate",
        metavar="N",
        default=str(DEFAULT_HERTZ),
        help=f"looks per second of CPU time, each of which takes some 20 µs (default {DEFAULT_HERTZ})",
    )
    parser.add_argument("--rows", metavar="N", default="25", help="functions to show at most (default 25)")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="write the call stacks there, with the microseconds spent on each",
    )


def run(options: argparse.Namespace) -> int:
    """Take the profile and print its table.

    Raises:
        UsageError: no socket is given, or a number is out of range.
        CommandFailed: nobody listens there, another profile is being taken.
        OSError: the file cannot be written.
    """
    seconds = checked("--seconds", values.count(1, int(MAX_PROFILE_SECONDS)), options.seconds)
    rate = checked("--rate", values.count(1, MAX_HERTZ), options.rate)
    rows = checked("--rows", values.count(1, 10_000), options.rows)
    request = {"command": "profile", "seconds": seconds, "hertz": rate}
    answer = ask(control_of(options), request, _ignore, work_seconds=seconds)
    profile = _profile(answer)
    share = profile.cpu_seconds / profile.seconds
    print(f"{profile.samples} looks in {profile.seconds:.1f} s, of which {share:.0%} were CPU time\n")
    for line in table(profile, rows) if profile.samples else (_IDLE,):
        print(line)
    if options.output is not None:
        options.output.write_text(collapsed(profile))
        print(f"\nstacks: {options.output}")
    return 0


def _ignore(report: Mapping[str, Any]) -> None:
    """A profile has no news before its end."""


def _profile(answer: Mapping[str, Any]) -> Profile:
    stacks = {tuple(stack.split(";")): int(spent) for stack, spent in answer["stacks"].items()}
    return Profile(float(answer["seconds"]), int(answer["samples"]), stacks)
