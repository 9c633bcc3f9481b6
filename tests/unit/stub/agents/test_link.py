"""One agent's session, as the stub sees it."""

import pytest

from stub.agents.link import LANE_BACKLOG_BYTES, AgentLink
from stub.agents.registry import Registry
from tests.unit.fakes import Clock, FakeStream, settle
from tests.unit.stub.agents.asking import GET, Asking, ask
from tests.unit.stub.parts import BLUE, HELLO, FarAgent
from tunnel.core import limits
from tunnel.core.errors import PeerViolation, TooManyRequests
from tunnel.core.identifiers import RequestId
from tunnel.core.session.agent_side import AgentSession
from tunnel.core.session.events import BodyBroken, BodyEnded, BodyReceived
from tunnel.core.wire.control import Active, AgentHello, Drain, Reject, Report, StubHello
from tunnel.core.wire.exchange import Cancel, Refused, Request


@pytest.fixture
def registry(clock: Clock) -> Registry:
    return Registry()


@pytest.fixture
async def agent(registry: Registry) -> FarAgent:
    return FarAgent(registry)


async def test_a_session_has_a_token_of_its_own_and_names_the_agents_cluster(registry: Registry) -> None:
    tokens = set()
    for _ in range(2):
        stream, core = FakeStream(), AgentSession(0.0)
        stream.open(AgentLink(registry, BLUE, "f", HELLO, "192.0.2.9").runner)
        (hello,) = core.receive(stream.take(), 0.0)
        assert isinstance(hello, StubHello)
        assert hello.cluster == "blue"
        assert len(hello.token) >= 32
        tokens.add(hello.token)
    assert len(tokens) == 2


async def test_it_can_be_asked_only_behind_its_hello(registry: Registry) -> None:
    link = AgentLink(registry, BLUE, "f", HELLO, "192.0.2.9")
    FakeStream().open(link.runner)
    assert not link.ready
    assert FarAgent(registry).link.ready


async def test_an_agent_without_a_version_in_common_is_rejected(registry: Registry) -> None:
    link, stream, core = AgentLink(registry, BLUE, "f", HELLO, "a"), FakeStream(), AgentSession(0.0)
    stream.open(link.runner)
    core.receive(stream.take(), 0.0)
    core.send_hello(AgentHello(versions=(77,)))
    stream.receive(core.output())
    (reject,) = core.receive(stream.take(), 0.0)
    assert isinstance(reject, Reject)
    assert "no common protocol version" in reject.reason
    assert list(registry.links) == []


async def test_what_is_asked_arrives_with_its_epoch_caller_and_body(agent: FarAgent) -> None:
    number = ask(agent.link, Asking(), body=b"{}")
    (request,) = agent.asked()
    assert request == Request(number, 3, b"a" * 16, GET, b"user\0alice", b"{}", 2)


async def test_numbers_are_counted_up_and_never_used_again(agent: FarAgent) -> None:
    numbers = [ask(agent.link, Asking()) for _ in range(3)]
    agent.link.cancel(numbers[2])
    assert [*numbers, ask(agent.link, Asking())] == [1, 2, 3, 4]


async def test_in_flight_counts_what_is_not_answered(agent: FarAgent) -> None:
    numbers = [ask(agent.link, Asking()) for _ in range(3)]
    agent.link.take(numbers[0])
    agent.link.cancel(numbers[1])
    assert agent.link.in_flight == 1


async def test_an_answer_is_taken_once(agent: FarAgent) -> None:
    asker = Asking()
    number = ask(agent.link, asker)
    assert agent.link.take(number) is asker
    with pytest.raises(PeerViolation, match="was not asked"):
        agent.link.take(number)


async def test_an_answer_to_what_was_never_asked_is_a_violation(agent: FarAgent) -> None:
    with pytest.raises(PeerViolation):
        agent.link.take(RequestId(77))


async def test_distrust_ends_the_session_and_all_its_channels(agent: FarAgent) -> None:
    asker = Asking()
    ask(agent.link, asker)
    channel = agent.channel()
    agent.link.distrust("it lies")
    await settle()
    assert agent.heard(Reject) == [Reject("it lies")]
    assert channel.stream.closing
    assert asker.heard == ["lost: it lies"]


async def test_a_cancelled_request_is_cancelled_at_the_agent_and_its_late_answer_expected(
    agent: FarAgent,
) -> None:
    number = ask(agent.link, Asking())
    agent.link.cancel(number)
    assert Cancel(number) in agent.heard()
    assert agent.link.take(number) is None


async def test_a_refusal_and_then_the_answer_it_could_not_know_of_is_no_violation(agent: FarAgent) -> None:
    number = ask(agent.link, asker := Asking())
    agent.link.session_event(Refused(number, retryable=False, code=502, message="the channel broke"))
    assert asker.heard
    assert agent.link.take(number) is None


async def test_cancelling_what_is_answered_says_nothing(agent: FarAgent) -> None:
    number = ask(agent.link, Asking())
    agent.link.take(number)
    agent.link.cancel(number)
    assert agent.heard(Cancel) == []


async def test_only_so_many_late_answers_are_expected(agent: FarAgent) -> None:
    for _ in range(4097):
        agent.link.cancel(ask(agent.link, Asking()))
    assert agent.link.take(RequestId(2)) is None
    with pytest.raises(PeerViolation):
        agent.link.take(RequestId(1))


async def test_a_refusal_reaches_who_asked_and_only_once(agent: FarAgent) -> None:
    asker = Asking()
    number = ask(agent.link, asker)
    agent.refuse(number, 503, "draining")
    agent.refuse(number, 503, "again")
    assert asker.heard == [Refused(number, True, 503, "draining")]


