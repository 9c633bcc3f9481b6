"""An agent's session with one stub worker."""

import pytest

from agent.session import BACKLOG_BYTES, Fence
from tests.unit.agent.parts import STUB, Agent, request, upload
from tests.unit.fakes import Clock, settle
from tunnel.core import limits
from tunnel.core.identifiers import RequestId
from tunnel.core.session.events import BodyRefused
from tunnel.core.wire.control import Active, AgentHello, Capacity, Drain, Reject, Report, StubHello
from tunnel.core.wire.exchange import Refused

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
async def agent(clock: Clock) -> Agent:
    return Agent().connect()


# The fence ---------------------------------------------------------------------------------------


def test_a_fence_obeys_the_newest_epoch_of_a_lease_and_not_older_ones() -> None:
    fence = Fence()
    assert fence.admits("uid", 0)
    fence.learn(Active("uid", 5))
    assert [fence.admits("uid", epoch) for epoch in (4, 5, 6)] == [False, True, True]
    fence.learn(Active("uid", 3))
    assert not fence.admits("uid", 4)


def test_each_lease_has_epochs_of_its_own() -> None:
    fence = Fence()
    fence.learn(Active("old", 500))
    fence.learn(Active("new", 1))
    assert fence.admits("new", 1)
    assert not fence.admits("old", 499)


def test_leases_that_stubs_invent_do_not_pile_up() -> None:
    fence = Fence()
    for number in range(10_000):
        fence.learn(Active(f"lease-{number}", 1))
    assert len(fence._epochs) < 100
    assert not fence.admits("lease-9999", 0)


async def test_a_stub_that_was_replaced_is_refused_and_what_it_asked_before_runs_on(clock: Clock) -> None:
    fence = Fence()
    old, new = Agent(fence=fence).connect(), Agent(fence=fence).connect()
    old.core.send_active(Active("uid", 1))
    old.ask(request(1, epoch=1))
    new.core.send_active(Active("uid", 2))
    new.say()
    old.ask(request(2, epoch=1))
    assert old.refused() == [(2, 503, True)]
    assert old.link.in_flight == 1


# Greeting ----------------------------------------------------------------------------------------


async def test_it_answers_the_stubs_hello_with_its_name_and_no_token(clock: Clock) -> None:
    agent = Agent()
    agent.stream.open(agent.link.runner)
    agent.say()
    hello, report = agent.heard()
    assert isinstance(hello, AgentHello)
    assert (hello.name, hello.token) == ("agent-1", "")
    assert hello.software.startswith("cluster-tunnel/")
    assert report == Report(upstream_milliseconds=3)
    assert agent.link.stub == STUB


async def test_a_stub_without_a_version_in_common_is_rejected(clock: Clock) -> None:
    agent = Agent()
    agent.stream.open(agent.link.runner)
    agent.link.session_event(StubHello("stub-1", versions=(77,)))
    assert agent.link.close_reason == "no common protocol version; the stub speaks [77]"
    assert agent.link.closed.is_set()
    assert agent.link.stub is None


async def test_a_rejected_session_says_why(agent: Agent) -> None:
    agent.core.send_reject("your certificate is revoked")
    agent.say()
    assert agent.link.close_reason == "the stub rejects the session: your certificate is revoked"
    assert agent.link.closed.is_set()


@pytest.mark.parametrize(("drains", "level"), [(False, "WARNING"), (True, "INFO")])
async def test_the_log_says_that_a_session_is_over_and_how_little_that_was_expected(
    agent: Agent, caplog: pytest.LogCaptureFixture, drains: bool, level: str
) -> None:
    caplog.set_level("INFO")
    if drains:
        agent.core.send_drain("this stub is shutting down")
        agent.say()
    agent.stream.lose()
    (record,) = [each for each in caplog.records if each.message == "disconnected"]
    assert (record.levelname, vars(record)["stub"]) == (level, "stub.example.com:8443")
    assert vars(record)["reason"] == agent.link.close_reason


