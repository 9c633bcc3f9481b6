"""A response channel, from its HELLO to its end."""

import pytest

from stub.agents.channel import ResponseChannel
from stub.agents.quotas import AgentLimits
from stub.agents.registry import Registry
from tests.unit.fakes import Clock, FakeStream, settle
from tests.unit.stub.agents.asking import Asking, ask
from tests.unit.stub.parts import HELLO, FarAgent, FarChannel, rejection
from tunnel.aio.sockets import TUNNEL_PATIENT_LEG
from tunnel.core import limits
from tunnel.core.http.message import ResponseHead
from tunnel.core.wire.exchange import BODY_UNKNOWN, Cancel, Head
from tunnel.core.wire.framing import FrameType, encode_frame

SMALL = limits.SMALL_RESPONSE_BYTES


@pytest.fixture
def registry(clock: Clock) -> Registry:
    return Registry()


@pytest.fixture
async def agent(registry: Registry) -> FarAgent:
    return FarAgent(registry)


async def test_the_stub_speaks_first_and_shows_no_token(registry: Registry) -> None:
    stream = FakeStream()
    stream.open(ResponseChannel(registry, HELLO, "f"))
    assert stream.take() == HELLO.encode()
    stream.lose()


async def test_a_channel_belongs_to_the_session_whose_token_it_presents(agent: FarAgent) -> None:
    channel = agent.channel()
    assert agent.link.channels == {channel.near}
    assert channel.free


async def test_a_token_of_no_session_is_rejected(registry: Registry) -> None:
    channel = FarChannel(registry, "invented")
    assert "belongs to no session" in rejection(channel.stream)
    assert channel.stream.closed


async def test_a_token_shown_with_another_certificate_is_rejected(agent: FarAgent) -> None:
    channel = FarChannel(agent.registry, agent.link.token, fingerprint="stolen")
    assert "belongs to no session" in rejection(channel.stream)
    assert agent.link.channels == set()
    assert not agent.link.runner.closed


async def test_a_channel_that_says_nothing_is_rejected_in_time(registry: Registry, clock: Clock) -> None:
    stream = FakeStream()
    stream.open(ResponseChannel(registry, HELLO, "f"))
    await clock.advance(limits.HELLO_SECONDS)
    assert stream.closed


async def test_a_channel_that_said_hello_has_no_time_limit(agent: FarAgent, clock: Clock) -> None:
    channel = agent.channel()
    await clock.advance(limits.HELLO_SECONDS + 1)
    assert not channel.stream.closing


async def test_a_response_reaches_who_asked(agent: FarAgent) -> None:
    asker, channel = Asking(), agent.channel()
    number = ask(agent.link, asker)
    channel.answer(number, b"body")
    head, *rest = asker.heard
    assert isinstance(head, Head)
    assert rest == [b"body", "ended"]
    assert channel.free


async def test_a_response_to_what_was_never_asked_ends_channel_and_session(agent: FarAgent) -> None:
    channel, other = agent.channel(), agent.channel()
    channel.head(77)
    await settle()
    assert channel.stream.closed
    assert other.stream.closing
    assert agent.link.runner.closed


async def test_a_second_response_to_one_request_ends_the_session(agent: FarAgent) -> None:
    channel = agent.channel()
    number = ask(agent.link, Asking())
    channel.answer(number)
    channel.answer(number)
    await settle()
    assert agent.link.runner.closed


async def test_a_response_that_the_channel_cuts_is_cut(agent: FarAgent) -> None:
    asker, channel = Asking(), agent.channel()
    channel.head(ask(agent.link, asker))
    channel.stream.lose(ConnectionResetError("reset"))
    assert asker.heard[1:] == ["cut: the response channel broke: reset"]
    assert agent.link.channels == set()


async def test_an_end_of_the_connection_is_no_end_of_a_response(agent: FarAgent) -> None:
    asker, channel = Asking(), agent.channel()
    channel.head(ask(agent.link, asker))
    channel.stream.receive_end()
    assert asker.heard[1:] == ["cut: the agent closed the response channel"]


async def test_an_aborted_response_is_cut(agent: FarAgent) -> None:
    asker, channel = Asking(), agent.channel()
    channel.head(ask(agent.link, asker))
    channel.stream.receive(channel.core.send_abort())
    assert asker.heard[1:] == ["cut: the agent broke the response off"]
    assert channel.stream.closed


async def test_a_large_response_is_confirmed_and_a_small_one_is_not(agent: FarAgent) -> None:
    channel = agent.channel()
    channel.hear()
    channel.answer(ask(agent.link, Asking()), bytes(SMALL))
    assert channel.stream.take() == b""
    channel.answer(ask(agent.link, Asking()), bytes(SMALL + 1))
    assert channel.stream.take() == encode_frame(FrameType.DONE)


