"""What an agent needs before it can dial: a first credential, where that comes from a plugin, and a certificate, where it joins.

Either may take for as long as an apiserver or a stub stays away. Meanwhile whoever looks is told why, and the agent can be stopped.
"""

import asyncio
from dataclasses import dataclass

from agent.enrolment import Enrolment
from agent.enrolment_parts import make_enrolment
from agent.settings import AgentSettings
from agent.upstream.target import UpstreamTarget


@dataclass(frozen=True, slots=True)
class Prepared:
    """What came of it.

    Attributes:
        settings: with certificate, key and authority.
        enrolment: keeps them valid; None where `--cert` gives them.
    """

    settings: AgentSettings
    enrolment: Enrolment | None


class Preparation:
    """See the module.

    Args:
        settings: of the agent.
        target: its apiserver.

    Raises:
        CommandFailed: the state folder cannot be made, or a file cannot be used.
    """

    def __init__(self, settings: AgentSettings, target: UpstreamTarget) -> None:
        self._settings = settings
        self._target = target
        self._enrolment = make_enrolment(settings, target)
        self._lacking: str | None = "no credential yet"

    def problem(self) -> str | None:
        """Return what is not there yet, or None when it is."""
        return self._lacking

    async def run(self, stopping: asyncio.Event) -> Prepared | None:
        """Return what an agent can dial with, or None where `stopping` is set before.

        Raises:
            Failure: it cannot be had.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                preparing = tasks.create_task(self._prepare(), name="prepare")
                waiting = tasks.create_task(stopping.wait(), name="wait for a signal")
                await asyncio.wait((preparing, waiting), return_when=asyncio.FIRST_COMPLETED)
                preparing.cancel()
                waiting.cancel()
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
        return None if preparing.cancelled() else preparing.result()

    async def _prepare(self) -> Prepared:
        if self._target.credential.can_renew:
            await self._target.credential.renew()
        settings = self._settings
        if self._enrolment is not None:
            self._lacking = "joining"
            settings = await self._enrolment.enrol()
        self._lacking = None
        return Prepared(settings, self._enrolment)
