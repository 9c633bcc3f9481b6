"""The lane: frames of one turn leave together, frames cut anywhere are joined, its window is refilled on receipt."""

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.core.properties import cuts, pieces
from tests.unit.core.session.pair import START, Pair, greeted, heard, http2_frames, of, request, upload
from tunnel.core import limits
from tunnel.core.identifiers import RequestId
from tunnel.core.session.agent_side import AgentSession
from tunnel.core.session.events import AgentEvent, DrainHeard
from tunnel.core.session.http2 import LANE_STREAM
from tunnel.core.wire.control import Active, Drain, Reject, Report
from tunnel.core.wire.exchange import Cancel, Refused, Request

DATA = 0x0


def lane_data(output: bytes) -> list[bytes]:
    return [
        payload for kind, _, stream, payload in http2_frames(output) if (kind, stream) == (DATA, LANE_STREAM)
    ]


def test_frames_of_one_turn_leave_as_one_data_frame() -> None:
    pair = greeted()
    sent = [request(number) for number in range(1, 6)]
    for one in sent:
        pair.stub.send_request(one)
    pair.stub.send_cancel(sent[0].id)
    output = pair.stub.output()
    assert lane_data(output) == [b"".join([*(one.encode() for one in sent), Cancel(sent[0].id).encode()])]
    assert len(http2_frames(output)) == 1


def test_more_than_a_data_frame_leaves_in_several_and_arrives_whole() -> None:
    pair = greeted()
    body = bytes(limits.INLINE_BODY_BYTES)
    sent = [request(number, body=body, body_length=len(body)) for number in range(1, 4)]
    for one in sent:
        pair.stub.send_request(one)
    frames = lane_data(pair.to_agent())
    assert [len(frame) for frame in frames[:-1]] == [limits.DATA_BYTES] * 3
    assert of(Request, pair.at_agent) == sent


def test_the_answer_to_a_drain_comes_behind_all_that_was_asked_before_it_was_heard() -> None:
    pair = greeted()
    pair.agent.send_drain("bye")
    crossing = [request(1), upload(2), request(3)]
    for one in crossing:
        pair.stub.send_request(one)
    pair.to_stub()
    said = pair.said_at_agent()
    assert of(Request, said) == crossing
    assert said[-1] == DrainHeard()


def test_a_ping_for_liveness_says_nothing_of_a_drain() -> None:
    pair = greeted()
    pair.now += limits.PING_SECONDS
    assert not pair.agent.tick(pair.now)
    assert pair.said_at_agent() == []


def filled() -> Pair:
    """A pair whose stub has queued more than the lane's window, and has sent all that it took."""
    pair = greeted()
    body = bytes(limits.INLINE_BODY_BYTES)
    for number in range(1, limits.LANE_WINDOW_BYTES // len(body) + 9):
        pair.stub.send_request(request(number, body=body, body_length=len(body)))
    return pair


def test_the_lane_takes_its_whole_window_at_once_and_no_more() -> None:
    pair = filled()
    queued = pair.stub.lane_waiting_bytes
    sent = sum(map(len, lane_data(pair.stub.output())))
    assert sent == limits.LANE_WINDOW_BYTES - greeting_bytes(pair)
    assert pair.stub.lane_waiting_bytes == queued - sent
    assert pair.stub.output() == b""


def greeting_bytes(pair: Pair) -> int:
    """What the stub's HELLO took of the window before; less than a step of credit, so it is still owed."""
    assert pair.agent.stub is not None
    return len(pair.agent.stub.encode())


def test_an_exhausted_lane_goes_on_when_it_is_refilled() -> None:
    pair = filled()
    waiting = pair.stub.output()
    assert pair.stub.lane_waiting_bytes > 0
    pair.at_agent += heard(pair.agent, waiting, pair.now)
    pair.settle()
    assert pair.stub.lane_waiting_bytes == 0
    numbers = [one.id for one in of(Request, pair.at_agent)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) == limits.LANE_WINDOW_BYTES // limits.INLINE_BODY_BYTES + 8


def test_padding_on_the_lane_is_credited_too() -> None:
    pair = greeted()
    connection = pair.stub._http2
    for _ in range(2 * limits.MIB // 256):
        connection.send_data(LANE_STREAM, b"", pad_length=255)
        pair.to_agent()
        pair.now += 0.02
        pair.to_stub()
    assert connection.room(LANE_STREAM) > limits.LANE_WINDOW_BYTES - 2 * limits.MIB


def test_what_is_queued_before_the_lane_opens_waits_for_it() -> None:
    pair = Pair()
    pair.agent.send_reject("not this stub")
    pair.to_stub()
    assert pair.agent.lane_waiting_bytes > 0
    assert pair.said_at_stub() == [Reject("not this stub")]


frames = st.lists(
    st.builds(Active, st.text("ab", max_size=5), st.integers(0, 9))
    | st.builds(Drain, st.text("ab", max_size=5))
    | st.builds(Cancel, st.integers(1, 2**64 - 1)),
    max_size=8,
)


def replay(stream: list[bytes]) -> list[AgentEvent]:
    agent = AgentSession(START)
    return [event for piece in stream for event in heard(agent, piece, START)]


@given(frames, cuts)
def test_a_session_says_the_same_whole_byte_by_byte_and_in_any_pieces(
    sent: list[Active | Drain | Cancel], sizes: list[int]
) -> None:
    pair = Pair()
    for one in sent:
        pair.stub._lane.queue(one.encode())
    stream = pair.stub.output()
    whole = replay([stream])
    assert whole[1:] == sent
    assert replay(list(pieces(stream, [1]))) == whole
    assert replay(list(pieces(stream, sizes))) == whole


def test_reports_and_refusals_reach_the_stub() -> None:
    pair = greeted()
    report, refused = Report(requests=3), Refused(RequestId(1), True, 503, "full")
    pair.agent.send_report(report)
    pair.agent.send_refused(refused)
    assert pair.said_at_stub() == [report, refused]
