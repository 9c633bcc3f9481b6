"""Which agents there are, and which of them is asked."""

import pytest

from stub.agents.link import AgentLink
from stub.agents.quotas import AgentLimits
from stub.agents.registry import Registry
from tests.unit.fakes import Clock, FakeStream
from tests.unit.stub.agents.asking import Asking, ask
from tests.unit.stub.parts import BLUE, HELLO, FarAgent
from tunnel.core import limits
from tunnel.core.identifiers import ClusterId
from tunnel.core.wire.control import Report

pytestmark = pytest.mark.usefixtures("clock")


def busy(agent: FarAgent, requests: int) -> None:
    """Give an agent requests that it has not answered."""
    for _ in range(requests):
        ask(agent.link, Asking())


@pytest.fixture
def registry() -> Registry:
    return Registry(lambda agents: agents[:2])


async def test_an_unknown_cluster_has_nobody_to_ask(registry: Registry) -> None:
    assert registry.pick(BLUE) is None
    assert BLUE not in registry.clusters


async def test_of_two_the_less_busy_is_picked(registry: Registry) -> None:
    first, second = FarAgent(registry), FarAgent(registry)
    busy(first, 1)
    assert registry.pick(BLUE) is second.link
    busy(second, 2)
    assert registry.pick(BLUE) is first.link


async def test_the_choice_is_between_two_even_where_there_are_more(registry: Registry) -> None:
    first, second, third = (FarAgent(registry) for _ in range(3))
    busy(first, 2)
    busy(second, 1)
    assert registry.pick(BLUE) is second.link
    assert third.link.in_flight == 0


async def test_by_default_two_different_ones_are_drawn() -> None:
    registry = Registry()
    agents = [FarAgent(registry) for _ in range(2)]
    busy(agents[0], 1)
    assert {registry.pick(BLUE) for _ in range(20)} == {agents[1].link}


async def test_a_draining_agent_is_not_picked(registry: Registry) -> None:
    first, second = FarAgent(registry), FarAgent(registry)
    first.core.send_drain("bye")
    first.say()
    assert registry.pick(BLUE) is second.link
    second.core.send_drain("bye")
    second.say()
    assert registry.pick(BLUE) is None


async def test_an_agent_whose_apiserver_does_not_answer_is_the_last_resort(registry: Registry) -> None:
    first, second = FarAgent(registry), FarAgent(registry)
    first.core.send_report(Report(upstream_reachable=False))
    first.say()
    busy(second, 5)
    assert registry.pick(BLUE) is second.link
    second.link.runner.close("gone")
    assert registry.pick(BLUE) is first.link


async def test_all_unreachable_agents_are_better_than_none(registry: Registry) -> None:
    agents = [FarAgent(registry) for _ in range(2)]
    for agent in agents:
        agent.core.send_report(Report(upstream_reachable=False))
        agent.say()
    assert registry.pick(BLUE) is agents[0].link


async def test_the_agent_to_avoid_is_not_picked(registry: Registry) -> None:
    first, second = FarAgent(registry), FarAgent(registry)
    assert registry.pick(BLUE, avoid=first.link) is second.link
    assert registry.pick(BLUE, avoid=second.link) is first.link


async def test_an_agent_serves_its_own_cluster_alone(registry: Registry) -> None:
    FarAgent(registry, cluster=ClusterId("green"))
    assert registry.pick(BLUE) is None


async def test_a_session_is_found_by_its_token_while_it_lasts(registry: Registry) -> None:
    agent = FarAgent(registry)
    assert registry.session_of(agent.link.token) is agent.link
    assert registry.session_of("another") is None
    agent.link.runner.close("gone")
    assert registry.session_of(agent.link.token) is None
    assert list(registry.links) == []


async def test_who_subscribed_hears_of_each_agent_from_then_on(registry: Registry) -> None:
    FarAgent(registry)
    heard: list[AgentLink] = []
    registry.subscribe(heard.append)
    later = FarAgent(registry)
    assert heard == [later.link]


async def test_it_is_known_when_a_clusters_last_agent_left(registry: Registry, clock: Clock) -> None:
    first, second = FarAgent(registry), FarAgent(registry)
    first.link.runner.close("gone")
    assert registry.clusters[BLUE].left_at is None
    await clock.advance(5)
    second.link.runner.close("gone")
    assert registry.clusters[BLUE].left_at == clock.now
    FarAgent(registry)
    assert registry.clusters[BLUE].left_at is None


async def test_an_agent_that_never_said_hello_is_not_listed(registry: Registry) -> None:
    link = AgentLink(registry, BLUE, "f", HELLO, "192.0.2.9")
    FakeStream().open(link.runner)
    link.runner.close("gone")
    assert registry.clusters == {}


async def test_an_agent_that_owes_an_answer_to_a_ping_is_the_last_resort(
    registry: Registry, clock: Clock
) -> None:
    first, second = FarAgent(registry), FarAgent(registry)
    busy(second, 5)
    await clock.advance(limits.PING_SECONDS)
    second.heard()
    second.say()
    assert registry.pick(BLUE) is second.link
    first.heard()
    first.say()
    assert registry.pick(BLUE) is first.link


async def test_a_session_whose_agent_dials_again_is_sent_a_ping_at_once(registry: Registry) -> None:
    dead, other = FarAgent(registry, "agent-1"), FarAgent(registry, "agent-2")
    again = FarAgent(registry, "agent-1")
    busy(again, 5)
    busy(other, 4)
    assert not dead.link.answering
    assert other.link.answering
    assert registry.pick(BLUE) is other.link


async def test_a_session_whose_agent_has_workers_answers_and_stays(registry: Registry, clock: Clock) -> None:
    worker, other = FarAgent(registry, "agent-1"), FarAgent(registry, "agent-1")
    worker.heard()
    worker.say()
    assert worker.link.answering
    await clock.advance(limits.PONG_SECONDS)
    assert set(registry.links) == {worker.link, other.link}


async def test_a_dead_session_is_closed_when_its_agent_has_dialled_again(
    registry: Registry, clock: Clock
) -> None:
    dead = FarAgent(registry, "agent-1")
    again = FarAgent(registry, "agent-1")
    await clock.advance(limits.PING_SECONDS)
    again.heard()
    again.say()
    await clock.advance(limits.PONG_SECONDS - limits.PING_SECONDS)
    assert list(registry.links) == [again.link]
    assert dead.stream.aborted


async def test_a_cluster_has_no_more_sessions_than_it_may(clock: Clock) -> None:
    registry = Registry(limits=AgentLimits(sessions=2))
    first, second, third = (FarAgent(registry) for _ in range(3))
    assert list(registry.links) == [first.link, second.link]
    assert third.link.runner.closed
    assert not FarAgent(registry, cluster=ClusterId("red")).link.runner.closed
    first.stream.lose()
    assert not FarAgent(registry).link.runner.closed
