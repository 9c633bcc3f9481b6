"""HELLO comes first, from the stub, and once; what is unknown behind it is skipped; the session's ends are told."""

import pytest

from tests.unit.core.session.pair import (
    AGENT_HELLO,
    START,
    STUB_HELLO,
    Pair,
    greeted,
    http2_frame,
    request,
)
from tunnel.core import limits
from tunnel.core.errors import LocalMisuse, PeerViolation
from tunnel.core.identifiers import RequestId
from tunnel.core.session.agent_side import AgentSession
from tunnel.core.session.events import DrainHeard, SessionClosed
from tunnel.core.session.http2 import LANE_STREAM
from tunnel.core.session.stub_side import StubSession
from tunnel.core.wire.control import Active, Drain, Reject, Report
from tunnel.core.wire.exchange import Cancel, Refused
from tunnel.core.wire.framing import FRAME_HEADER, FrameType, encode_frame

UNKNOWN = FRAME_HEADER.pack(0x7F, 5) + b"later"
GOAWAY, RST_STREAM = 0x7, 0x3
STUB_FRAMES = [
    request(1).encode(),
    Cancel(RequestId(1)).encode(),
    Active("uid", 1).encode(),
    Drain().encode(),
]
AGENT_FRAMES = [Refused(RequestId(1), True, 503, "").encode(), Report().encode(), Drain().encode()]


def test_the_stub_speaks_first_and_the_agent_answers() -> None:
    pair = Pair()
    assert pair.agent.output() != b"", "the agent's HTTP/2 settings need not wait"
    assert pair.said_at_agent() == [STUB_HELLO]
    assert pair.agent.stub == STUB_HELLO
    pair.agent.send_hello(AGENT_HELLO)
    assert pair.said_at_stub() == [AGENT_HELLO]
    assert pair.stub.agent == AGENT_HELLO


def test_an_agents_hello_before_the_stubs_is_our_own_mistake() -> None:
    with pytest.raises(LocalMisuse):
        AgentSession(START).send_hello(AGENT_HELLO)


@pytest.mark.parametrize("frame", [*STUB_FRAMES, UNKNOWN], ids=lambda frame: hex(frame[0]))
def test_an_agent_takes_no_frame_before_the_stubs_hello(frame: bytes) -> None:
    pair = Pair()
    pair.stub._lane._waiting[0:0] = [frame]
    pair.stub._lane.waiting_bytes += len(frame)
    with pytest.raises(PeerViolation, match="before HELLO"):
        pair.to_agent()


@pytest.mark.parametrize("frame", [*AGENT_FRAMES, UNKNOWN], ids=lambda frame: hex(frame[0]))
def test_a_stub_takes_no_frame_before_the_agents_hello(frame: bytes) -> None:
    pair = Pair().settle()
    pair.agent._lane.queue(frame)
    with pytest.raises(PeerViolation, match="before HELLO"):
        pair.to_stub()


def test_a_rejection_may_come_instead_of_a_hello() -> None:
    pair = Pair().settle()
    pair.agent.send_reject("no common version")
    pair.stub.send_reject("going away")
    assert pair.said_at_stub() == [Reject("no common version")]
    assert pair.said_at_agent()[-1] == Reject("going away")


def test_a_second_hello_is_refused_on_both_ends() -> None:
    pair = greeted()
    pair.stub._lane.queue(STUB_HELLO.encode())
    with pytest.raises(PeerViolation, match="a second HELLO"):
        pair.to_agent()
    pair.agent._lane.queue(AGENT_HELLO.encode())
    with pytest.raises(PeerViolation, match="a second HELLO"):
        pair.to_stub()


def test_unknown_frames_and_frames_of_the_other_direction_are_skipped_behind_it() -> None:
    pair = greeted()
    for frame in (UNKNOWN, *AGENT_FRAMES[:2], encode_frame(FrameType.DATA, b"x")):
        pair.stub._lane.queue(frame)
    for frame in (UNKNOWN, *STUB_FRAMES[:3], encode_frame(FrameType.DONE)):
        pair.agent._lane.queue(frame)
    pair.stub.send_drain("later")
    pair.agent.send_drain("later")
    assert pair.said_at_agent() == [Drain("later"), DrainHeard()]
    assert pair.said_at_stub() == [Drain("later")]


def test_a_frame_that_announces_too_much_ends_the_session_on_its_header_alone() -> None:
    pair = greeted()
    header = FRAME_HEADER.pack(FrameType.REQUEST, limits.FRAME_BYTES + 1)
    pair.stub._lane.queue(header)
    pair.agent._lane.queue(header)
    with pytest.raises(PeerViolation, match="announces 1048577 bytes"):
        pair.to_agent()
    with pytest.raises(PeerViolation, match="announces 1048577 bytes"):
        pair.to_stub()


