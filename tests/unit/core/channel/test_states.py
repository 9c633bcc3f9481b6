"""The table of a response channel, walked with every input in every state, on both sides."""

from collections.abc import Callable

import pytest

from tests.unit.core.channel.frames import ABORT, END, HELLO, UNKNOWN, data, head
from tunnel.core.channel.agent_side import AgentChannel
from tunnel.core.channel.states import TRANSITIONS, ChannelInput, ChannelState
from tunnel.core.channel.stub_side import RawReceived, StubChannel
from tunnel.core.errors import LocalMisuse, PeerViolation
from tunnel.core.wire.control import AgentHello, Reject, StubHello
from tunnel.core.wire.framing import FrameType, encode_frame

LARGE, SMALL = head(), head(0)
DONE = encode_frame(FrameType.DONE)
STUB_HELLO = StubHello("stub-1").encode()

PAIRS = [(state, what) for state in ChannelState for what in ChannelInput]
# Both ends of a response are one frame; which of them it is follows from the HEAD in front of it.
HEADED = {ChannelInput.END_SMALL: SMALL, ChannelInput.END_LARGE: LARGE}


def stub_in(state: ChannelState, what: ChannelInput) -> StubChannel:
    """A stub's channel in `state`, reached over the wire."""
    begun = HEADED.get(what, LARGE).encode()
    path = {
        ChannelState.GREETING: b"",
        ChannelState.IDLE: HELLO,
        ChannelState.RESPONDING: HELLO + begun,
        ChannelState.ENDED: HELLO + LARGE.encode() + END,
        ChannelState.RAW: HELLO + head(status=101).encode(),
        ChannelState.CLOSED: HELLO + LARGE.encode() + ABORT,
    }[state]
    channel = StubChannel()
    channel.receive(memoryview(path))
    assert channel.state is state
    return channel


def agent_in(state: ChannelState, what: ChannelInput) -> AgentChannel:
    """An agent's channel in `state`, reached over the wire."""
    channel = AgentChannel()
    channel.receive(STUB_HELLO)
    if state is not ChannelState.GREETING:
        channel.send_hello(AgentHello())
    if state in (ChannelState.RESPONDING, ChannelState.ENDED, ChannelState.CLOSED):
        channel.send_head(LARGE if state is ChannelState.ENDED else HEADED.get(what, LARGE))
    if state is ChannelState.ENDED:
        channel.send_end()
    elif state is ChannelState.RAW:
        channel.send_head(head(status=101))
    elif state is ChannelState.CLOSED:
        channel.send_abort()
    assert channel.state is state
    return channel


def received(frame: bytes) -> Callable[[StubChannel], object]:
    return lambda channel: channel.receive(memoryview(frame))


STUB: dict[ChannelInput, Callable[[StubChannel], object]] = {
    ChannelInput.HELLO: received(HELLO),
    ChannelInput.HEAD: received(LARGE.encode()),
    ChannelInput.HEAD_101: received(head(status=101).encode()),
    ChannelInput.DATA: received(data(b"x")),
    ChannelInput.END_SMALL: received(END),
    ChannelInput.END_LARGE: received(END),
    ChannelInput.ABORT: received(ABORT),
    ChannelInput.REJECT: received(Reject("why").encode()),
    ChannelInput.DONE: StubChannel.send_done,
    ChannelInput.CLOSE: StubChannel.close,
}
AGENT: dict[ChannelInput, Callable[[AgentChannel], object]] = {
    ChannelInput.HELLO: lambda channel: channel.send_hello(AgentHello()),
    ChannelInput.HEAD: lambda channel: channel.send_head(LARGE),
    ChannelInput.HEAD_101: lambda channel: channel.send_head(head(status=101)),
    ChannelInput.END_SMALL: AgentChannel.send_end,
    ChannelInput.END_LARGE: AgentChannel.send_end,
    ChannelInput.ABORT: AgentChannel.send_abort,
    ChannelInput.DONE: lambda channel: channel.receive(DONE),
    ChannelInput.REJECT: lambda channel: channel.receive(Reject("why").encode()),
    ChannelInput.CLOSE: AgentChannel.close,
}


@pytest.mark.parametrize(("state", "what"), PAIRS)
def test_the_stub_follows_the_table(state: ChannelState, what: ChannelInput) -> None:
    channel = stub_in(state, what)
    after = TRANSITIONS.get((state, what))
    ours = what in (ChannelInput.DONE, ChannelInput.CLOSE)
    if state is ChannelState.RAW and not ours:
        assert STUB[what](channel) != [], "bytes of a pipe are passed on, whatever they look like"
        assert channel.state is ChannelState.RAW
    elif after is None:
        with pytest.raises(LocalMisuse if ours else PeerViolation, match=f"in state {state.name}"):
            STUB[what](channel)
    elif what is ChannelInput.REJECT:
        with pytest.raises(PeerViolation, match="the agent rejects the channel: why"):
            STUB[what](channel)
        assert channel.state is after
    else:
        STUB[what](channel)
        assert channel.state is after


@pytest.mark.parametrize(("state", "what"), [pair for pair in PAIRS if pair[1] in AGENT])
def test_the_agent_follows_the_table(state: ChannelState, what: ChannelInput) -> None:
    channel = agent_in(state, what)
    after = TRANSITIONS.get((state, what))
    theirs = what in (ChannelInput.DONE, ChannelInput.REJECT)
    if after is None:
        with pytest.raises(PeerViolation if theirs and state is not ChannelState.RAW else LocalMisuse):
            AGENT[what](channel)
        assert channel.state is state
    elif what is ChannelInput.REJECT:
        with pytest.raises(PeerViolation, match="the stub rejects the channel: why"):
            AGENT[what](channel)
        assert channel.state is after
    else:
        AGENT[what](channel)
        assert channel.state is after


@pytest.mark.parametrize("state", [state for state in ChannelState if state is not ChannelState.RAW])
def test_unknown_frames_are_skipped_in_every_state_with_frames(state: ChannelState) -> None:
    stub, agent = stub_in(state, ChannelInput.DATA), agent_in(state, ChannelInput.DATA)
    assert stub.receive(memoryview(UNKNOWN)) == []
    assert agent.receive(UNKNOWN) is False
    assert (stub.state, agent.state) == (state, state)


def test_every_state_can_close_and_nothing_leaves_closed() -> None:
    assert all(TRANSITIONS[state, ChannelInput.CLOSE] is ChannelState.CLOSED for state in ChannelState)
    assert {after for (state, _), after in TRANSITIONS.items() if state is ChannelState.CLOSED} == {
        ChannelState.CLOSED
    }


def test_a_frame_on_a_raw_channel_is_bytes_of_the_pipe() -> None:
    events = stub_in(ChannelState.RAW, ChannelInput.DATA).receive(memoryview(END))
    assert events == [RawReceived(memoryview(END))]
