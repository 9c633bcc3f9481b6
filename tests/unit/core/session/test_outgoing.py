"""Bodies as the stub sends them: behind their REQUEST, within their window, ended, broken off or refused."""

import pytest

from tests.unit.core.session.pair import (
    Pair,
    greeted,
    heard,
    http2_frame,
    http2_frames,
    of,
    request,
    upload,
)
from tunnel.core import limits
from tunnel.core.errors import LocalMisuse, PeerViolation
from tunnel.core.identifiers import RequestId
from tunnel.core.session.events import BodyBroken, BodyEnded, BodyReceived, BodyRefused, BodyWanted
from tunnel.core.wire.exchange import Request

ONE, TWO = RequestId(1), RequestId(2)
FIRST = limits.STREAM_WINDOW_BYTES
DATA, HEADERS, RST_STREAM, SETTINGS, WINDOW_UPDATE = 0x0, 0x1, 0x3, 0x4, 0x8
END_STREAM, END_HEADERS = 0x1, 0x4
INITIAL_WINDOW_SIZE, MAX_CONCURRENT_STREAMS = 0x4, 0x3


def uploading(number: int = 1) -> Pair:
    """A pair with one body under way, its stream known to the agent."""
    pair = greeted()
    pair.stub.send_request(upload(number))
    pair.said_at_agent()
    return pair


def test_a_bodys_stream_opens_behind_its_request() -> None:
    pair = greeted()
    pair.stub.send_request(upload(1))
    kinds = [(kind, stream) for kind, _, stream, _ in http2_frames(pair.stub.output())]
    assert kinds == [(DATA, 1), (HEADERS, 3)]


def test_a_body_arrives_in_order_and_ends() -> None:
    pair = uploading()
    for piece in (b"one", b"two"):
        pair.stub.send_body(ONE, memoryview(piece))
    pair.stub.end_body(ONE)
    assert pair.said_at_agent() == [BodyReceived(ONE, b"one"), BodyReceived(ONE, b"two"), BodyEnded(ONE)]


def test_a_new_body_has_the_first_window_at_once() -> None:
    pair = greeted()
    pair.stub.send_request(upload(1))
    assert pair.stub.body_room(ONE) == FIRST


def test_a_body_is_sent_in_frames_of_64_kib() -> None:
    pair = uploading()
    pair.stub.send_body(ONE, bytes(FIRST))
    assert [len(payload) for *_, payload in http2_frames(pair.stub.output())] == [limits.DATA_BYTES] * 4
    assert pair.stub.body_room(ONE) == 0


@pytest.mark.parametrize("request_id", [ONE, TWO])
def test_more_than_the_room_is_not_sent(request_id: RequestId) -> None:
    pair = uploading()
    room = pair.stub.body_room(request_id)
    with pytest.raises(LocalMisuse, match=f"{room + 1} body bytes for request {request_id} have no room"):
        pair.stub.send_body(request_id, bytes(room + 1))
    assert pair.stub.output() == b""


def test_a_body_is_wanted_again_when_its_bytes_were_consumed() -> None:
    pair = uploading()
    pair.stub.send_body(ONE, bytes(FIRST))
    pair.settle()
    assert pair.said_at_stub() == []
    pair.agent.body_consumed(ONE, FIRST)
    assert pair.said_at_stub() == [BodyWanted(ONE)]
    assert pair.stub.body_room(ONE) == 2 * FIRST


def test_one_stalled_body_leaves_the_others_their_room() -> None:
    pair = uploading()
    pair.stub.send_body(ONE, bytes(FIRST))
    pair.stub.send_request(upload(2))
    pair.stub.send_request(request(3))
    assert pair.stub.body_room(TWO) == FIRST
    assert [one.id for one in of(Request, pair.said_at_agent())] == [2, 3]


def test_a_broken_body_is_told_and_forgotten() -> None:
    pair = uploading()
    pair.stub.send_body(ONE, b"half")
    pair.stub.break_body(ONE)
    assert pair.said_at_agent() == [BodyReceived(ONE, b"half"), BodyBroken(ONE)]
    assert pair.stub.body_room(ONE) == 0
    assert pair.said_at_stub() == []


def test_an_ended_body_is_forgotten_when_the_agent_knows() -> None:
    pair = uploading()
    pair.stub.end_body(ONE)
    assert pair.stub.body_room(ONE) == 0
    assert pair.said_at_stub() == []
    assert pair.stub.body_streams_left == limits.BODY_STREAMS - 1


def test_an_ended_body_can_still_be_broken_off() -> None:
    pair = uploading()
    pair.stub.end_body(ONE)
    pair.stub.break_body(ONE)
    pair.settle()
    assert pair.stub.body_streams_left == limits.BODY_STREAMS - 1


def test_a_refused_body_takes_no_more() -> None:
    pair = uploading()
    pair.agent.refuse_body(ONE)
    assert pair.said_at_stub() == [BodyRefused(ONE)]
    assert pair.stub.body_room(ONE) == 0
    pair.stub.end_body(ONE)
    pair.stub.break_body(ONE)
    assert pair.stub.output() == b""


@pytest.mark.parametrize("frames", [1, 2])
def test_an_agent_that_answers_a_body_before_its_end_refuses_it(frames: int) -> None:
    pair = uploading()
    head = http2_frame(HEADERS, 3, b"\x88", END_HEADERS | (END_STREAM if frames == 1 else 0))
    end = http2_frame(DATA, 3, b"", END_STREAM) if frames == 2 else b""
    assert heard(pair.stub, head + end, pair.now) == [BodyRefused(ONE)]
    assert [(kind, stream) for kind, _, stream, _ in http2_frames(pair.stub.output())] == [(RST_STREAM, 3)]


