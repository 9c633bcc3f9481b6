"""What ends the command with one clear line, and with which exit code."""

from typing import ClassVar


class Failure(Exception):
    """Ends the command: its text is printed as one line and `exit_code` returned.

    The text names the flag, file or address that is at fault and what would be right; it holds no secret.
    """

    exit_code: ClassVar[int] = 1


class UsageError(Failure):
    """The command was called wrongly: a flag, a variable, a configuration file, or a combination of them."""

    exit_code = 2


class CommandFailed(Failure):
    """The command was called rightly and could not do its work: a busy port, an unreadable key, a refused login."""


def sole(error: BaseException) -> BaseException:
    """Return the one error inside groups of one: task groups wrap whatever ended them."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
