"""Every override of h2, pinned: these fail where upstream changes what they rest on, or where an override is lost."""

import importlib.metadata

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import ConnectionTerminated, DataReceived, Event, RequestReceived, StreamReset
from h2.settings import SettingCodes
from h2.stream import H2Stream
from hyperframe.frame import DataFrame, Frame, SettingsFrame

from tests.unit.core.session.pair import heard, http2_frame, http2_frames
from tunnel.core import limits
from tunnel.core.errors import PeerViolation
from tunnel.core.session.http2 import LANE_STREAM, TunnelConnection
from tunnel.core.session.outgoing import stream_head

NOW = 50.0
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE = range(9)
EMPTY_SETTINGS = http2_frame(SETTINGS, 0)
END_STREAM, ACK, END_HEADERS = 0x1, 0x1, 0x4


def carry(sender: TunnelConnection, receiver: TunnelConnection) -> list[Event]:
    return heard(receiver, sender.data_to_send(), NOW)


def connected() -> tuple[TunnelConnection, TunnelConnection]:
    """A stub's and an agent's connection, settings exchanged, stream 1 open."""
    stub, agent = TunnelConnection(client_side=True), TunnelConnection(client_side=False)
    stub.start()
    agent.start()
    stub.send_headers(LANE_STREAM, stream_head(b"/lane"))
    for _ in range(2):
        carry(stub, agent)
        carry(agent, stub)
    return stub, agent


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[type[Frame]]:
    """The kinds of frames whose repr was asked for."""
    found: list[type[Frame]] = []

    def record(frame: Frame) -> str:
        found.append(type(frame))
        return "a frame"

    monkeypatch.setattr(Frame, "__repr__", record)
    return found


# The eager repr ------------------------------------------------------------------------------------


def test_received_data_is_not_written_out_for_a_log(written: list[type[Frame]]) -> None:
    stub, agent = connected()
    written.clear()
    stub.send_data(LANE_STREAM, b"x" * 1000)
    [event] = carry(stub, agent)
    assert isinstance(event, DataReceived)
    assert event.data == b"x" * 1000
    assert written == []


def test_h2_still_writes_out_every_frame_so_the_override_is_still_needed(written: list[type[Frame]]) -> None:
    plain = H2Connection(H2Configuration(client_side=False))
    stub = TunnelConnection(client_side=True)
    stub.start()
    stub.send_headers(LANE_STREAM, stream_head(b"/lane"))
    stub.send_data(LANE_STREAM, b"x")
    plain.receive_data(stub.data_to_send())
    assert {SettingsFrame, DataFrame} <= set(written)


# The count of streams ------------------------------------------------------------------------------


def test_h2_asks_for_the_count_of_streams_before_it_opens_or_takes_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stub, agent = connected()
    asked: list[tuple[bool, int]] = []
    count = TunnelConnection._open_streams

    def record(connection: TunnelConnection, remainder: int) -> int:
        asked.append((connection.config.client_side, remainder))
        return count(connection, remainder)

    monkeypatch.setattr(TunnelConnection, "_open_streams", record)
    stub.send_headers(3, stream_head(b"/body/1"))
    carry(stub, agent)
    assert asked == [(True, 1), (False, 1)]


def test_streams_are_counted_without_a_look_at_each(monkeypatch: pytest.MonkeyPatch) -> None:
    stub, agent = connected()
    looked_at: list[H2Stream] = []

    def is_open(stream: H2Stream) -> bool:
        looked_at.append(stream)
        return not stream.closed

    monkeypatch.setattr(H2Stream, "open", property(is_open))
    stub.send_headers(3, stream_head(b"/body/1"))
    carry(stub, agent)
    assert looked_at == []
    assert H2Connection._open_streams(stub, 1) == 2
    assert len(looked_at) == 2, "h2 itself still looks at each"


def test_the_limit_of_streams_holds_at_the_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BODY_STREAMS", 3)
    stub, agent = connected()
    for stream in (3, 5):
        stub.send_headers(stream, stream_head(b"/body/1"))
    carry(stub, agent)
    stub.remote_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = 100
    stub.remote_settings.acknowledge()
    stub.send_headers(7, stream_head(b"/body/1"))
    with pytest.raises(PeerViolation, match="TooManyStreamsError"):
        carry(stub, agent)