def test_data_from_the_agent_on_a_bodys_stream_is_refused() -> None:
    pair = uploading()
    with pytest.raises(PeerViolation, match="DATA on a body's stream"):
        pair.stub.receive(
            http2_frame(HEADERS, 3, b"\x88", END_HEADERS) + http2_frame(DATA, 3, b"x"), pair.now
        )


# The lane is full ----------------------------------------------------------------------------------


def full_lane() -> Pair:
    """A pair whose lane takes nothing more: a body announced now must wait for its REQUEST to leave."""
    pair = greeted()
    body = bytes(limits.INLINE_BODY_BYTES)
    count = limits.LANE_WINDOW_BYTES // len(body) + 1
    for number in range(1, count + 1):
        pair.stub.send_request(request(number, body=body, body_length=len(body)))
    return pair


LAST = RequestId(1000)


def test_a_body_waits_for_a_request_that_the_lane_does_not_take_yet() -> None:
    pair = full_lane()
    pair.stub.send_request(upload(LAST))
    assert pair.stub.body_room(LAST) == 0
    assert HEADERS not in [kind for kind, *_ in http2_frames(pair.to_agent())]
    assert pair.said_at_stub() == [BodyWanted(LAST)]
    pair.stub.send_body(LAST, b"body")
    pair.stub.end_body(LAST)
    assert pair.said_at_agent()[-2:] == [BodyReceived(LAST, b"body"), BodyEnded(LAST)]


def test_bodies_that_wait_open_in_order() -> None:
    pair = full_lane()
    for number in (LAST, LAST + 1, LAST + 2):
        pair.stub.send_request(upload(number))
    assert pair.said_at_stub() == [BodyWanted(RequestId(number)) for number in (LAST, LAST + 1, LAST + 2)]


def test_a_body_that_ends_while_it_waits_arrives_empty() -> None:
    pair = full_lane()
    pair.stub.send_request(upload(LAST))
    pair.stub.end_body(LAST)
    assert pair.said_at_agent()[-1] == BodyEnded(LAST)
    assert pair.said_at_stub() == []
    assert pair.stub.body_streams_left == limits.BODY_STREAMS - 1


@pytest.mark.parametrize("ended", [False, True])
def test_a_body_that_breaks_while_it_waits_arrives_broken(ended: bool) -> None:
    pair = full_lane()
    pair.stub.send_request(upload(LAST))
    if ended:
        pair.stub.end_body(LAST)
    pair.stub.break_body(LAST)
    assert pair.said_at_agent()[-1] == BodyBroken(LAST)
    assert pair.stub.body_streams_left == limits.BODY_STREAMS - 1


# Limits and floods ---------------------------------------------------------------------------------


def setting(code: int, value: int) -> bytes:
    return http2_frame(SETTINGS, 0, code.to_bytes(2, "big") + value.to_bytes(4, "big"))


def test_a_request_without_a_stream_for_its_body_is_not_sent() -> None:
    pair = greeted()
    heard(pair.stub, setting(MAX_CONCURRENT_STREAMS, 2), pair.now)
    pair.stub.output()
    pair.stub.send_request(upload(1))
    pair.stub.output()
    assert pair.stub.body_streams_left == 0
    with pytest.raises(LocalMisuse, match="request 2 needs a stream"):
        pair.stub.send_request(upload(2))
    pair.stub.send_request(request(3))
    assert [kind for kind, *_ in http2_frames(pair.stub.output())] == [DATA]


def test_bodies_that_wait_for_the_lane_count_against_the_limit() -> None:
    pair = full_lane()
    pair.stub.send_request(upload(LAST))
    assert pair.stub.body_streams_left == limits.BODY_STREAMS - 2


def test_an_agent_that_lowers_its_limit_below_what_was_announced_is_refused() -> None:
    pair = full_lane()
    pair.stub.send_request(upload(LAST))
    output = pair.stub.output()
    heard(pair.stub, setting(MAX_CONCURRENT_STREAMS, 1), pair.now)
    heard(pair.agent, output, pair.now)
    with pytest.raises(PeerViolation, match="fewer streams"):
        pair.settle()


def credit(stream: int, amount: int = 1) -> bytes:
    return http2_frame(WINDOW_UPDATE, stream, amount.to_bytes(4, "big"))


def test_credit_for_the_connection_wakes_nobody_that_it_did_not_hold_back() -> None:
    pair = uploading()
    pair.stub._http2.outbound_flow_control_window = 10**6 * 64
    assert pair.stub.body_room(ONE) == FIRST
    assert heard(pair.stub, credit(0) * 100, pair.now) == []


def test_credit_for_the_connection_wakes_whom_it_held_back_once() -> None:
    pair = uploading()
    pair.stub._http2.outbound_flow_control_window = 5
    assert pair.stub.body_room(ONE) == 5
    assert heard(pair.stub, credit(0, 10) * 100, pair.now) == [BodyWanted(ONE)]


def test_raised_windows_wake_every_body_once() -> None:
    pair = uploading()
    larger = [setting(INITIAL_WINDOW_SIZE, FIRST + size) for size in (1, 2, 3)]
    assert heard(pair.stub, b"".join(larger), pair.now) == [BodyWanted(ONE)]
    assert heard(pair.stub, setting(INITIAL_WINDOW_SIZE, 5), pair.now) == []


def test_credit_for_a_body_that_has_ended_wakes_nobody() -> None:
    pair = uploading()
    pair.stub.end_body(ONE)
    assert heard(pair.stub, credit(3), pair.now) == []
