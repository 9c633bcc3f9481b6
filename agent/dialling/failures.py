"""Ways to a stub that fail: each failure is counted, and logged once for each reason, or each time while no stub is connected."""

import logging

from agent.dialling.roster import Roster

_log = logging.getLogger(__name__)


class DialFailures:
    """Those of one way.

    Args:
        stub: where it leads, for the log.
        roster: knows whether another one is connected; counts.
    """

    __slots__ = ("_reason", "_roster", "_stub")

    def __init__(self, stub: str, roster: Roster) -> None:
        self._stub = stub
        self._roster = roster
        self._reason = ""

    def failed(self, step: str, reason: str) -> None:
        """It has failed at `step`."""
        self._roster.counts.failed[step] += 1
        # With a session elsewhere an address that stays dead (an IPv6 one without a route) is not worth a line every 10 s.
        worth = logging.WARNING if reason != self._reason or not self._roster.workers else logging.DEBUG
        self._reason = reason
        _log.log(worth, "a stub cannot be reached", extra={"stub": self._stub, "reason": reason})

    def over(self) -> None:
        """It works; the next failure is news, whatever its reason."""
        self._reason = ""