def test_the_streams_allowed_follow_the_peer_up_to_our_own_limit() -> None:
    stub, agent = connected()
    assert stub.streams_allowed == limits.BODY_STREAMS
    for announced, allowed in ((3, 3), (limits.BODY_STREAMS + 1, limits.BODY_STREAMS), (0, 0)):
        agent.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: announced})
        carry(agent, stub)
        assert stub.streams_allowed == allowed


def test_closed_streams_are_forgotten_at_once() -> None:
    stub, agent = connected()
    stub.send_headers(3, stream_head(b"/body/1"), end_stream=True)
    carry(stub, agent)
    agent.answer(3, end=True)
    agent.forget(3)
    carry(agent, stub)
    stub.forget(3)
    assert list(stub.streams) == list(agent.streams) == [LANE_STREAM]


def test_an_open_stream_is_not_forgotten() -> None:
    stub, _ = connected()
    stub.forget(LANE_STREAM)
    stub.forget(99)
    assert LANE_STREAM in stub.streams


# Headers -------------------------------------------------------------------------------------------


def test_headers_are_written_without_huffman_coding() -> None:
    stub, _ = connected()
    stub.send_headers(3, stream_head(b"/body/123456789"))
    assert b"/body/123456789" in stub.data_to_send()


def test_h2_still_hands_headers_to_the_encoder_it_has() -> None:
    plain = H2Connection(H2Configuration(client_side=True))
    plain.initiate_connection()
    plain.send_headers(1, stream_head(b"/body/123456789"))
    assert b"/body/123456789" not in plain.data_to_send(), "h2 codes by default, so the override is needed"


@pytest.mark.parametrize("announced", [0, 100, limits.HEADER_TABLE_BYTES, 2**32 - 1])
def test_a_peers_larger_header_table_is_not_filled(announced: int) -> None:
    stub, agent = connected()
    agent.update_settings({SettingCodes.HEADER_TABLE_SIZE: announced})
    carry(agent, stub)
    carry(stub, agent)
    for stream in range(3, 603, 2):
        stub.send_headers(stream, stream_head(b"/body/%d" % stream))
    table = stub.encoder.header_table
    assert table.maxsize == min(announced, limits.HEADER_TABLE_BYTES)
    assert table._current_size <= table.maxsize
    paths = [
        dict(event.headers)[b":path"] for event in carry(stub, agent) if isinstance(event, RequestReceived)
    ]
    assert paths == [b"/body/%d" % stream for stream in range(3, 603, 2)]


def test_many_changes_of_the_header_table_are_told_as_two() -> None:
    stub, agent = connected()
    for size in (0, 4096, 50, 4096, 7, 2000) * 5:
        agent.update_settings({SettingCodes.HEADER_TABLE_SIZE: size})
        carry(agent, stub)
    assert stub.encoder.table_size_changes == [0, 2000]
    carry(stub, agent)
    stub.send_headers(3, stream_head(b"/body/1"))
    assert [type(event) for event in carry(stub, agent)] == [RequestReceived]


# Settings: announced is enforced -------------------------------------------------------------------


def test_the_settings_are_those_of_the_limits() -> None:
    stub, agent = connected()
    for ours, theirs in (
        (stub.local_settings, agent.remote_settings),
        (agent.local_settings, stub.remote_settings),
    ):
        for settings in (ours, theirs):
            assert settings.max_frame_size == limits.DATA_BYTES
            assert settings.initial_window_size == limits.STREAM_WINDOW_BYTES
            assert settings.max_concurrent_streams == limits.BODY_STREAMS
            assert settings.enable_push == 0
    assert stub.max_outbound_frame_size == agent.max_inbound_frame_size == limits.DATA_BYTES
    assert stub.outbound_flow_control_window == limits.SESSION_WINDOW_BYTES
    assert agent.inbound_flow_control_window == limits.SESSION_WINDOW_BYTES


