"""One request at the agent: from the stub through the apiserver to a channel."""

import asyncio

import pytest

from agent.upstream.credential import StaticToken
from tests.unit.agent.parts import Agent, Apiserver, head_of, request
from tests.unit.fakes import Clock, settle
from tunnel.core.errors import BadGateway, TooManyRequests, Unavailable
from tunnel.core.wire.exchange import BODY_UNKNOWN
from tunnel.kit.failures import CommandFailed

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n"


@pytest.fixture
async def agent(clock: Clock) -> Agent:
    return Agent().connect()


async def test_a_request_reaches_the_apiserver_and_its_answer_a_channel(agent: Agent) -> None:
    channel = agent.channels.add()
    agent.ask(request(body=b"{}", method=b"POST"))
    apiserver = agent.upstreams.give()
    assert apiserver.taken().endswith(b"\r\nContent-Length: 2\r\n\r\n{}")
    apiserver.answer(b"HTTP/1.1 201 Created\r\nX-A: 1\r\nContent-Length: 4\r\n\r\nbody")
    head, *rest = channel.heard()
    assert head_of([head]).response.status == 201
    assert head_of([head]).response.fields == [(b"X-A", b"1")]
    assert (head_of([head]).length, rest) == (4, [b"body", "end"])
    assert agent.link.in_flight == 0
    assert agent.upstreams.free == [apiserver.connection]
    assert agent.channels.ready == [channel.channel]


# Answers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "answer", "status", "length", "bodiless"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", 200, 9, True),
        (b"HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200, BODY_UNKNOWN, True),
        (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n", 204, BODY_UNKNOWN, True),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 304, 9, True),
        (b"GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, 0, False),
    ],
)
async def test_answers_without_a_body_say_what_they_would_have(
    agent: Agent, method: bytes, answer: bytes, status: int, length: int, bodiless: bool
) -> None:
    channel = agent.channels.add()
    agent.ask(request(method=method))
    agent.upstreams.give().answer(answer)
    head, end = channel.heard()
    head = head_of([head])
    assert (head.response.status, head.length, head.bodiless, end) == (status, length, bodiless, "end")


async def test_a_stream_of_unknown_length_passes_as_it_comes(agent: Agent) -> None:
    channel = agent.channels.add()
    agent.ask(request())
    apiserver = agent.upstreams.give()
    apiserver.answer(CHUNKED + b"3\r\none\r\n")
    assert head_of(channel.heard()).length == BODY_UNKNOWN
    apiserver.answer(b"3\r\ntwo\r\n")
    assert channel.heard() == [b"two"]
    apiserver.answer(b"0\r\n\r\n")
    assert channel.heard() == ["end"]
    assert channel.channel not in agent.channels.ready
    channel.done()
    assert channel.channel in agent.channels.ready


async def test_a_redirect_to_the_apiserver_itself_loses_its_origin(agent: Agent) -> None:
    channel = agent.channels.add()
    agent.ask(request())
    agent.upstreams.give().answer(
        b"HTTP/1.1 301 Moved\r\nLocation: https://10.0.0.1:6443/x\r\nContent-Length: 0\r\n\r\n"
    )
    assert head_of(channel.heard()).response.fields == [(b"Location", b"/x")]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 302 Found\r\nLocation: https://evil.example/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nBad Name: 1\r\n\r\n",
        b"not HTTP at all\r\n\r\n",
        SWITCHED,
    ],
)
async def test_an_answer_that_must_not_travel_is_502_and_its_connection_broken_off(
    agent: Agent, answer: bytes
) -> None:
    agent.channels.add()
    agent.ask(request())
    apiserver = agent.upstreams.give()
    apiserver.answer(answer)
    assert agent.refused() == [(1, 502, False)]
    assert apiserver.stream.aborted
    assert agent.link.in_flight == 0


# Channels ----------------------------------------------------------------------------------------


async def test_an_answer_waits_for_a_channel_and_the_apiserver_is_not_read_meanwhile(agent: Agent) -> None:
    agent.ask(request())
    apiserver = agent.upstreams.give()
    apiserver.answer(CHUNKED + b"3\r\none\r\n")
    assert not apiserver.stream.reading
    channel = agent.channels.add()
    assert head_of(channel.heard()).id == 1
    assert apiserver.stream.reading


async def test_an_answer_that_is_whole_before_there_is_a_channel_is_sent_then(agent: Agent) -> None:
    agent.ask(request())
    agent.upstreams.give().ok(b"body")
    channel = agent.channels.add()
    assert channel.heard()[1:] == [b"body", "end"]
    assert agent.link.in_flight == 0


async def test_a_stub_that_does_not_take_an_answer_pauses_its_apiserver_alone(agent: Agent) -> None:
    channel = agent.channels.add()
    agent.ask(request())
    apiserver = agent.upstreams.give()
    apiserver.answer(CHUNKED + b"3\r\none\r\n")
    channel.stream.pause_writing()
    assert not apiserver.stream.reading
    channel.stream.resume_writing()
    assert apiserver.stream.reading


