"""DATA passes beside h2's state machines: it must be counted, delivered and written as h2 would."""

import pytest
from h2.events import DataReceived, StreamEnded
from hyperframe.frame import DataFrame, HeadersFrame, PingFrame

from tests.unit.core.session.pair import heard
from tests.unit.core.session.test_http2 import NOW, carry, connected
from tunnel.core import limits
from tunnel.core.errors import PeerViolation
from tunnel.core.session.http2 import LANE_STREAM, ErrorCodes, TunnelConnection
from tunnel.core.session.outgoing import stream_head

BODY = bytes(range(256)) * 5


def frame(data: bytes, *flags: str, stream: int = LANE_STREAM) -> bytes:
    return DataFrame(stream, data, flags=list(flags)).serialize()


def delivered(connection: TunnelConnection, *chunks: bytes) -> bytes:
    events = [event for chunk in chunks for event in heard(connection, chunk, NOW)]
    return b"".join(event.data or b"" for event in events if isinstance(event, DataReceived))


def windows(connection: TunnelConnection) -> tuple[int, int, int, int]:
    stream = connection.streams[LANE_STREAM]
    return (
        connection.inbound_flow_control_window,
        connection.remote_flow_control_window(LANE_STREAM),
        connection.outbound_flow_control_window,
        stream.outbound_flow_control_window,
    )


def test_what_is_put_is_what_h2_would_send() -> None:
    ours, theirs = connected()[0], connected()[0]
    ours.put_data(LANE_STREAM, memoryview(BODY))
    theirs.send_data(LANE_STREAM, BODY)
    assert windows(ours) == windows(theirs)
    assert ours.take_output() == theirs.data_to_send()
    assert not ours.take_output()


def test_a_frame_of_64_kib_has_its_length_in_three_bytes() -> None:
    stub, agent = connected()
    data = bytes(limits.DATA_BYTES)
    stub.put_data(LANE_STREAM, data)
    assert delivered(agent, bytes(stub.take_output())) == data


@pytest.mark.parametrize("size", [1, 2, 8, 9, 10, 100, 5000])
def test_data_is_delivered_in_the_pieces_it_comes_in_and_counted_as_h2_counts_it(size: int) -> None:
    _, ours = connected()
    _, theirs = connected()
    wire = frame(BODY) + PingFrame(0, b"12345678").serialize() + frame(BODY[:300])
    assert delivered(ours, *(wire[start : start + size] for start in range(0, len(wire), size))) == (
        BODY + BODY[:300]
    )
    for data in (BODY, BODY[:300]):
        theirs._receive_data_frame(DataFrame(LANE_STREAM, data))
    assert windows(ours) == windows(theirs)


def test_the_beginning_of_a_frame_is_not_kept_until_its_end() -> None:
    _, agent = connected()
    assert delivered(agent, frame(BODY)[:100]) == BODY[:91]


def test_the_end_of_a_stream_comes_behind_its_last_byte() -> None:
    stub, agent = connected()
    stub.send_headers(3, stream_head(b"/body/1"))
    carry(stub, agent)
    wire = frame(BODY, "END_STREAM", stream=3)
    assert not any(isinstance(event, StreamEnded) for event in heard(agent, wire[:-1], NOW))
    events = heard(agent, wire[-1:], NOW)
    assert isinstance(events[-1], StreamEnded)
    assert isinstance(events[0], DataReceived)
    assert events[0].data == BODY[-1:]


def test_data_beyond_the_streams_window_is_a_violation() -> None:
    _, agent = connected()
    room = agent.remote_flow_control_window(LANE_STREAM)
    agent.streams[LANE_STREAM]._inbound_window_manager.window_consumed(room - 100)
    assert delivered(agent, frame(BODY)[:109]) == BODY[:100]
    with pytest.raises(PeerViolation, match="FlowControlError"):
        heard(agent, frame(BODY)[109:], NOW)


def test_data_beyond_the_connections_window_is_a_violation() -> None:
    _, agent = connected()
    agent._inbound_flow_control_window_manager.window_consumed(agent.inbound_flow_control_window - 10)
    with pytest.raises(PeerViolation, match="FlowControlError"):
        heard(agent, frame(BODY), NOW)


def test_a_stream_that_is_refused_between_two_pieces_delivers_no_more() -> None:
    stub, agent = connected()
    stub.send_headers(3, stream_head(b"/body/1"))
    carry(stub, agent)
    wire = frame(BODY, "END_STREAM", stream=3)
    assert delivered(agent, wire[:100])
    agent.break_stream(3, ErrorCodes.NO_ERROR)
    before = agent.inbound_flow_control_window
    assert heard(agent, wire[100:], NOW) == []
    assert before - agent.inbound_flow_control_window == len(wire) - 100


def test_a_body_longer_than_its_content_length_is_a_violation() -> None:
    stub, agent = connected()
    stub.send_headers(3, [*stream_head(b"/body/1"), (b"content-length", b"3")])
    carry(stub, agent)
    with pytest.raises(PeerViolation, match="InvalidBodyLengthError"):
        heard(agent, frame(b"abcd", stream=3), NOW)


def test_padded_data_is_left_to_h2() -> None:
    _, agent = connected()
    before = agent.inbound_flow_control_window
    padded = DataFrame(LANE_STREAM, b"ab", flags=["PADDED"])
    padded.pad_length = 7
    assert delivered(agent, padded.serialize()) == b"ab"
    assert before - agent.inbound_flow_control_window == 10


def test_data_in_the_middle_of_a_head_is_a_violation() -> None:
    stub, agent = connected()
    head = HeadersFrame(3, stub.encoder.encode(stream_head(b"/body/1")))
    with pytest.raises(PeerViolation, match="ProtocolError"):
        heard(agent, head.serialize() + frame(BODY), NOW)


def test_data_on_a_stream_that_never_was_is_a_violation() -> None:
    _, agent = connected()
    with pytest.raises(PeerViolation):
        heard(agent, frame(BODY, stream=5), NOW)
