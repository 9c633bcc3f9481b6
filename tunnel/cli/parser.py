"""The argument parser of the command and of each subcommand."""

import argparse
import re
from collections.abc import Iterator, Sequence
from typing import Final, NoReturn

from tunnel.kit.failures import UsageError
from tunnel.kit.suggestions import did_you_mean

_INVALID_CHOICE: Final = re.compile(r"invalid choice: '(?P<given>[^']*)' \(choose from (?P<known>.*)\)")


class Parser(argparse.ArgumentParser):
    """An argument parser that reports a mistake as `UsageError` instead of printing its usage and exiting.

    Args:
        prog: how the command is called, in usage lines and errors.
        description: what it does.
    """

    def __init__(self, prog: str, description: str | None = None, **options: object) -> None:
        super().__init__(
            prog=prog,
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,  # an abbreviation breaks in scripts on the day a second flag begins like it
        )
        del (
            options
        )  # what argparse itself passes on to parsers below (formatter_class) is the same for all of them

    def error(self, message: str) -> NoReturn:
        """Raise `message`, as argparse words it, with the nearest known name and where to look."""
        message = message.removeprefix("argument ")
        choice = _INVALID_CHOICE.search(message)
        if choice:
            message += did_you_mean(choice["given"], re.findall(r"[\w-]+", choice["known"]))
        raise UsageError(f"{message}; see '{self.prog} --help'")

    def parse_strictly(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Return what `arguments` say.

        Raises:
            UsageError: an argument is unknown or a value is missing.
        """
        options, unknown = self.parse_known_args(arguments)
        if unknown:
            given = unknown[0].partition("=")[0]
            self.error(f"unknown argument {given!r}{did_you_mean(given, _flags(self))}")
        return options


def _flags(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from _flags(below)


def examples(*lines: str) -> str:
    """Return the section of a help text that shows how the command is called, for a parser's `epilog`."""
    return "\n".join(["Example:" if len(lines) == 1 else "Examples:", *(f"  {line}" for line in lines)])