async def test_a_channel_that_is_still_full_from_the_answer_before_pauses_the_next_from_its_start(
    agent: Agent,
) -> None:
    channel = agent.channels.add()
    agent.ask(request(1))
    agent.upstreams.give().ok()
    channel.stream.pause_writing()
    agent.ask(request(2))
    apiserver = agent.upstreams.give()
    apiserver.answer(CHUNKED + b"3\r\none\r\n")
    assert not apiserver.stream.reading
    channel.stream.resume_writing()
    assert apiserver.stream.reading


async def test_a_channel_that_the_stub_closes_ends_the_exchange(agent: Agent) -> None:
    channel = agent.channels.add()
    agent.ask(request())
    apiserver = agent.upstreams.give()
    apiserver.answer(CHUNKED)
    channel.stream.lose()
    assert apiserver.stream.aborted
    assert agent.link.in_flight == 0
    assert agent.refused() == []


# Connections that break --------------------------------------------------------------------------


def kept_alive(agent: Agent) -> Apiserver:
    """A connection that has served before."""
    agent.channels.add()
    agent.ask(request(1))
    apiserver = agent.upstreams.give()
    apiserver.ok()
    return apiserver


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
async def test_a_kept_alive_connection_that_had_closed_is_replaced_once(agent: Agent, method: bytes) -> None:
    stale = kept_alive(agent)
    agent.ask(request(2, method))
    agent.upstreams.give(stale)
    stale.stream.receive_end()
    ((_, fresh),) = agent.upstreams.borrowers
    assert fresh
    again = agent.upstreams.give()
    assert again.taken().startswith(method)
    again.stream.receive_end()
    assert agent.refused() == [(2, 502, False)]


async def test_what_was_sent_once_is_not_said_to_be_untouched_when_no_second_connection_can_be_had(
    agent: Agent,
) -> None:
    """A GET through a proxy may have done something, and its client would be told to come again."""
    stale = kept_alive(agent)
    agent.ask(request(2, b"GET"))
    agent.upstreams.give(stale)
    stale.stream.receive_end()
    agent.upstreams.refuse(Unavailable("this agent is shutting down"))
    assert agent.refused() == [(2, 503, False)]


@pytest.mark.parametrize("method", [b"POST", b"DELETE", b"PUT", b"PATCH"])
async def test_what_may_have_taken_effect_is_never_sent_again(agent: Agent, method: bytes) -> None:
    stale = kept_alive(agent)
    agent.ask(request(2, method))
    agent.upstreams.give(stale)
    stale.stream.receive_end()
    assert agent.refused() == [(2, 502, False)]
    assert not agent.upstreams.borrowers


@pytest.mark.parametrize(
    "target",
    [
        b"/api/v1/namespaces/a/services/pay/proxy/charge?x=1",
        b"/api/v1/namespaces/a/pods/web/proxy",
        b"/api/v1/proxy/namespaces/a/services/pay/charge",
        b"/api/v1/namespaces/a/pods/web/exec?command=reboot",
    ],
)
async def test_a_read_that_reaches_into_a_pod_or_a_service_is_never_sent_again(
    agent: Agent, target: bytes
) -> None:
    stale = kept_alive(agent)
    agent.ask(request(2, b"GET", target))
    agent.upstreams.give(stale)
    stale.stream.receive_end()
    assert agent.refused() == [(2, 502, False)]
    assert not agent.upstreams.borrowers


async def test_a_new_connection_that_closes_is_not_tried_again(agent: Agent) -> None:
    agent.ask(request())
    agent.upstreams.give().stream.receive_end()
    assert agent.refused() == [(1, 502, False)]


async def test_an_answer_that_has_begun_is_not_asked_for_again(agent: Agent) -> None:
    stale = kept_alive(agent)
    agent.ask(request(2))
    agent.upstreams.give(stale)
    stale.answer(b"HTTP/1.1 2")
    stale.stream.receive_end()
    assert agent.refused() == [(2, 502, False)]


async def test_an_answer_that_breaks_off_is_cut_on_its_channel(agent: Agent) -> None:
    channel = agent.channels.add()
    agent.ask(request())
    apiserver = agent.upstreams.give()
    apiserver.answer(CHUNKED + b"3\r\none\r\n")
    apiserver.stream.lose(ConnectionResetError("reset"))
    assert channel.heard()[1:] == [b"one", "abort"]
    assert channel.stream.closed
    assert channel.channel in agent.channels.lost
    assert agent.link.in_flight == 0


async def test_an_answer_that_breaks_off_before_there_is_a_channel_is_502(agent: Agent) -> None:
    agent.ask(request())
    apiserver = agent.upstreams.give()
    apiserver.answer(CHUNKED)
    apiserver.stream.lose()
    assert agent.refused() == [(1, 502, False)]
    assert not agent.channels.waiting


@pytest.mark.parametrize("refusal", [BadGateway("no apiserver"), TooManyRequests("full")])
async def test_without_a_connection_another_agent_may_be_asked(agent: Agent, refusal: BadGateway) -> None:
    agent.ask(request())
    agent.upstreams.refuse(refusal)
    assert agent.refused() == [(1, refusal.code, True)]
    assert agent.link.idle.is_set()