def test_a_frame_of_the_announced_size_is_taken() -> None:
    stub, agent = connected()
    stub.send_data(LANE_STREAM, bytes(limits.DATA_BYTES))
    [event] = carry(stub, agent)
    assert isinstance(event, DataReceived)


def test_a_large_frame_in_one_chunk_with_the_acknowledgement_of_its_size_is_taken() -> None:
    stub, agent = TunnelConnection(client_side=True), TunnelConnection(client_side=False)
    stub.start()
    agent.start()
    stub.send_headers(LANE_STREAM, stream_head(b"/lane"))
    carry(agent, stub)
    stub.send_data(LANE_STREAM, bytes(limits.DATA_BYTES - 1))
    assert any(isinstance(event, DataReceived) for event in carry(stub, agent))


@pytest.mark.parametrize("present", [9, 10, 1000])
def test_a_larger_frame_is_refused_on_its_header_alone(present: int) -> None:
    _, agent = connected()
    agent.data_to_send()
    frame = http2_frame(DATA, LANE_STREAM, bytes(limits.DATA_BYTES + 1))
    with pytest.raises(PeerViolation, match="FrameTooLargeError: a frame of 65537 bytes"):
        heard(agent, frame[:present], NOW)
    [(kind, _, _, payload)] = http2_frames(agent.data_to_send())
    assert kind == GOAWAY
    assert int.from_bytes(payload[4:8], "big") == ErrorCodes.FRAME_SIZE_ERROR


