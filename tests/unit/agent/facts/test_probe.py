"""Whether the apiserver is ready."""

import asyncio
from typing import Any, cast

import pytest

from agent.facts.probe import PROBE_SECONDS, Probe
from agent.facts.vitals import Vitals
from agent.upstream.question import NoAnswer, NoRoom, NotInTime
from tests.unit.agent.facts.scripted import Scripted
from tests.unit.fakes import Clock, settle


class Upstream:
    reachable = True
    doubts = 0

    def doubt(self) -> None:
        self.doubts += 1


class Probing:
    """A probe and what it finds."""

    def __init__(self, *answers: Any) -> None:
        self.upstream, self.vitals = Upstream(), Vitals()
        self.apiserver = Scripted.of(readyz=list(answers))
        self.probe = Probe(cast("Any", self.apiserver), cast("Any", self.upstream), self.vitals)

    async def look(self) -> tuple[bool, str | None]:
        await self.probe.look()
        return self.upstream.reachable, self.vitals.problem


@pytest.mark.parametrize("status", [200, 401, 403, 404, 429])
async def test_an_apiserver_that_answers_is_ready_even_where_it_hides_its_health(status: int) -> None:
    probing = Probing(status)
    probing.upstream.reachable = False
    assert await probing.look() == (True, None)
    assert probing.vitals.milliseconds == 2.5


async def test_one_that_says_it_is_not_ready_is_not() -> None:
    probing = Probing(500)
    assert await probing.look() == (False, "the apiserver answers 500 to /readyz")


async def test_one_that_does_not_answer_is_not_ready_until_it_does(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    probing = Probing(NoAnswer("refused"), NoAnswer("refused"), 200)
    assert await probing.look() == (False, "the apiserver cannot be used: refused")
    await probing.look()
    assert await probing.look() == (True, None)
    assert caplog.messages == ["the apiserver is not ready", "the apiserver is ready again"]


async def test_one_that_is_silent_makes_its_other_connections_doubtful() -> None:
    probing = Probing(NoAnswer("refused"), NotInTime("it did not answer within 5 s"))
    await probing.look()
    assert probing.upstream.doubts == 0
    await probing.look()
    assert probing.upstream.doubts == 1


async def test_where_all_connections_are_in_use_the_last_word_stays() -> None:
    probing = Probing(NoRoom("all are in use"))
    assert await probing.look() == (True, None)
    probing.upstream.reachable = False
    assert (await probing.look())[0] is False


async def test_it_asks_at_regular_times(clock: Clock) -> None:
    probing = Probing(200)
    running = asyncio.get_running_loop().create_task(probing.probe.run())
    await settle()
    for _ in range(3):
        await clock.advance(PROBE_SECONDS)
    assert probing.apiserver.asked == ["/readyz"] * 4
    running.cancel()
    await asyncio.wait([running])