# Cancelling --------------------------------------------------------------------------------------


async def test_cancelled_while_it_waits_for_a_connection_the_connection_is_given_up(agent: Agent) -> None:
    agent.ask(request())
    agent.cancel(1)
    apiserver = agent.upstreams.give()
    assert apiserver.taken() == b""
    assert apiserver.stream.aborted
    assert agent.refused() == []


async def test_cancelled_while_the_apiserver_works_the_connection_is_broken_off(agent: Agent) -> None:
    agent.ask(request())
    apiserver = agent.upstreams.give()
    agent.cancel(1)
    assert apiserver.stream.aborted
    assert agent.link.in_flight == 0


async def test_cancelled_while_it_waits_for_a_channel_it_takes_none(agent: Agent) -> None:
    agent.ask(request())
    apiserver = agent.upstreams.give()
    apiserver.answer(CHUNKED)
    agent.cancel(1)
    channel = agent.channels.add()
    assert channel.heard() == []
    assert apiserver.stream.aborted


async def test_cancelled_in_the_middle_of_its_answer_the_channel_is_cut(agent: Agent) -> None:
    channel = agent.channels.add()
    agent.ask(request())
    apiserver = agent.upstreams.give()
    apiserver.answer(CHUNKED)
    agent.cancel(1)
    assert channel.heard()[1:] == ["abort"]
    assert channel.stream.closed
    assert apiserver.stream.aborted


async def test_a_late_cancel_is_ignored(agent: Agent) -> None:
    channel = agent.channels.add()
    agent.ask(request())
    agent.upstreams.give().ok()
    agent.cancel(1)
    assert not channel.stream.closing
    assert not agent.link.runner.closed


# Credentials -------------------------------------------------------------------------------------


class Renewable(StaticToken):
    """A token that can be had anew, until there is no newer one."""

    can_renew = True

    def __init__(self, failure: Exception | None = None) -> None:
        super().__init__("old")
        self.failure = failure
        self.renewals = 0

    async def renew(self) -> None:
        self.renewals += 1
        if self.failure:
            raise self.failure
        self._fields = [(b"Authorization", b"Bearer new")]


UNAUTHORIZED = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n{}"


async def test_a_401_renews_the_credential_and_asks_once_more(clock: Clock) -> None:
    async with asyncio.TaskGroup() as tasks:
        credential = Renewable()
        agent = Agent(credential=credential, tasks=tasks).connect()
        channel = agent.channels.add()
        agent.ask(request(body=b"{}", method=b"POST"))
        first = agent.upstreams.give()
        assert b"Bearer old" in first.taken()
        first.answer(UNAUTHORIZED)
        await settle()
        second = agent.upstreams.give()
        sent = second.taken()
        assert b"Bearer new" in sent
        assert sent.endswith(b"{}")
        second.answer(UNAUTHORIZED)
        assert head_of(channel.heard()).response.status == 401
        assert credential.renewals == 1


@pytest.mark.parametrize(
    "target", [b"/api/v1/namespaces/a/services/web/proxy/login", b"/api/v1/proxy/namespaces/a/pods/web/login"]
)
async def test_a_401_from_behind_a_proxy_is_the_users_and_renews_nothing(clock: Clock, target: bytes) -> None:
    async with asyncio.TaskGroup() as tasks:
        credential = Renewable()
        agent = Agent(credential=credential, tasks=tasks).connect()
        channel = agent.channels.add()
        agent.ask(request(1, b"POST", target, body=b"{}"))
        agent.upstreams.give().answer(UNAUTHORIZED)
        assert head_of(channel.heard()).response.status == 401
        assert not agent.upstreams.borrowers
        assert credential.renewals == 0


@pytest.mark.parametrize("failure", [CommandFailed("the plugin failed"), OverflowError("a fault of our own")])
async def test_a_credential_that_cannot_be_renewed_costs_only_its_request(
    clock: Clock, failure: Exception
) -> None:
    async with asyncio.TaskGroup() as tasks:
        agent = Agent(credential=Renewable(failure), tasks=tasks).connect()
        agent.ask(request())
        agent.upstreams.give().answer(UNAUTHORIZED)
        await settle()
        assert agent.refused() == [(1, 502, True)]
        agent.ask(request(2))
        assert len(agent.upstreams.borrowers) == 1


async def test_a_request_cancelled_while_the_credential_is_renewed_is_not_asked_again(clock: Clock) -> None:
    async with asyncio.TaskGroup() as tasks:
        agent = Agent(credential=Renewable(), tasks=tasks).connect()
        agent.ask(request())
        agent.upstreams.give().answer(UNAUTHORIZED)
        agent.cancel(1)
        await settle()
        assert not agent.upstreams.borrowers


async def test_a_401_is_relayed_where_nothing_can_be_renewed(agent: Agent) -> None:
    channel = agent.channels.add()
    agent.ask(request())
    agent.upstreams.give().answer(UNAUTHORIZED)
    assert head_of(channel.heard()).response.status == 401
