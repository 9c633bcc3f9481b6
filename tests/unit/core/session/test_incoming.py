"""Bodies as the agent takes them: announced, held to their length, refused at any moment, bounded in number."""

import pytest

from tests.unit.core.session.pair import Pair, greeted, http2_frame, upload
from tunnel.core import limits
from tunnel.core.errors import LocalMisuse, PeerViolation
from tunnel.core.identifiers import RequestId
from tunnel.core.session.events import BodyBroken, BodyEnded, BodyReceived, BodyRefused
from tunnel.core.session.http2 import ErrorCodes
from tunnel.core.session.outgoing import stream_head
from tunnel.core.wire.exchange import BODY_UNKNOWN

ONE, TWO = RequestId(1), RequestId(2)
FIRST = limits.STREAM_WINDOW_BYTES


def uploading(length: int = BODY_UNKNOWN) -> Pair:
    pair = greeted()
    pair.stub.send_request(upload(1, length))
    pair.said_at_agent()
    return pair


def announced_only(pair: Pair, number: int) -> None:
    """A REQUEST whose body never comes, as only a broken stub would send it."""
    pair.stub._lane.queue(upload(number).encode())


# Announcing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", [b"/body/1", b"/body/01", b"/body/", b"/body/x", b"/lane", b"1", b"/body/" + b"1" * 99]
)
def test_a_stream_that_no_request_announced_is_refused(path: bytes) -> None:
    pair = greeted()
    pair.stub._http2.send_headers(3, stream_head(path))
    with pytest.raises(PeerViolation, match=r"a body without its REQUEST|neither the lane nor a body"):
        pair.to_agent()


def test_a_body_has_one_stream() -> None:
    pair = uploading()
    pair.stub._http2.send_headers(5, stream_head(b"/body/1"))
    with pytest.raises(PeerViolation, match="a body without its REQUEST"):
        pair.to_agent()


def test_a_number_is_written_in_one_way_only() -> None:
    pair = greeted()
    announced_only(pair, 1)
    pair.to_agent()
    pair.stub._http2.send_headers(3, stream_head(b"/body/01"))
    with pytest.raises(PeerViolation, match="neither the lane nor a body"):
        pair.to_agent()


def test_bodies_whose_streams_never_come_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = greeted()
    monkeypatch.setattr(limits, "BODY_STREAMS", 5)
    for number in range(1, 6):
        announced_only(pair, number)
    pair.to_agent()
    announced_only(pair, 6)
    with pytest.raises(PeerViolation, match="more than 5 bodies announced"):
        pair.to_agent()


def test_refused_bodies_whose_streams_never_come_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = greeted()
    monkeypatch.setattr(limits, "BODY_STREAMS", 5)
    for number in range(1, 6):
        announced_only(pair, number)
        pair.to_agent()
        pair.agent.refuse_body(RequestId(number))
    announced_only(pair, 6)
    with pytest.raises(PeerViolation, match="more than 5 bodies announced"):
        pair.to_agent()


# Length --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pieces", [[b"abcd"], [b"ab", b"cd"]])
def test_a_body_longer_than_announced_is_refused(pieces: list[bytes]) -> None:
    pair = uploading(3)
    for piece in pieces:
        pair.stub.send_body(ONE, piece)
    with pytest.raises(PeerViolation, match="the body of request 1 is longer than announced"):
        pair.to_agent()


@pytest.mark.parametrize("sent", [b"", b"ab"])
def test_a_body_that_ends_before_its_length_is_broken(sent: bytes) -> None:
    pair = uploading(3)
    if sent:
        pair.stub.send_body(ONE, sent)
    pair.stub.end_body(ONE)
    assert pair.said_at_agent()[-1] == BodyBroken(ONE)
    assert pair.said_at_stub() == []
    assert pair.stub.body_streams_left == limits.BODY_STREAMS - 1


@pytest.mark.parametrize(
    ("length", "sent"), [(0, b""), (3, b"abc"), (BODY_UNKNOWN, b""), (BODY_UNKNOWN, b"abc")]
)
def test_a_body_of_its_length_is_whole(length: int, sent: bytes) -> None:
    pair = uploading(length)
    if sent:
        pair.stub.send_body(ONE, sent)
    pair.stub.end_body(ONE)
    received = [BodyReceived(ONE, sent)] if sent else []
    assert pair.said_at_agent() == [*received, BodyEnded(ONE)]


def test_padding_is_no_part_of_a_body() -> None:
    pair = uploading(3)
    pair.stub._http2.send_data(3, b"abc", pad_length=200)
    pair.stub.end_body(ONE)
    assert pair.said_at_agent() == [BodyReceived(ONE, b"abc"), BodyEnded(ONE)]


def test_padding_needs_nobody_to_consume_it() -> None:
    pair = uploading()
    frames = 2 * FIRST // 256
    for _ in range(frames):
        pair.stub._http2.send_data(3, b"x", pad_length=254)
        pair.settle()
    assert pair.stub.body_room(ONE) > FIRST // 2 - frames
    pair.agent.body_consumed(ONE, frames)


# Refusing ------------------------------------------------------------------------------------------


