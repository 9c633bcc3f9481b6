"""An upgrade at the agent: asked for, granted or not, and then a raw pipe."""

import pytest

from tests.unit.agent.parts import Agent, Apiserver, head_of, request
from tests.unit.fakes import Clock
from tunnel.core.http.message import Field

SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n"


@pytest.fixture
async def agent(clock: Clock) -> Agent:
    return Agent().connect()


SPDY: list[Field] = [(b"X-Stream-Protocol-Version", b"v4.channel.k8s.io")]


def upgraded(agent: Agent, early: bytes = b"") -> Apiserver:
    """Ask for an upgrade and let the apiserver grant it."""
    agent.ask(request(method=b"POST", fields=SPDY, upgrade=True))
    apiserver = agent.upstreams.give()
    assert b"\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n" in apiserver.taken()
    apiserver.answer(SWITCHED + early)
    return apiserver


async def test_an_upgrade_becomes_a_pipe_and_early_bytes_go_first(agent: Agent) -> None:
    channel = agent.channels.add()
    apiserver = upgraded(agent, b"early ")
    apiserver.answer(b"late")
    written = channel.stream.take()
    assert written.endswith(b"early late")
    channel.stream.receive(b"from the client")
    assert apiserver.taken() == b"from the client"
    assert channel.channel in agent.channels.lost


async def test_a_pipe_counts_until_it_ends_and_so_does_its_connection(agent: Agent) -> None:
    channel = agent.channels.add()
    apiserver = upgraded(agent)
    assert agent.link.in_flight == 1
    assert agent.upstreams.gone == []
    channel.stream.receive_end()
    apiserver.stream.receive_end()
    assert agent.link.in_flight == 0
    assert agent.upstreams.gone == [apiserver.connection]


async def test_a_refused_upgrade_is_relayed(agent: Agent) -> None:
    channel = agent.channels.add()
    agent.ask(request(method=b"POST", fields=SPDY, upgrade=True))
    agent.upstreams.give().answer(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
    assert head_of(channel.heard()).response.status == 403


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
        SWITCHED.replace(b"SPDY/3.1", b"websocket"),
    ],
)
async def test_any_other_answer_to_an_upgrade_is_502(agent: Agent, answer: bytes) -> None:
    agent.channels.add()
    agent.ask(request(method=b"POST", fields=SPDY, upgrade=True))
    apiserver = agent.upstreams.give()
    apiserver.answer(answer)
    assert agent.refused() == [(1, 502, False)]
    assert apiserver.stream.aborted


async def test_a_cancel_does_not_touch_a_pipe(agent: Agent) -> None:
    channel = agent.channels.add()
    upgraded(agent)
    agent.cancel(1)
    assert not channel.stream.closing


async def test_a_pipe_survives_its_session_and_ends_with_the_agent(agent: Agent) -> None:
    channel = agent.channels.add()
    apiserver = upgraded(agent)
    agent.stream.lose()
    assert not channel.stream.closing
    agent.link.stop("this agent shut down")
    assert channel.stream.aborted
    assert apiserver.stream.aborted


async def test_a_pipe_whose_channel_breaks_is_refused_in_case_its_101_never_arrived(agent: Agent) -> None:
    channel = agent.channels.add()
    upgraded(agent)
    agent.refused()
    channel.stream.lose(TimeoutError("Connection timed out"))
    assert agent.refused() == [(1, 502, False)]


async def test_a_pipe_whose_other_end_breaks_is_not_refused(agent: Agent) -> None:
    agent.channels.add()
    apiserver = upgraded(agent)
    apiserver.stream.lose(ConnectionResetError("reset"))
    assert agent.refused() == []