async def test_what_never_became_a_session_is_not_said_to_be_over(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    agent = Agent()
    agent.stream.open(agent.link.runner)
    agent.stream.lose()
    assert not caplog.records


# Requests ----------------------------------------------------------------------------------------


async def test_what_inspection_refuses_never_reaches_the_apiserver(agent: Agent) -> None:
    agent.ask(request(1, fields=[(b"Impersonate-User", b"root")]))
    agent.ask(request(2, caller=b"user\0system:admin"))
    agent.ask(request(3, target=b"nowhere"))
    assert agent.refused() == [(1, 403, False), (2, 403, False), (3, 400, False)]
    assert not agent.upstreams.borrowers


async def test_above_the_limit_another_agent_may_be_asked(clock: Clock) -> None:
    agent = Agent(channels_limit=2).connect()
    for number in (1, 2, 3):
        agent.ask(request(number))
    assert agent.refused() == [(3, 429, True)]


async def test_a_channel_that_a_slow_client_holds_counts_until_its_stub_is_done(clock: Clock) -> None:
    agent = Agent(channels_limit=2).connect()
    channels = [agent.channels.add(), agent.channels.add()]
    for number in (1, 2):
        agent.ask(request(number))
        agent.upstreams.give().answer(CHUNKED + b"3\r\none\r\n0\r\n\r\n")
    assert agent.link.in_flight == 0
    agent.ask(request(3, b"POST"))
    assert agent.refused() == [(3, 429, True)]
    channels[0].heard()
    channels[0].done()
    agent.ask(request(4, b"POST"))
    assert agent.refused() == []
    assert len(agent.upstreams.borrowers) == 1


@pytest.mark.parametrize("excess", [0, 1])
async def test_a_stub_that_takes_no_refusals_loses_its_session(agent: Agent, excess: int) -> None:
    agent.ask(request(1, target=b"nowhere"))
    frame = len(Refused(RequestId(1), False, 400, agent.heard(Refused)[0].message).encode())
    agent.stream.waiting_bytes = BACKLOG_BYTES - frame + excess
    agent.ask(request(2, target=b"nowhere"))
    assert agent.stream.closed == bool(excess)
    assert agent.channels.closed == (
        [("the stub takes none of the agent's refusals", True)] if excess else []
    )


async def test_the_body_of_a_refused_request_is_refused_too(agent: Agent) -> None:
    agent.ask(upload())
    agent.link.draining = True
    agent.ask(upload(2))
    assert BodyRefused(RequestId(2)) in agent.heard()


async def test_a_cancel_of_nothing_is_ignored(agent: Agent) -> None:
    agent.cancel(77)
    assert not agent.link.runner.closed


# Reports and draining ----------------------------------------------------------------------------


async def test_it_reports_what_is_under_way_at_regular_times(agent: Agent, clock: Clock) -> None:
    agent.ask(request(1))
    agent.upstreams.reachable = False
    await clock.advance(limits.REPORT_SECONDS)
    assert agent.heard(Report) == [Report(upstream_reachable=False, upstream_milliseconds=3, requests=1)]
    await clock.advance(limits.REPORT_SECONDS)
    assert len(agent.heard(Report)) == 1


async def test_a_report_tells_what_is_known_of_the_cluster(agent: Agent, clock: Clock) -> None:
    vitals, cpu = agent.vitals, Capacity("cpu", 4000, 3000, 2000)
    vitals.version, vitals.nodes, vitals.resources = "v1.33.1", 2, (cpu,)
    await clock.advance(limits.REPORT_SECONDS)
    (report,) = agent.heard(Report)
    assert (report.upstream_version, report.nodes, report.resources) == ("v1.33.1", 2, (cpu,))


async def test_no_report_is_made_for_a_closed_session(agent: Agent, clock: Clock) -> None:
    agent.stream.lose()
    await clock.advance(10 * limits.REPORT_SECONDS)
    assert agent.stream.take() == b""


async def test_draining_is_told_and_new_requests_are_refused(agent: Agent) -> None:
    agent.ask(request(1))
    agent.link.drain("bye")
    agent.ask(request(2))
    assert agent.heard(Drain) == [Drain("bye")]
    assert agent.link.in_flight == 1


async def test_before_the_stubs_hello_draining_says_nothing(clock: Clock) -> None:
    agent = Agent()
    agent.stream.open(agent.link.runner)
    agent.link.drain("bye")
    agent.say()
    assert agent.heard(Drain) == []
    assert not agent.link.runner.closed


async def test_it_is_idle_while_nothing_is_under_way(agent: Agent) -> None:
    assert agent.link.idle.is_set()
    for number in (1, 2):
        agent.ask(request(number))
    assert not agent.link.idle.is_set()
    agent.cancel(1)
    assert not agent.link.idle.is_set()
    agent.cancel(2)
    assert agent.link.idle.is_set()


# Ends --------------------------------------------------------------------------------------------


async def test_when_the_session_breaks_what_has_a_channel_goes_on(agent: Agent) -> None:
    channel = agent.channels.add()
    agent.ask(request(1))
    running = agent.upstreams.give()
    running.answer(CHUNKED)
    agent.ask(request(2))
    unanswered = agent.upstreams.give()
    agent.stream.lose(ConnectionResetError("reset"))
    assert agent.channels.closed == [("the connection broke: reset", False)]
    assert unanswered.stream.aborted
    running.answer(b"3\r\none\r\n0\r\n\r\n")
    assert channel.heard()[1:] == [b"one", "end"]
    assert agent.link.idle.is_set()


async def test_when_the_stub_is_dead_everything_ends(agent: Agent, clock: Clock) -> None:
    channel = agent.channels.add()
    agent.ask(request(1))
    running = agent.upstreams.give()
    running.answer(CHUNKED)
    await clock.advance(limits.PING_SECONDS)
    await clock.advance(limits.PONG_SECONDS)
    assert agent.channels.closed == [("the peer stopped answering", True)]
    assert running.stream.aborted
    assert channel.stream.closing
    assert agent.link.idle.is_set()


async def test_a_stub_that_breaks_the_protocol_hears_so(agent: Agent) -> None:
    agent.stream.receive(b"this is not HTTP/2, whatever else it is....")
    await settle()
    assert agent.link.closed.is_set()
    assert agent.channels.closed[0][1]


async def test_stopping_ends_everything_at_once(agent: Agent) -> None:
    agent.ask(request(1))
    apiserver = agent.upstreams.give()
    agent.link.stop("this agent shut down")
    assert apiserver.stream.aborted
    assert agent.stream.closed
    assert agent.link.closed.is_set()
    assert agent.channels.closed[0] == ("this agent shut down", True)
    assert agent.heard(Reject) == []