def test_a_body_refused_before_its_stream_opens_is_refused_when_it_comes() -> None:
    pair = greeted()
    pair.stub.send_request(upload(1))
    frames = pair.stub.output()
    lane = int.from_bytes(frames[:3], "big") + 9
    assert len(pair.agent.receive(frames[:lane], pair.now)) == 1
    pair.agent.refuse_body(ONE)
    assert pair.agent.receive(frames[lane:], pair.now) == []
    assert pair.said_at_stub() == [BodyRefused(ONE)]


def test_what_is_under_way_of_a_refused_body_is_for_nobody() -> None:
    pair = uploading()
    pair.stub.send_body(ONE, b"under way")
    pair.agent.refuse_body(ONE)
    assert pair.said_at_agent() == []
    assert pair.said_at_stub() == [BodyRefused(ONE)]


def test_a_body_that_opens_and_breaks_in_one_chunk_after_it_was_refused_is_nothing() -> None:
    pair = greeted()
    announced_only(pair, 1)
    pair.to_agent()
    pair.agent.refuse_body(ONE)
    pair.stub._http2.send_headers(3, stream_head(b"/body/1"))
    pair.stub._http2.send_data(3, b"x", end_stream=True)
    pair.stub._http2.reset_stream(3, ErrorCodes.CANCEL)
    pair.to_agent()
    assert pair.said_at_agent()[1:] == []


@pytest.mark.parametrize("number", [1, 9])
def test_refusing_what_is_over_or_never_was_does_nothing(number: int) -> None:
    pair = uploading()
    pair.stub.break_body(ONE)
    pair.settle()
    pair.agent.refuse_body(RequestId(number))
    assert pair.agent.output() == b""


def test_a_body_that_ends_and_resets_in_one_chunk_has_ended() -> None:
    pair = uploading()
    pair.stub.end_body(ONE)
    pair.stub._http2.reset_stream(3, ErrorCodes.CANCEL)
    assert pair.said_at_agent() == [BodyEnded(ONE)]


def test_a_session_that_ends_behind_a_body_in_one_chunk_tells_both() -> None:
    pair = uploading()
    pair.stub.send_body(ONE, bytes(FIRST))
    pair.stub.end_body(ONE)
    events = pair.agent.receive(pair.stub.output() + http2_frame(0x7, 0, bytes(8)), pair.now)
    assert [type(event).__name__ for event in events][-2:] == ["BodyEnded", "SessionClosed"]
    pair.agent.body_consumed(ONE, FIRST)
    assert pair.agent.output() == b""


# Credit --------------------------------------------------------------------------------------------


def test_more_than_was_received_cannot_be_consumed() -> None:
    pair = uploading()
    pair.stub.send_body(ONE, b"abc")
    pair.to_agent()
    with pytest.raises(LocalMisuse, match="4 bytes of request 1 consumed, 3 are held"):
        pair.agent.body_consumed(ONE, 4)


def test_consuming_an_unknown_body_does_nothing() -> None:
    pair = greeted()
    pair.agent.body_consumed(TWO, 10)
    assert pair.agent.output() == b""


def grown(pair: Pair, number: int) -> int:
    """Grow the window of a body as far as it goes; return its room."""
    request = RequestId(number)
    for _ in range(8):
        room = pair.stub.body_room(request)
        pair.stub.send_body(request, bytes(room))
        pair.to_agent()
        pair.agent.body_consumed(request, room)
        pair.settle()
    return pair.stub.body_room(request)


def test_a_drained_window_grows_to_16_mib() -> None:
    assert grown(uploading(), 1) == limits.STREAM_WINDOW_MAX_BYTES


def two_uploads(budget_bytes: int) -> Pair:
    pair = greeted(budget_bytes)
    pair.stub.send_request(upload(1))
    pair.stub.send_request(upload(2))
    return pair.settle()


def test_windows_share_their_budget() -> None:
    pair = two_uploads(4 * FIRST)
    assert grown(pair, 1) == 5 * FIRST
    assert grown(pair, 2) == FIRST


def test_a_body_that_has_ended_keeps_its_share_until_it_is_consumed() -> None:
    pair = two_uploads(4 * FIRST)
    pair.stub.send_body(ONE, bytes(grown(pair, 1)))
    pair.stub.end_body(ONE)
    pair.settle()
    assert grown(pair, 2) == FIRST
    pair.agent.body_consumed(ONE, 5 * FIRST - 1)
    assert grown(pair, 2) == FIRST
    pair.agent.body_consumed(ONE, 1)
    assert grown(pair, 2) == 5 * FIRST


@pytest.mark.parametrize("ended", [False, True])
def test_a_refused_body_gives_its_share_back_at_once(ended: bool) -> None:
    pair = two_uploads(4 * FIRST)
    pair.stub.send_body(ONE, bytes(grown(pair, 1)))
    if ended:
        pair.stub.end_body(ONE)
    pair.settle()
    pair.agent.refuse_body(ONE)
    assert grown(pair, 2) == 5 * FIRST


def test_a_broken_body_gives_its_share_back_at_once() -> None:
    pair = two_uploads(4 * FIRST)
    pair.stub.send_body(ONE, bytes(grown(pair, 1)))
    pair.stub.break_body(ONE)
    pair.settle()
    assert grown(pair, 2) == 5 * FIRST
