"""A request's body at the agent: from the session to the apiserver, no faster than that takes it."""

import pytest

from tests.unit.agent.parts import Agent, head_of, upload
from tests.unit.fakes import Clock
from tunnel.core import limits
from tunnel.core.identifiers import RequestId
from tunnel.core.session.events import BodyRefused

WINDOW = limits.STREAM_WINDOW_BYTES


@pytest.fixture
async def agent(clock: Clock) -> Agent:
    return Agent().connect()


async def test_a_body_of_unknown_length_travels_in_chunks(agent: Agent) -> None:
    agent.ask(upload())
    agent.send(1, b"early")
    apiserver = agent.upstreams.give()
    agent.send(1, b"late")
    agent.core.end_body(RequestId(1))
    agent.say()
    head, _, body = apiserver.taken().partition(b"\r\n\r\n")
    assert head.endswith(b"Transfer-Encoding: chunked")
    assert body == b"5\r\nearly\r\n4\r\nlate\r\n0\r\n\r\n"


async def test_a_body_with_a_length_travels_as_it_is(agent: Agent) -> None:
    agent.ask(upload(length=9))
    apiserver = agent.upstreams.give()
    agent.send(1, b"all of it")
    assert apiserver.taken().endswith(b"\r\nContent-Length: 9\r\n\r\nall of it")


async def test_a_body_that_was_whole_before_there_was_a_connection_is_sent_whole(agent: Agent) -> None:
    agent.ask(upload())
    agent.send(1, b"all")
    agent.core.end_body(RequestId(1))
    agent.say()
    assert agent.upstreams.give().taken().endswith(b"3\r\nall\r\n0\r\n\r\n")


async def test_room_is_given_back_only_when_the_apiserver_takes_bytes(agent: Agent) -> None:
    agent.ask(upload())
    agent.send(1, bytes(WINDOW))
    assert agent.room == 0
    apiserver = agent.upstreams.give()
    assert agent.room >= WINDOW
    apiserver.stream.pause_writing()
    before = agent.room
    agent.send(1, bytes(before))
    assert agent.room == 0
    apiserver.stream.resume_writing()
    assert agent.room >= before


async def test_a_body_that_the_client_breaks_off_is_cut_for_the_apiserver(agent: Agent) -> None:
    agent.ask(upload())
    apiserver = agent.upstreams.give()
    agent.send(1, b"half")
    agent.core.break_body(RequestId(1))
    agent.say()
    assert apiserver.stream.aborted
    assert not apiserver.taken().endswith(b"0\r\n\r\n")


async def test_an_answer_before_the_body_is_whole_ends_both_and_spoils_the_connection(agent: Agent) -> None:
    """The apiserver would read the next request's head as the rest of this one's body."""
    channel = agent.channels.add()
    agent.ask(upload())
    apiserver = agent.upstreams.give()
    agent.send(1, b"half")
    apiserver.answer(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
    assert head_of(channel.heard()).response.status == 413
    assert agent.heard(BodyRefused) == [BodyRefused(RequestId(1))]
    assert agent.upstreams.free == []
    assert apiserver.stream.closed


async def test_a_connection_whose_upload_is_whole_is_kept(agent: Agent) -> None:
    agent.channels.add()
    agent.ask(upload())
    apiserver = agent.upstreams.give()
    agent.core.end_body(RequestId(1))
    agent.say()
    apiserver.ok()
    assert agent.upstreams.free == [apiserver.connection]


async def test_bytes_of_a_body_that_is_over_are_given_back(agent: Agent) -> None:
    agent.ask(upload())
    agent.upstreams.give().stream.receive_end()
    agent.send(1, bytes(WINDOW))
    assert not agent.link.runner.closed
