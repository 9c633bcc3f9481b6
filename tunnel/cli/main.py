"""The command `cluster-tunnel`: finds the subcommand, runs it, and turns what goes wrong into one line and an exit code.

Exit codes: 0 done, 1 failed, 2 called wrongly, 130 interrupted, 141 nobody reads the output any more.
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final

from tunnel.cli.parser import Parser, examples
from tunnel.kit.failures import Failure, UsageError, sole
from tunnel.kit.suggestions import did_you_mean

PROGRAM: Final = "cluster-tunnel"

SUBCOMMANDS: Final = {
    "up": "run everything on this machine: authorities, stub, agent, kubeconfig",
    "stub": "run the public end, which users connect to",
    "agent": "run the cluster's end, which dials out to the stub",
    "certs": "make, show and revoke authorities and certificates",
    "token": "make join tokens for agents",
    "kubeconfig": "write a kubeconfig for a user",
    "login": "sign in at the stub, for kubectl",
    "can": "explain which rules decide about a request",
    "drain": "make a running stub or agent end in order",
    "profile": "show where a running stub or agent spends its CPU time",
    "version": "show versions",
}
"""Each is a module of this package with `configure(parser)` and `run(options) -> int`, imported only when it is called:
`--help` and `version` start in a tenth of the time that the stub's imports take."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    Args:
        argv: the arguments without the program's name; the process's own where left out.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Python flushes standard output once more when it exits, which would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        return _report(error, debug="--debug" in arguments)
    return code


def _run(arguments: list[str]) -> int:
    options_before, name, rest = _split(arguments)
    if name is None:
        return _without_subcommand(options_before)
    if name not in SUBCOMMANDS:
        raise UsageError(f"unknown command {name!r}{did_you_mean(name, SUBCOMMANDS)}; see '{PROGRAM} --help'")
    module = import_module(f"tunnel.cli.{name}")
    parser = Parser(f"{PROGRAM} {name}", description=f"{SUBCOMMANDS[name].capitalize()}.")
    module.configure(parser)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an unexpected error")
    parser.set_defaults(command=name, sections=tuple(SUBCOMMANDS))
    code: int = module.run(parser.parse_strictly([*options_before, *rest]))
    return code


def _split(arguments: list[str]) -> tuple[list[str], str | None, list[str]]:
    """Return what stands before the subcommand, its name, and what stands behind it."""
    for index, argument in enumerate(arguments):
        if not argument.startswith("-"):
            return arguments[:index], argument, arguments[index + 1 :]
    return arguments, None, []


def _without_subcommand(arguments: list[str]) -> int:
    parser = Parser(PROGRAM, description="Reach the complete Kubernetes API of clusters on private networks.")
    parser.usage = f"{PROGRAM} COMMAND [OPTIONS]"
    parser.epilog = _overview()
    parser.add_argument("--version", action="store_true", help="show versions")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an unexpected error")
    if parser.parse_strictly(arguments).version:
        return _run(["version"])
    if arguments:
        raise UsageError(f"a command is missing; see '{PROGRAM} --help'")
    parser.print_help(sys.stderr)
    return UsageError.exit_code


def _overview() -> str:
    width = max(map(len, SUBCOMMANDS))
    commands = "\n".join(f"  {name:{width}}  {summary}" for name, summary in SUBCOMMANDS.items())
    example = examples(f"{PROGRAM} up --kubeconfig ~/.kube/config")
    return f"Commands:\n{commands}\n\n{example}\n\nEach command has a --help of its own."


# What went wrong -------------------------------------------------------------------------------


def _report(error: Exception, *, debug: bool) -> int:
    cause = sole(error)
    if debug:
        import traceback

        traceback.print_exception(error)
    print(f"{PROGRAM}: {' '.join(_explain(cause).splitlines())}", file=sys.stderr)
    return cause.exit_code if isinstance(cause, Failure) else 1


def _explain(error: BaseException) -> str:
    if isinstance(error, Failure):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        # A file or port that is not as it should be is the operator's to mend, not a bug.
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return f"this is a bug: {type(error).__name__}: {error} (run it again with --debug for the traceback)"


if __name__ == "__main__":
    sys.exit(main())
