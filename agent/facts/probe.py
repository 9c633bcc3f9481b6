"""Asks the apiserver at short intervals whether it is ready, so that a stub knows before a request finds out."""

import asyncio
import logging
from typing import Final

from agent.facts.apiserver import Apiserver
from agent.facts.vitals import Vitals
from agent.upstream.pool import UpstreamPool
from agent.upstream.question import NoAnswer, NoRoom, NotInTime
from tunnel.core.limits import KIB, REPORT_SECONDS

_log = logging.getLogger(__name__)

PATH: Final = b"/readyz"
"""Not /livez, which an apiserver that shuts down still answers well; both are open to everybody by default."""

PROBE_SECONDS: Final = REPORT_SECONDS
ANSWER_SECONDS: Final = 5.0
ANSWER_BYTES: Final = 64 * KIB
"""A failing /readyz lists its checks; those of an apiserver with many hooks take 4 KiB."""


class Probe:
    """See the module. What it finds is in `vitals` and in `upstream.reachable`, which a request that cannot be connected
    changes as well: the last word holds.

    Args:
        apiserver: is asked.
        upstream, vitals: get the answer.
    """

    def __init__(self, apiserver: Apiserver, upstream: UpstreamPool, vitals: Vitals) -> None:
        self._apiserver = apiserver
        self._upstream = upstream
        self._vitals = vitals

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(PROBE_SECONDS)

    async def look(self) -> None:
        """Ask once."""
        try:
            answer = await self._apiserver.get(PATH, _ignore, most_bytes=ANSWER_BYTES, seconds=ANSWER_SECONDS)
        except NoRoom:
            return
        except NoAnswer as reason:
            if isinstance(reason, NotInTime):
                self._upstream.doubt()
            self._found(f"the apiserver cannot be used: {reason}")
            return
        self._vitals.milliseconds = answer.milliseconds
        # 401, 403 and 404 are answers too: of an apiserver that hides its health, or of a proxy in front of it.
        self._found(
            f"the apiserver answers {answer.status} to {PATH.decode()}" if answer.status >= 500 else None
        )

    def _found(self, problem: str | None) -> None:
        if problem != self._vitals.problem:
            if problem is not None:
                _log.warning("the apiserver is not ready", extra={"reason": problem})
            else:
                _log.info("the apiserver is ready again")
        self._vitals.problem = problem
        self._upstream.reachable = problem is None


def _ignore(data: bytes | memoryview) -> None:
    """The status says it all."""
