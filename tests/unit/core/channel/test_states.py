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

S, I = ChannelState, ChannelInput
LARGE, SMALL = head(), head(0)
DONE = encode_frame(FrameType.DONE)
STUB_HELLO = StubHello("stub-1").encode()

PAIRS = [(state, what) for state in ChannelState for what in ChannelInput]
# Both ends of a response are one frame; which of them it is follows from the HEAD in front of it.
HEADED = {I.END_SMALL: SMALL, I.END_LARGE: LARGE}


def stub_in(state: ChannelState, what: ChannelInput) -> StubChannel:
    """A stub's channel in `state`, reached over the wire."""
    begun = HEADED.get(what, LARGE).encode()
    path = {
        S.GREETING: b"",
        S.IDLE: HELLO,
        S.RESPONDING: HELLO + begun,
        S.ENDED: HELLO + LARGE.encode() + END,
        S.RAW: HELLO + head(status=101).encode(),
        S.CLOSED: HELLO + LARGE.encode() + ABORT,
    }[state]
    channel = StubChannel()
    channel.receive(memoryview(path))
    assert channel.state is state
    return channel


def agent_in(state: ChannelState, what: ChannelInput) -> AgentChannel:
    """An agent's channel in `state`, reached over the wire."""
    channel = AgentChannel()
    channel.receive(STUB_HELLO)
    if state is not S.GREETING:
        channel.send_hello(AgentHello())
    if state in (S.RESPONDING, S.ENDED, S.CLOSED):
        channel.send_head(LARGE if state is S.ENDED else HEADED.get(what, LARGE))
    if state is S.ENDED:
        channel.send_end()
    elif state is S.RAW:
        channel.send_head(head(status=101))
    elif state is S.CLOSED:
        channel.send_abort()
    assert channel.state is state
    return channel


def received(frame: bytes) -> Callable[[StubChannel], object]:
    return lambda channel: channel.receive(memoryview(frame))


STUB: dict[ChannelInput, Callable[[StubChannel], object]] = {
    I.HELLO: received(HELLO),
    I.HEAD: received(LARGE.encode()),
    I.HEAD_101: received(head(status=101).encode()),
    I.DATA: received(data(b"x")),
    I.END_SMALL: received(END),
    I.END_LARGE: received(END),
    I.ABORT: received(ABORT),
    I.REJECT: received(Reject("why").encode()),
    I.DONE: StubChannel.send_done,
    I.CLOSE: StubChannel.close,
}
AGENT: dict[ChannelInput, Callable[[AgentChannel], object]] = {
    I.HELLO: lambda channel: channel.send_hello(AgentHello()),
    I.HEAD: lambda channel: channel.send_head(LARGE),
    I.HEAD_101: lambda channel: channel.send_head(head(status=101)),
    I.END_SMALL: AgentChannel.send_end,
    I.END_LARGE: AgentChannel.send_end,
    I.ABORT: AgentChannel.send_abort,
    I.DONE: lambda channel: channel.receive(DONE),
    I.REJECT: lambda channel: channel.receive(Reject("why").encode()),
    I.CLOSE: AgentChannel.close,
}


@pytest.mark.parametrize(("state", "what"), PAIRS)
def test_the_stub_follows_the_table(state: ChannelState, what: ChannelInput) -> None:
    channel = stub_in(state, what)
    after = TRANSITIONS.get((state, what))
    ours = what in (I.DONE, I.CLOSE)
    if state is S.RAW and not ours:
        assert STUB[what](channel) != [], "bytes of a pipe are passed on, whatever they look like"
        assert channel.state is S.RAW
    elif after is None:
        with pytest.raises(LocalMisuse if ours else PeerViolation, match=f"in state {state.name}"):
            STUB[what](channel)
    elif what is I.REJECT:
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
    theirs = what in (I.DONE, I.REJECT)
    if after is None:
        with pytest.raises(PeerViolation if theirs and state is not S.RAW else LocalMisuse):
            AGENT[what](channel)
        assert channel.state is state
    elif what is I.REJECT:
        with pytest.raises(PeerViolation, match="the stub rejects the channel: why"):
            AGENT[what](channel)
        assert channel.state is after
    else:
        AGENT[what](channel)
        assert channel.state is after


@pytest.mark.parametrize("state", [state for state in ChannelState if state is not S.RAW])
def test_unknown_frames_are_skipped_in_every_state_with_frames(state: ChannelState) -> None:
    stub, agent = stub_in(state, I.DATA), agent_in(state, I.DATA)
    assert stub.receive(memoryview(UNKNOWN)) == []
    assert agent.receive(UNKNOWN) is False
    assert (stub.state, agent.state) == (state, state)


def test_every_state_can_close_and_nothing_leaves_closed() -> None:
    assert all(TRANSITIONS[state, I.CLOSE] is S.CLOSED for state in ChannelState)
    assert {after for (state, _), after in TRANSITIONS.items() if state is S.CLOSED} == {S.CLOSED}


def test_a_frame_on_a_raw_channel_is_bytes_of_the_pipe() -> None:
    events = stub_in(S.RAW, I.DATA).receive(memoryview(END))
    assert events == [RawReceived(memoryview(END))]
