"""Whatever a peer sends, a session says events or PeerViolation, and can still be asked for its last words."""

from collections.abc import Callable, Iterable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.core.properties import cuts, pieces
from tests.unit.core.session.pair import STUB_HELLO, Pair, greeted, heard, http2_frame, upload
from tests.unit.core.session.traffic import http2_noise, session_of_every_kind, spoilings, spoilt, survive
from tunnel.core.session.agent_side import AgentSession
from tunnel.core.session.events import BodyReceived, BodyWanted
from tunnel.core.session.http2 import LANE_STREAM
from tunnel.core.session.stub_side import StubSession
from tunnel.core.wire.control import AgentHello

TO_AGENT, TO_STUB = session_of_every_kind()
Session = StubSession | AgentSession


def fresh_stub() -> StubSession:
    stub = StubSession(STUB_HELLO, 1000.0)
    stub.output()
    return stub


def uploading_stub() -> StubSession:
    """A stub's session with the bodies under way that the recorded traffic is about."""
    stub = fresh_stub()
    for number in (2, 3, 4):
        stub.send_request(upload(number))
    stub.output()
    return stub


def fresh_agent() -> AgentSession:
    return AgentSession(1000.0)


def busy() -> Pair:
    """A pair with bodies under way, one of them refused before its stream came."""
    pair = greeted()
    for number in (1, 2):
        pair.stub.send_request(upload(number))
    pair.settle()
    pair.stub._lane.queue(upload(3).encode())
    pair.to_agent()
    pair.agent.refuse_body(upload(3).id)
    return pair


SESSIONS: list[Callable[[], Session]] = [
    fresh_stub,
    fresh_agent,
    lambda: busy().stub,
    lambda: busy().agent,
]
every_session = pytest.mark.parametrize("session", SESSIONS, ids=["new-stub", "new-agent", "stub", "agent"])


@every_session
@given(st.binary(max_size=300), cuts)
def test_random_bytes(session: Callable[[], Session], garbage: bytes, sizes: list[int]) -> None:
    survive(session(), list(pieces(garbage, sizes)))


@every_session
@given(st.lists(http2_noise, max_size=12), st.booleans())
def test_random_http2_frames(session: Callable[[], Session], frames: list[bytes], together: bool) -> None:
    survive(session(), [b"".join(frames)] if together else frames)


@every_session
@given(st.lists(st.tuples(st.integers(0, 0x18), st.binary(max_size=60)), max_size=6))
def test_random_lane_frames(session: Callable[[], Session], frames: list[tuple[int, bytes]]) -> None:
    hello = AgentHello().encode()
    lane = b"".join(bytes([kind]) + len(payload).to_bytes(4, "big") + payload for kind, payload in frames)
    survive(session(), [http2_frame(0, LANE_STREAM, hello), http2_frame(0, LANE_STREAM, lane)])


@settings(max_examples=200)
@given(spoilings, st.integers(1, 5000))
def test_spoilt_traffic_to_an_agent(spoiling: list[tuple[int, int, bytes]], size: int) -> None:
    survive(fresh_agent(), list(pieces(spoilt(TO_AGENT, spoiling), [size])))


@settings(max_examples=200)
@given(spoilings, st.integers(1, 5000))
def test_spoilt_traffic_to_a_stub(spoiling: list[tuple[int, int, bytes]], size: int) -> None:
    survive(uploading_stub(), list(pieces(spoilt(TO_STUB, spoiling), [size])))


def kinds(events: Sequence[object]) -> set[str]:
    return {type(event).__name__ for event in events}


def test_the_traffic_that_is_spoilt_holds_every_kind_of_event() -> None:
    agent, stub = fresh_agent(), uploading_stub()
    at_agent, at_stub = kinds(heard(agent, TO_AGENT, 1001.0)), kinds(heard(stub, TO_STUB, 1001.0))
    bodies = {"BodyReceived", "BodyEnded", "BodyBroken"}
    assert at_agent == {"StubHello", "Active", "Request", "Cancel", "Drain", *bodies}
    assert at_stub == {"AgentHello", "Report", "Refused", "Drain", "BodyRefused", "BodyWanted"}


def told_of(session: Session, chunks: Iterable[bytes]) -> list[object]:
    """What a session says; when a body is wanted, and in which pieces it comes, depends on where the input was cut."""
    told: list[object] = []
    bodies: dict[int, bytearray] = {}
    for event in (event for chunk in chunks for event in heard(session, chunk, 1001.0)):
        if isinstance(event, BodyReceived):
            bodies.setdefault(event.id, bytearray()).extend(event.data)
        elif not isinstance(event, BodyWanted):
            told.append(event)
    return [*told, *bodies.items()]


@settings(max_examples=20)
@given(cuts)
def test_honest_traffic_says_the_same_whole_byte_by_byte_and_in_any_pieces(sizes: list[int]) -> None:
    for stream, session in ((TO_AGENT, fresh_agent), (TO_STUB, uploading_stub)):
        whole = told_of(session(), [stream])
        assert told_of(session(), pieces(stream, [1])) == whole
        assert told_of(session(), pieces(stream, sizes)) == whole
