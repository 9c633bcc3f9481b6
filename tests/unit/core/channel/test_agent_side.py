"""A response channel at the agent: it greets, writes responses, and waits where it must."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.core.channel.frames import UNKNOWN, head
from tests.unit.core.properties import cuts, pieces
from tunnel.core import limits
from tunnel.core.channel.agent_side import AgentChannel, data_header
from tunnel.core.channel.states import ChannelState
from tunnel.core.channel.stub_side import StubChannel
from tunnel.core.errors import LocalMisuse, PeerViolation
from tunnel.core.wire.control import AgentHello, StubHello
from tunnel.core.wire.exchange import BODY_UNKNOWN
from tunnel.core.wire.framing import FRAME_HEADER, FrameType, encode_frame

STUB_HELLO = StubHello("stub-1", token="").encode()
DONE = encode_frame(FrameType.DONE)


def idle() -> AgentChannel:
    channel = AgentChannel()
    assert channel.receive(STUB_HELLO)
    channel.send_hello(AgentHello(token="secret"))
    return channel


@given(cuts)
def test_the_stubs_frames_say_the_same_in_any_pieces(sizes: list[int]) -> None:
    channel = AgentChannel()
    changes = [channel.receive(piece) for piece in pieces(STUB_HELLO + UNKNOWN, sizes)]
    assert channel.hello == StubHello("stub-1")
    assert changes.count(True) == 1


@given(st.binary(max_size=100), st.booleans(), cuts)
def test_garbage_yields_only_a_violation(garbage: bytes, greeted: bool, sizes: list[int]) -> None:
    channel = idle() if greeted else AgentChannel()
    try:
        for piece in pieces(garbage, sizes):
            channel.receive(piece)
    except PeerViolation:
        return


def test_a_hello_before_the_stubs_is_our_own_mistake() -> None:
    with pytest.raises(LocalMisuse, match="HELLO before the stub's"):
        AgentChannel().send_hello(AgentHello())


def test_a_second_hello_is_refused() -> None:
    with pytest.raises(PeerViolation, match="a second HELLO"):
        idle().receive(STUB_HELLO)


def test_a_frame_that_announces_too_much_is_refused_on_its_header_alone() -> None:
    with pytest.raises(PeerViolation, match="announces"):
        idle().receive(FRAME_HEADER.pack(FrameType.DONE, limits.GREETING_BYTES + 1))


def test_a_done_that_was_not_awaited_is_refused() -> None:
    with pytest.raises(PeerViolation, match="DONE on a response channel in state IDLE"):
        idle().receive(DONE)


def test_the_agent_reads_no_frames_from_a_raw_channel() -> None:
    channel = idle()
    channel.send_head(head(status=101))
    with pytest.raises(LocalMisuse, match="raw"):
        channel.receive(b"bytes of the pipe")


@pytest.mark.parametrize("length", [0, 5, BODY_UNKNOWN, limits.SMALL_RESPONSE_BYTES + 1])
def test_both_ends_agree_on_who_waits_for_done(length: int) -> None:
    agent, stub = idle(), StubChannel()
    size = max(length, 1 if length else 0)
    body = data_header(size) + bytes(size)
    stub.receive(memoryview(AgentHello().encode() + agent.send_head(head(length)) + body))
    stub.receive(memoryview(agent.send_end()))
    assert agent.state is stub.state
    if stub.awaits_done:
        assert agent.receive(stub.send_done())
    assert (agent.state, stub.state) == (ChannelState.IDLE, ChannelState.IDLE)


def test_an_aborted_response_closes_both_ends() -> None:
    agent, stub = idle(), StubChannel()
    stub.receive(memoryview(AgentHello().encode() + agent.send_head(head(9)) + agent.send_abort()))
    assert (agent.state, stub.state) == (ChannelState.CLOSED, ChannelState.CLOSED)