async def test_a_pause_for_one_client_does_not_outlive_its_response(agent: FarAgent) -> None:
    channel = agent.channel()
    channel.head(ask(agent.link, Asking()))
    channel.stream.pause_reading()
    channel.near.stream_received(memoryview(channel.core.send_end()))
    assert channel.stream.reading


# Answers that nobody wants -----------------------------------------------------------------------


async def test_a_small_answer_to_a_cancelled_request_is_skipped_and_the_next_one_is_not(
    agent: FarAgent,
) -> None:
    """The agent may have begun the next response before it hears of the first one's cancellation."""
    channel, asker = agent.channel(), Asking()
    cancelled, wanted = ask(agent.link, Asking()), ask(agent.link, asker)
    agent.link.cancel(cancelled)
    channel.answer(cancelled, b"late")
    channel.answer(wanted, b"body")
    assert asker.heard[1:] == [b"body", "ended"]
    assert channel.free


@pytest.mark.parametrize("length", [BODY_UNKNOWN, SMALL + 1])
async def test_a_large_answer_to_a_cancelled_request_closes_only_its_channel(
    agent: FarAgent, length: int
) -> None:
    channel, other = agent.channel(), agent.channel()
    number = ask(agent.link, Asking())
    agent.link.cancel(number)
    channel.head(number, length=length)
    await settle()
    assert channel.stream.closed
    assert not other.stream.closing
    assert not agent.link.runner.closed


async def test_abandoning_a_small_response_cancels_it_and_spares_the_next_on_the_channel(
    agent: FarAgent,
) -> None:
    channel, asker, next_one = agent.channel(), Asking(), Asking()
    first, second = ask(agent.link, asker), ask(agent.link, next_one)
    channel.head(first, length=4)
    channel.near.abandon()
    assert Cancel(first) in agent.heard()
    channel.data(b"late")
    channel.end()
    channel.answer(second, b"body")
    assert len(asker.heard) == 1
    assert next_one.heard[1:] == [b"body", "ended"]


async def test_abandoning_a_large_response_closes_the_channel(agent: FarAgent) -> None:
    channel, asker = agent.channel(), Asking()
    channel.head(ask(agent.link, asker))
    channel.near.abandon()
    assert channel.stream.closed
    assert len(asker.heard) == 1


async def test_without_its_session_an_abandoned_channel_closes_whatever_it_carried(agent: FarAgent) -> None:
    channel = agent.channel()
    channel.head(ask(agent.link, Asking()), length=4)
    agent.stream.lose()
    channel.near.abandon()
    assert channel.stream.closed


# Turns -------------------------------------------------------------------------------------------

TURN = limits.FRAMES_PER_TURN


def one_byte_frames(count: int) -> bytes:
    return encode_frame(FrameType.DATA, b"x") * count


def answering(agent: FarAgent, frames: bytes) -> tuple[FarChannel, Asking]:
    """A channel with a response that has begun, and `frames` of it in one read; and who asked."""
    channel, asker = agent.channel(), Asking()
    channel.head(ask(agent.link, asker))
    channel.stream.receive(frames)
    return channel, asker


async def test_a_read_full_of_the_smallest_frames_leaves_others_their_turns_and_loses_nothing(
    agent: FarAgent,
) -> None:
    channel, asker = answering(agent, one_byte_frames(3 * TURN))
    assert len(asker.heard) == 1 + TURN
    assert not channel.stream.reading
    await settle()
    assert asker.heard[1:] == [b"x"] * 3 * TURN
    assert channel.stream.reading


@pytest.mark.parametrize("kind", [0x77, FrameType.DATA], ids=["of a later version", "empty"])
async def test_frames_that_say_nothing_take_their_turns_too(agent: FarAgent, kind: int) -> None:
    _, asker = answering(agent, bytes((kind, 0, 0, 0, 0)) * 3 * TURN + one_byte_frames(1))
    assert len(asker.heard) == 1
    await settle()
    assert asker.heard[1:] == [b"x"]


async def test_the_rest_of_a_read_is_no_reason_to_read_for_a_client_that_takes_nothing(
    agent: FarAgent,
) -> None:
    channel, asker = answering(agent, one_byte_frames(2 * TURN))
    channel.near.pause_reading()
    await settle()
    assert not channel.stream.reading
    channel.near.resume_reading()
    assert channel.stream.reading
    assert len(asker.heard) == 1 + 2 * TURN