def test_data_beyond_a_streams_window_is_refused() -> None:
    stub, agent = connected()
    stub.send_headers(3, stream_head(b"/body/1"))
    carry(stub, agent)
    for _ in range(limits.STREAM_WINDOW_BYTES // limits.DATA_BYTES):
        heard(agent, http2_frame(DATA, 3, bytes(limits.DATA_BYTES)), NOW)
    with pytest.raises(PeerViolation, match="FlowControlError"):
        heard(agent, http2_frame(DATA, 3, b"x"), NOW)


def test_a_push_is_refused_even_before_the_settings_are_acknowledged() -> None:
    stub = TunnelConnection(client_side=True)
    stub.start()
    stub.send_headers(LANE_STREAM, stream_head(b"/lane"))
    push = http2_frame(PUSH_PROMISE, LANE_STREAM, b"\0\0\0\x02" + b"\x82", END_HEADERS)
    with pytest.raises(PeerViolation, match="PUSH_PROMISE"):
        heard(stub, EMPTY_SETTINGS + push, NOW)


def test_the_connections_credit_is_returned_before_it_can_limit() -> None:
    stub, agent = connected()
    room = limits.STREAM_WINDOW_BYTES - limits.DATA_BYTES
    lowest = limits.SESSION_WINDOW_BYTES
    for stream in range(3, 3 + 2 * 400, 2):
        stub.send_headers(stream, stream_head(b"/body/1"))
        for _ in range(room // limits.DATA_BYTES):
            stub.send_data(stream, bytes(limits.DATA_BYTES))
        carry(stub, agent)
        agent.break_stream(stream, ErrorCodes.NO_ERROR)
        lowest = min(lowest, agent.inbound_flow_control_window)
        carry(agent, stub)
    assert stub.outbound_flow_control_window == agent.inbound_flow_control_window
    assert limits.SESSION_WINDOW_BYTES - lowest < 64 * limits.MIB + limits.STREAM_WINDOW_BYTES


# Floods --------------------------------------------------------------------------------------------

CONTROL = [
    http2_frame(PING, 0, b"12345678"),
    EMPTY_SETTINGS,
    http2_frame(DATA, LANE_STREAM),
    http2_frame(PRIORITY, 3, b"\0\0\0\0\x10"),
    http2_frame(0xFA, 0, b"of a later HTTP/2"),
]


at_both_ends = pytest.mark.parametrize("end", [0, 1], ids=["stub", "agent"])


@at_both_ends
@pytest.mark.parametrize("frame", CONTROL, ids=["ping", "settings", "empty-data", "priority", "unknown"])
def test_a_flood_of_frames_that_an_honest_peer_hardly_sends_ends_the_session(frame: bytes, end: int) -> None:
    connection = connected()[end]
    if end == 0:  # DATA comes behind the agent's answer alone
        answer = http2_frame(HEADERS, LANE_STREAM, b"\x88", END_HEADERS)
        heard(connection, answer, NOW)
    heard(connection, frame * (limits.CONTROL_FRAMES_PER_SECOND - 1), NOW + 10)
    heard(connection, frame * limits.CONTROL_FRAMES_PER_SECOND, NOW + 20)
    connection.data_to_send()
    with pytest.raises(PeerViolation, match="DenialOfServiceError: more than 100 frames"):
        heard(connection, frame, NOW + 20.9)
    [(kind, _, _, payload)] = http2_frames(connection.data_to_send())
    assert (kind, int.from_bytes(payload[4:8], "big")) == (GOAWAY, ErrorCodes.ENHANCE_YOUR_CALM)


@at_both_ends
def test_a_flood_of_resets_ends_the_session(monkeypatch: pytest.MonkeyPatch, end: int) -> None:
    monkeypatch.setattr(limits, "STREAM_FRAMES_PER_SECOND", 50)
    connection = connected()[end]
    reset = http2_frame(RST_STREAM, LANE_STREAM, bytes(4))
    heard(connection, reset * 50, NOW + 10)
    with pytest.raises(PeerViolation, match="more than 50 frames like RstStreamFrame"):
        heard(connection, reset, NOW + 10)


@at_both_ends
def test_a_flood_of_credit_ends_the_session(end: int) -> None:
    connection = connected()[end]
    update = http2_frame(WINDOW_UPDATE, LANE_STREAM, (1).to_bytes(4, "big"))
    heard(connection, update * limits.CREDIT_FRAMES_PER_SECOND, NOW + 10)
    with pytest.raises(PeerViolation, match="more than 5000 frames like WindowUpdateFrame"):
        heard(connection, update, NOW + 10)


@at_both_ends
@pytest.mark.parametrize("number", [0, LANE_STREAM])
@pytest.mark.parametrize("increment", [1, 2**31 - 1, 2**31 + 5, 0])
def test_credit_in_one_piece_says_what_h2_says_of_it_in_pieces(end: int, number: int, increment: int) -> None:
    update = http2_frame(WINDOW_UPDATE, number, increment.to_bytes(4, "big"))
    said = []
    for size in (len(update), 1):
        connection = connected()[end]
        events: list[object] = []
        try:
            for start in range(0, len(update), size):
                events += heard(connection, update[start : start + size], NOW)
        except PeerViolation as violation:
            events.append(str(violation))
        said.append((list(map(str, events)), connection.room(LANE_STREAM), connection.data_to_send()))
    assert said[0] == said[1]


@at_both_ends
def test_a_reset_of_what_is_over_says_nothing_in_one_piece_or_in_several(end: int) -> None:
    connection = connected()[end]
    reset = http2_frame(RST_STREAM, LANE_STREAM, bytes(4))
    assert len(heard(connection, reset, NOW)) == 1
    for size in (len(reset), 5):
        pieces = [reset[start : start + size] for start in range(0, len(reset), size)]
        assert [event for piece in pieces for event in heard(connection, piece, NOW)] == []


def test_every_body_may_end_and_begin_again_within_a_second() -> None:
    assert limits.STREAM_FRAMES_PER_SECOND >= 2 * limits.BODY_STREAMS


def test_credit_does_not_count_among_the_frames_that_are_answered() -> None:
    _, agent = connected()
    update = http2_frame(WINDOW_UPDATE, LANE_STREAM, (1).to_bytes(4, "big"))
    heard(agent, update * (2 * limits.CONTROL_FRAMES_PER_SECOND), NOW + 10)
    assert not agent.ended


def test_late_data_of_a_refused_body_is_dropped_without_an_answer() -> None:
    stub, agent = connected()
    stub.send_headers(3, stream_head(b"/body/1"))
    carry(stub, agent)
    agent.break_stream(3, ErrorCodes.NO_ERROR)
    agent.data_to_send()
    assert heard(agent, http2_frame(DATA, 3, b"late") * 5000, NOW) == []
    assert agent.data_to_send() == b""


def test_h2_still_answers_late_data_so_the_override_is_still_needed() -> None:
    plain = H2Connection(H2Configuration(client_side=False, header_encoding=None))
    stub = TunnelConnection(client_side=True)
    stub.start()
    stub.send_headers(1, stream_head(b"/body/1"))
    plain.receive_data(stub.data_to_send())
    plain.reset_stream(1)
    plain.clear_outbound_data_buffer()
    plain.receive_data(http2_frame(DATA, 1, b"late"))
    assert [kind for kind, *_ in http2_frames(plain.data_to_send())] == [RST_STREAM]


def test_data_behind_a_streams_end_is_refused() -> None:
    stub, agent = connected()
    stub.send_headers(3, stream_head(b"/body/1"), end_stream=True)
    carry(stub, agent)
    agent.answer(3, end=True)
    agent.forget(3)
    with pytest.raises(PeerViolation, match="StreamClosedError"):
        heard(agent, http2_frame(DATA, 3, b"more"), NOW)


# GOAWAY --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("client_side", [True, False])
def test_goaway_ends_everything_at_once_which_is_why_a_drain_is_a_frame_of_our_own(client_side: bool) -> None:
    connection = connected()[0 if client_side else 1]
    [event] = heard(connection, http2_frame(GOAWAY, 0, bytes(8)), NOW)
    assert isinstance(event, ConnectionTerminated)
    assert connection.ended
    with pytest.raises(PeerViolation, match="ProtocolError"):
        heard(connection, http2_frame(DATA, LANE_STREAM, b"x"), NOW)


def test_sending_on_an_ended_connection_does_nothing() -> None:
    _, agent = connected()
    heard(agent, http2_frame(GOAWAY, 0, bytes(8)), NOW)
    agent.give_credit(10, LANE_STREAM)
    agent.answer(LANE_STREAM, end=True)
    agent.break_stream(LANE_STREAM, ErrorCodes.CANCEL)
    assert agent.room(LANE_STREAM) == 0
    assert agent.data_to_send() == b""


def test_sending_on_an_ended_stream_does_nothing() -> None:
    stub, agent = connected()
    stub.send_headers(3, stream_head(b"/body/1"))
    stub.reset_stream(3)
    carry(stub, agent)
    agent.give_credit(10, 3)
    agent.answer(3, end=True)
    agent.break_stream(3, ErrorCodes.CANCEL)
    assert agent.room(3) == 0
    assert agent.data_to_send() == b""


def test_a_window_that_the_peer_made_negative_has_no_room() -> None:
    stub, agent = connected()
    stub.send_headers(3, stream_head(b"/body/1"))
    stub.send_data(3, bytes(1000))
    carry(stub, agent)
    agent.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 10})
    carry(agent, stub)
    assert stub.local_flow_control_window(3) == 10 - 1000
    assert stub.room(3) == 0