def test_everything_the_stub_says_reaches_the_agent_in_order() -> None:
    pair = greeted()
    pair.stub.send_active(Active("uid", 3))
    pair.stub.send_request(request(1))
    pair.stub.send_cancel(RequestId(1))
    pair.stub.send_drain("bye")
    assert pair.said_at_agent() == [Active("uid", 3), request(1), Cancel(RequestId(1)), Drain("bye")]


@pytest.mark.parametrize("number", [1, 2])
def test_request_ids_must_rise(number: int) -> None:
    pair = greeted()
    pair.stub.send_request(request(2))
    pair.stub.send_request(request(number))
    with pytest.raises(PeerViolation, match=f"request id {number} after 2"):
        pair.to_agent()


def test_request_ids_may_leave_some_out() -> None:
    pair = greeted()
    pair.stub.send_request(request(2))
    pair.stub.send_request(request(2**64 - 1))
    assert pair.said_at_agent() == [request(2), request(2**64 - 1)]


# Ends ----------------------------------------------------------------------------------------------


def test_a_goaway_closes_the_session_on_both_ends() -> None:
    goaway = http2_frame(GOAWAY, 0, bytes(8))
    pair = greeted()
    assert pair.stub.receive(goaway, pair.now) == [SessionClosed("the agent ended the session (code 0)")]
    assert pair.agent.receive(goaway, pair.now) == [SessionClosed("the stub ended the session (code 0)")]


@pytest.mark.parametrize(("kind", "flags", "payload"), [(0x0, 0x1, b""), (RST_STREAM, 0, bytes(4))])
def test_the_end_of_the_lane_closes_the_session_on_both_ends(kind: int, flags: int, payload: bytes) -> None:
    end = http2_frame(kind, LANE_STREAM, payload, flags)
    pair = greeted()
    assert pair.stub.receive(end, pair.now) == [SessionClosed("the agent ended the lane")]
    assert pair.agent.receive(end, pair.now) == [SessionClosed("the stub ended the lane")]


def use_everything(session: StubSession | AgentSession) -> None:
    session.send_drain("too late")
    session.send_reject("too late")
    session.output()
    if isinstance(session, StubSession):
        session.send_request(request(5))
        session.send_request(request(6, body_stream=True, body_length=-1))
        session.end_body(RequestId(6))
        session.break_body(RequestId(6))
    else:
        session.send_report(Report())
        session.refuse_body(RequestId(6))
    session.output()


@pytest.mark.parametrize(
    "end",
    [http2_frame(GOAWAY, 0, bytes(8)), http2_frame(RST_STREAM, LANE_STREAM, bytes(4))],
    ids=["goaway", "lane"],
)
def test_an_ended_session_can_still_be_used_until_its_owner_knows(end: bytes) -> None:
    pair = greeted()
    for session in (pair.stub, pair.agent):
        session.receive(end, pair.now)
        use_everything(session)


@pytest.mark.parametrize("garbage", [b"\0" * 64, b"\xff" * 64, b"GET / HTTP/1.1\r\n\r\n" * 2])
def test_a_session_that_met_garbage_still_writes_what_it_can(garbage: bytes) -> None:
    pair = greeted()
    for session in (pair.stub, pair.agent):
        with pytest.raises(PeerViolation):
            session.receive(garbage, pair.now)
        use_everything(session)


def test_a_lost_peer_is_given_up_by_both_ends() -> None:
    pair = greeted()
    for session in (pair.stub, pair.agent):
        assert session.next_tick == START + limits.PING_SECONDS
        assert not session.tick(START + limits.PING_SECONDS)
        assert session.output() != b"", "a PING"
        assert not session.tick(START + limits.PING_SECONDS + limits.PONG_SECONDS - 0.1)
        assert session.tick(START + limits.PING_SECONDS + limits.PONG_SECONDS)


def test_a_ping_is_answered_and_keeps_the_session() -> None:
    pair = greeted()
    for turn in range(1, 20):
        pair.now = START + turn * limits.PING_SECONDS
        assert not pair.stub.tick(pair.now)
        assert not pair.agent.tick(pair.now)
        pair.settle()


def test_an_ended_session_is_given_up_at_the_next_tick() -> None:
    pair = greeted()
    for session in (pair.stub, pair.agent):
        session.receive(http2_frame(GOAWAY, 0, bytes(8)), pair.now)
        assert session.tick(pair.now)