async def test_a_client_that_takes_more_gets_the_rest_of_a_read_before_what_comes_later(
    agent: FarAgent,
) -> None:
    channel, asker = answering(agent, one_byte_frames(2 * TURN))
    channel.near.pause_reading()
    channel.near.resume_reading()
    assert not channel.stream.reading
    await settle()
    channel.data(b"later")
    assert asker.heard[1 + TURN :] == [b"x"] * TURN + [b"later"]


@pytest.mark.parametrize("broken", [False, True], ids=["ended", "broken"])
async def test_a_channel_that_closes_delivers_what_came_before(agent: FarAgent, broken: bool) -> None:
    channel, asker = answering(agent, one_byte_frames(2 * TURN) + encode_frame(FrameType.END))
    channel.stream.receive_end()
    if broken:
        channel.stream.lose(ConnectionResetError())
    await settle()
    assert asker.heard[1:] == [b"x"] * 2 * TURN + ["ended"]
    assert channel.stream.closed
    assert agent.link.channels == set()


async def test_a_response_that_breaks_behind_its_turn_is_cut_with_the_first_reason(agent: FarAgent) -> None:
    channel, asker = answering(agent, one_byte_frames(2 * TURN))
    channel.stream.receive_end()
    channel.stream.lose()
    await settle()
    assert asker.heard[-1] == "cut: the agent closed the response channel"


async def test_a_channel_closed_with_its_session_forgets_the_rest_of_a_read(agent: FarAgent) -> None:
    channel, asker = answering(agent, one_byte_frames(2 * TURN))
    channel.near.close("over")
    await settle()
    assert asker.heard[1 + TURN :] == ["cut: over"]


async def test_a_101_behind_many_frames_still_takes_all_that_follows_it(agent: FarAgent) -> None:
    channel, asker, piped = agent.channel(), Asking(), Asking()
    first, second = ask(agent.link, asker), ask(agent.link, piped)
    channel.head(first, length=2 * TURN)
    switch = channel.core.send_end() + channel.core.send_head(Head(second, _switching()))
    channel.stream.receive(one_byte_frames(2 * TURN) + switch + b"raw" * 100)
    await settle()
    assert piped.heard[1:] == [b"raw" * 100]
    assert channel.stream.reading


# Limits ------------------------------------------------------------------------------------------


async def test_a_cluster_has_no_more_channels_than_it_may_and_those_that_close_make_room(
    clock: Clock,
) -> None:
    registry = Registry(limits=AgentLimits(channels=3))
    one, other = FarAgent(registry), FarAgent(registry)
    idle, answering, piped = one.channel(), one.channel(), other.channel()
    answering.head(ask(one.link, Asking()))
    asker = Asking()
    piped.head(ask(other.link, asker), 101)
    piped.near.become_pipe()
    assert "3 channels of this cluster are open" in rejection(other.channel().stream)
    other.link.pipe_closed(asker)
    assert other.channel().free
    one.stream.lose()  # its idle channel goes with it, and what answers goes on and counts
    assert idle.stream.closed
    assert one.link.channels == {answering.near}
    assert other.channel().free
    assert "3 channels" in rejection(other.channel().stream)
    assert not other.link.runner.closed


# Pipes -------------------------------------------------------------------------------------------


async def test_what_comes_in_the_same_read_as_a_101_is_the_pipes(agent: FarAgent) -> None:
    channel, asker = agent.channel(), Asking()
    number = ask(agent.link, asker)
    head = channel.core.send_head(Head(number, _switching()))
    channel.stream.receive(head + b"\x80\x03raw")
    assert asker.heard[1:] == [b"\x80\x03raw"]


async def test_a_pipe_no_longer_counts_as_a_channel(agent: FarAgent) -> None:
    channel = agent.channel()
    channel.stream.receive(channel.core.send_head(Head(ask(agent.link, Asking()), _switching())))
    channel.near.become_pipe()
    assert agent.link.channels == set()
    assert channel.stream.options == TUNNEL_PATIENT_LEG, "what a pod leaves unread may wait"


async def test_no_pipe_is_made_of_a_connection_that_is_gone(agent: FarAgent) -> None:
    """Its 101 waited behind many frames, and nobody would ever tell the pipe of its end."""
    channel, asker = agent.channel(), Asking()
    skipped = bytes((0x77, 0, 0, 0, 0)) * 2 * TURN
    channel.stream.receive(skipped + channel.core.send_head(Head(ask(agent.link, asker), _switching())))
    channel.stream.lose(ConnectionResetError("reset"))
    await settle()
    assert asker.heard == ["lost: the response channel broke: reset"]
    assert channel.stream.closed


def _switching() -> ResponseHead:
    return ResponseHead(101, [(b"Connection", b"Upgrade"), (b"Upgrade", b"SPDY/3.1")])
