"""What an elector tells: facts for logs and metrics."""

import logging
from dataclasses import dataclass
from typing import TypeAlias, assert_never

from stub.election.candidate import Term

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BecameActive:
    """This stub took the lease; its leading work begins."""

    term: Term


@dataclass(frozen=True, slots=True)
class Lost:
    """This stub does not hold the lease any more, against its will; its leading work is being stopped."""

    term: Term
    reason: str


@dataclass(frozen=True, slots=True)
class Released:
    """The leading work has ended and the lease was given up: another may take it at once."""


@dataclass(frozen=True, slots=True)
class NotReleased:
    """The lease could not be given up: another takes it when it has run out."""

    reason: str


@dataclass(frozen=True, slots=True)
class StoreFailing:
    """The first call to the store that failed after one that worked.

    Attributes:
        since: seconds on the elector's clock.
    """

    since: float
    reason: str


@dataclass(frozen=True, slots=True)
class StoreRecovered:
    """The first call that worked again."""

    after_seconds: float


@dataclass(frozen=True, slots=True)
class WatchFailed:
    """Changes are not told any more; until a new watch works they are noticed by looking."""

    reason: str


ElectionEvent: TypeAlias = (
    BecameActive | Lost | Released | NotReleased | StoreFailing | StoreRecovered | WatchFailed
)


def log_event(event: ElectionEvent) -> None:
    """Write an event to the log."""
    match event:
        case BecameActive(term):
            _log.info("became the active stub", extra={"lease": term.lease, "epoch": term.epoch})
        case Lost(term, reason):
            _log.warning("is not the active stub any more", extra={"epoch": term.epoch, "reason": reason})
        case Released():
            _log.info("released the lease")
        case NotReleased(reason):
            _log.warning("the lease was not released and has to run out", extra={"reason": reason})
        case StoreFailing(_, reason):
            _log.warning("the lease's store fails", extra={"reason": reason})
        case StoreRecovered(seconds):
            _log.info("the lease's store works again", extra={"seconds": round(seconds, 3)})
        case WatchFailed(reason):
            _log.info("the lease is not watched; looking at it instead", extra={"reason": reason})
        case _:
            assert_never(event)