def test_a_frame_larger_than_we_like_is_not_sent_although_the_peer_takes_it() -> None:
    stub, agent = connected()
    agent.update_settings({SettingCodes.MAX_FRAME_SIZE: 2**24 - 1})
    carry(agent, stub)
    assert stub.largest_data == limits.DATA_BYTES


@pytest.mark.parametrize(
    "error", [ValueError, KeyError, IndexError, TypeError, AttributeError, AssertionError]
)
def test_whatever_h2_raises_on_hostile_input_is_the_peers_violation(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, agent = connected()

    def fail(data: bytes) -> list[Event]:
        raise error("inside h2")

    monkeypatch.setattr(agent, "receive_data", fail)
    with pytest.raises(PeerViolation, match=f"malformed input .{error.__name__}."):
        heard(agent, b"\0\0\1\6\0\0\0\0\0", NOW)


def test_a_reset_by_the_peer_is_an_event() -> None:
    stub, agent = connected()
    stub.send_headers(3, stream_head(b"/body/1"))
    stub.reset_stream(3, ErrorCodes.CANCEL)
    assert [type(event) for event in carry(stub, agent)] == [RequestReceived, StreamReset]


def test_the_overrides_were_made_for_this_h2() -> None:
    assert importlib.metadata.version("h2").startswith("4.4."), (
        "read the new h2 against tunnel/core/session/http2.py"
    )