async def test_the_refusal_of_a_cancelled_request_is_nobodys(agent: FarAgent) -> None:
    asker = Asking()
    number = ask(agent.link, asker)
    agent.link.cancel(number)
    agent.refuse(number)
    assert asker.heard == []
    assert not agent.link.runner.closed
    assert agent.link.take(number) is None  # its answer may still be under way on a channel that broke


async def test_when_the_session_ends_everybody_who_waits_hears_it_and_whether_anybody_can_have_seen_it(
    agent: FarAgent, registry: Registry
) -> None:
    written, unwritten = Asking(), Asking()
    ask(agent.link, written)
    assert len(agent.asked()) == 1
    ask(agent.link, unwritten)
    agent.stream.lose(ConnectionResetError("reset"))
    assert written.heard == ["lost: the connection broke: reset"]
    assert unwritten.heard == ["not written: the connection broke: reset"]
    assert registry.pick(BLUE) is None


async def test_a_broken_session_leaves_alone_what_its_channels_carry(agent: FarAgent) -> None:
    busy, idle, asker = agent.channel(), agent.channel(), Asking()
    busy.head(ask(agent.link, asker))
    agent.stream.lose(ConnectionResetError("reset"))
    assert not busy.stream.closing
    assert idle.stream.closing
    busy.data(b"event")
    assert asker.heard[-1] == b"event"


async def test_a_session_that_broke_the_protocol_takes_its_pipes_with_it(agent: FarAgent) -> None:
    channel, asker = agent.channel(), Asking()
    channel.head(ask(agent.link, asker), 101)
    channel.near.become_pipe()
    agent.link.runner.reject("no manners")
    assert asker.heard[-1] == "pipe: no manners"


async def test_an_agent_that_stops_answering_loses_its_channels(agent: FarAgent, clock: Clock) -> None:
    channel = agent.channel()
    await clock.advance(limits.PING_SECONDS)
    await clock.advance(limits.PONG_SECONDS)
    assert agent.stream.aborted
    assert channel.stream.closing


async def test_a_rejecting_agent_is_gone(agent: FarAgent, registry: Registry) -> None:
    agent.core.send_reject("no thanks")
    agent.say()
    assert agent.link.runner.closed
    assert list(registry.links) == []


async def test_reports_are_kept(agent: FarAgent) -> None:
    report = Report(upstream_milliseconds=7, requests=3, pipes=1)
    agent.core.send_report(report)
    agent.say()
    assert agent.link.report == report


async def test_drain_and_the_lease_are_told(agent: FarAgent) -> None:
    agent.link.activate(Active("uid", 4))
    agent.link.drain("bye")
    assert agent.heard() == [Active("uid", 4), Drain("bye")]


async def test_an_agent_that_does_not_read_gets_no_more_requests(registry: Registry) -> None:
    agent = FarAgent(registry)
    body = bytes(limits.INLINE_BODY_BYTES)
    for _ in range((limits.LANE_WINDOW_BYTES + LANE_BACKLOG_BYTES) // len(body)):
        ask(agent.link, Asking(), body=body)
    agent.link.runner.flush()
    assert not agent.link.ready


# Bodies ------------------------------------------------------------------------------------------


async def test_a_streamed_body_arrives_behind_its_request(agent: FarAgent) -> None:
    number = ask(agent.link, Asking(), stream=True)
    body = agent.link.open_body(number, Asking())
    agent.asked()
    agent.say()
    body.write(b"some")
    body.end()
    assert agent.heard() == [BodyReceived(number, b"some"), BodyEnded(number)]


async def test_a_body_that_the_agent_refuses_is_told_to_its_owner(agent: FarAgent) -> None:
    asker = Asking()
    number = ask(agent.link, asker, stream=True)
    body = agent.link.open_body(number, asker)
    agent.asked()
    agent.core.refuse_body(number)
    agent.say()
    assert asker.heard == ["refused body"]
    body.write(b"late")
    assert agent.heard(BodyReceived) == []


async def test_a_body_whose_answer_has_begun_is_stopped_when_the_session_ends(agent: FarAgent) -> None:
    asker = Asking()
    number = ask(agent.link, asker, stream=True)
    agent.link.open_body(number, asker)
    agent.link.take(number)
    agent.stream.lose()
    assert asker.heard == ["refused body"]


async def test_a_finished_body_is_forgotten(agent: FarAgent) -> None:
    asker = Asking()
    number = ask(agent.link, asker, stream=True)
    agent.link.open_body(number, asker).break_off()
    agent.link.body_finished(number)
    assert BodyBroken(number) in agent.heard()
    agent.link.take(number)
    agent.stream.lose()
    assert asker.heard == []


@pytest.fixture
def two_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions that begin allow two streams, the lane's included."""
    monkeypatch.setattr(limits, "BODY_STREAMS", 2)


@pytest.mark.usefixtures("two_streams")
async def test_a_body_without_a_stream_left_is_refused_before_anything_is_sent(agent: FarAgent) -> None:
    ask(agent.link, Asking(), stream=True)
    with pytest.raises(TooManyRequests):
        ask(agent.link, Asking(), stream=True)
    assert len(agent.asked()) == 1
    assert agent.link.in_flight == 1


async def test_a_session_that_says_no_hello_in_time_is_rejected(registry: Registry, clock: Clock) -> None:
    link, stream = AgentLink(registry, BLUE, "f", HELLO, "192.0.2.9"), FakeStream()
    stream.open(link.runner)
    await clock.advance(limits.HELLO_SECONDS)
    assert link.runner.closed
    assert stream.closed


async def test_a_session_that_said_hello_has_no_time_limit(agent: FarAgent, clock: Clock) -> None:
    await clock.advance(limits.HELLO_SECONDS)
    assert agent.link.ready
