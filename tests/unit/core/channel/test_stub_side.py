"""A response as the stub reads it: passed on in pieces, held to its announced length, never trusted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.channel_events import in_parts
from tests.unit.core.channel.frames import ABORT, END, HELLO, UNKNOWN, data, head
from tests.unit.core.properties import cuts, pieces
from tunnel.core import limits
from tunnel.core.channel.states import ChannelState
from tunnel.core.channel.stub_side import (
    ChannelEvent,
    ChannelGreeted,
    RawReceived,
    ResponseAborted,
    ResponseData,
    ResponseEnded,
    ResponseReceived,
    ResponseStarted,
    StubChannel,
)
from tunnel.core.errors import PeerViolation
from tunnel.core.wire.control import AgentHello
from tunnel.core.wire.exchange import BODY_UNKNOWN
from tunnel.core.wire.framing import FRAME_HEADER, FrameType

Said = tuple[str, object]


def flat(events: list[ChannelEvent], into: list[Said]) -> None:
    """Add `events`, views copied and neighbouring pieces of one kind joined."""
    for event in in_parts(events):
        name = type(event).__name__
        if isinstance(event, ResponseData | RawReceived):
            piece = bytes(event.data)
            if into and into[-1][0] == name:
                last = into.pop()[1]
                assert isinstance(last, bytes)
                piece = last + piece
            into.append((name, piece))
        else:
            into.append((name, event))


def said(stream: bytes, sizes: list[int]) -> list[Said]:
    channel, found = StubChannel(), list[Said]()
    for piece in pieces(stream, sizes):
        flat(channel.receive(memoryview(piece)), found)
    return found


def greeted(*frames: bytes) -> tuple[StubChannel, list[ChannelEvent]]:
    """A channel behind its HELLO, and what it says to `frames`."""
    channel = StubChannel()
    channel.receive(memoryview(HELLO))
    return channel, list(in_parts(channel.receive(memoryview(b"".join(frames)))))


bodies = st.lists(st.binary(min_size=1, max_size=30), max_size=4)


@st.composite
def small_responses(draw: st.DrawFn) -> bytes:
    body = draw(bodies)
    begun = head(sum(map(len, body)))
    return b"".join([begun.encode(), *map(data, body), draw(st.sampled_from([b"", UNKNOWN])), END])


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Everything an honest agent may write before it has to wait for DONE."""
    small = draw(st.lists(small_responses(), max_size=3))
    large = b"".join([head().encode(), *map(data, draw(bodies))])
    raw = head(status=101).encode() + draw(st.binary(max_size=30))
    return b"".join([HELLO, *small, draw(st.sampled_from([b"", large + END, large + ABORT, raw]))])


@given(small_responses(), st.integers(-1, 300))
def test_a_response_says_the_same_in_one_read_and_in_any_two(response: bytes, at: int) -> None:
    channel, whole = StubChannel(), list[Said]()
    channel.receive(memoryview(HELLO))
    flat(channel.receive(memoryview(response)), whole)
    at %= len(response)
    assert channel.state is ChannelState.IDLE
    assert whole == said(HELLO + response, [len(HELLO), at or len(response), len(response)])[1:]


def test_a_small_response_in_one_read_is_one_event() -> None:
    channel = StubChannel()
    channel.receive(memoryview(HELLO))
    begun = head(3)
    (event,) = channel.receive(memoryview(begun.encode() + data(b"abc") + END))
    assert isinstance(event, ResponseReceived)
    assert (event.head, bytes(event.data)) == (begun, b"abc")
    assert channel.state is ChannelState.IDLE


@pytest.mark.parametrize(
    "frames",
    [
        (head(3).encode(), data(b"abcd"), END),
        (head(4).encode(), data(b"abc"), END),
        (head(0).encode(), data(b"abc"), END),
        (head(3, bodiless=True).encode(), data(b"abc"), END),
    ],
)
def test_a_response_in_one_read_is_held_to_its_length(frames: tuple[bytes, ...]) -> None:
    with pytest.raises(PeerViolation):
        greeted(*frames)


@given(streams(), cuts)
def test_a_stream_says_the_same_whole_byte_by_byte_and_in_any_pieces(stream: bytes, sizes: list[int]) -> None:
    whole = said(stream, [len(stream)])
    assert said(stream, [1]) == whole
    assert said(stream, sizes) == whole


@given(st.binary(max_size=100), cuts)
def test_garbage_yields_only_a_violation(stream: bytes, sizes: list[int]) -> None:
    try:
        said(stream, sizes)
    except PeerViolation:
        return


@given(streams(), st.integers(0, 400), st.binary(min_size=1, max_size=6), cuts)
def test_mutated_responses_yield_events_or_a_violation(
    stream: bytes, place: int, garbage: bytes, sizes: list[int]
) -> None:
    place %= len(stream)
    try:
        said(stream[:place] + garbage + stream[place + len(garbage) :], sizes)
    except PeerViolation:
        return


def test_the_greeting_brings_the_token() -> None:
    [event] = StubChannel().receive(memoryview(HELLO))
    assert event == ChannelGreeted(AgentHello(token="secret"))


def test_data_is_passed_on_before_its_frame_is_whole() -> None:
    channel, _ = greeted(head().encode())
    arrived = memoryview(data(b"0123456789")[:9])
    [event] = channel.receive(arrived)
    assert isinstance(event, ResponseData)
    assert bytes(event.data) == b"0123"
    assert event.data.obj is arrived.obj, "a view of what arrived, not a copy"


def test_the_rest_of_a_frame_of_data_is_passed_on_as_it_comes() -> None:
    channel, _ = greeted(head().encode(), data(b"0123456789")[:9])
    assert channel.receive(memoryview(b"45")) == [ResponseData(memoryview(b"45"))]
    assert channel.receive(memoryview(b"6789" + END)) == [ResponseData(memoryview(b"6789")), ResponseEnded()]


@pytest.mark.parametrize("split", range(1, FRAME_HEADER.size))
def test_a_header_of_data_cut_in_two_is_put_together(split: int) -> None:
    channel, _ = greeted(head().encode(), data(b"abc")[:split])
    assert channel.receive(memoryview(data(b"abc")[split:])) == [ResponseData(memoryview(b"abc"))]


def test_empty_data_says_nothing() -> None:
    assert greeted(head().encode(), data(b""))[1][1:] == []


def test_bytes_behind_a_101_are_raw() -> None:
    channel, events = greeted(head(status=101).encode(), b"\x80\x03\0\1SPDY")
    assert events == [ResponseStarted(head(status=101)), RawReceived(memoryview(b"\x80\x03\0\1SPDY"))]
    assert channel.state is ChannelState.RAW


@pytest.mark.parametrize("length", [3, limits.SMALL_RESPONSE_BYTES])
def test_a_small_response_frees_the_channel_with_its_last_byte(length: int) -> None:
    channel, events = greeted(head(length).encode(), data(bytes(length)), END)
    assert isinstance(events[-1], ResponseEnded)
    assert not channel.awaits_done
    assert channel.state is ChannelState.IDLE


@pytest.mark.parametrize("length", [BODY_UNKNOWN, limits.SMALL_RESPONSE_BYTES + 1])
def test_any_other_response_waits_for_done(length: int) -> None:
    channel, _ = greeted(head(length).encode(), data(bytes(max(1, length))), END)
    assert channel.awaits_done
    assert channel.send_done() == b"\x15\0\0\0\0"
    assert channel.state is ChannelState.IDLE


def test_the_next_response_may_follow_a_small_one_in_the_same_bytes() -> None:
    one = head(1).encode() + data(b"x") + END
    assert [type(event).__name__ for event in greeted(one, one)[1]] == [
        "ResponseStarted",
        "ResponseData",
        "ResponseEnded",
    ] * 2


def test_a_response_behind_one_that_awaits_done_is_refused() -> None:
    with pytest.raises(PeerViolation, match="HEAD on a response channel in state ENDED"):
        greeted(head().encode(), END, head().encode())


def test_an_aborted_response_says_so() -> None:
    channel, events = greeted(head(5).encode(), data(b"ab"), ABORT)
    assert events[-1] == ResponseAborted()
    assert channel.state is ChannelState.CLOSED


@pytest.mark.parametrize("frames", [[data(b"abcd")], [data(b"ab"), data(b"cd")]])
def test_a_response_longer_than_its_length_is_refused(frames: list[bytes]) -> None:
    with pytest.raises(PeerViolation, match="more DATA than the response's length"):
        greeted(head(3).encode(), *frames)


def test_too_much_data_is_refused_on_its_header_alone() -> None:
    with pytest.raises(PeerViolation, match="more DATA"):
        greeted(head(3).encode(), data(b"abcd")[: FRAME_HEADER.size])


def test_a_response_shorter_than_its_length_is_refused() -> None:
    with pytest.raises(PeerViolation, match="END 1 bytes before the response's length"):
        greeted(head(3).encode(), data(b"ab"), END)


@pytest.mark.parametrize("length", [BODY_UNKNOWN, 5])
def test_a_response_without_a_body_may_bring_none_whatever_its_length_says(length: int) -> None:
    begun = head(length, bodiless=True).encode()
    assert greeted(begun, END)[1] == [ResponseStarted(head(length, bodiless=True)), ResponseEnded()]
    with pytest.raises(PeerViolation, match="more DATA"):
        greeted(begun, data(b"x"))


@pytest.mark.parametrize(
    ("kind", "limit"),
    [
        (FrameType.HEAD, limits.RESPONSE_HEAD_BYTES),
        (FrameType.END, limits.RESPONSE_HEAD_BYTES),
        (FrameType.DATA, limits.FRAME_BYTES),
        (0x7F, limits.RESPONSE_HEAD_BYTES),
    ],
)
@pytest.mark.parametrize("split", [1, FRAME_HEADER.size])
def test_a_frame_that_announces_too_much_is_refused_on_its_header_alone(
    kind: int, limit: int, split: int
) -> None:
    channel, _ = greeted(head().encode())
    header = FRAME_HEADER.pack(kind, limit + 1)
    with pytest.raises(PeerViolation, match=f"announces {limit + 1} bytes"):
        [channel.receive(memoryview(piece)) for piece in (header[:split], header[split:]) if piece]


def test_a_malformed_head_is_a_violation() -> None:
    with pytest.raises(PeerViolation, match="HEAD is too short"):
        greeted(FRAME_HEADER.pack(FrameType.HEAD, 2), b"ab")
