"""A session handles so many frames in a turn, whatever they are; the rest keeps its order and waits."""

import pytest

from tests.unit.core.session.pair import Pair, greeted, heard, http2_frame, of, request, upload
from tunnel.core import limits
from tunnel.core.identifiers import RequestId
from tunnel.core.session.events import BodyEnded, BodyReceived
from tunnel.core.session.http2 import LANE_STREAM
from tunnel.core.wire.exchange import Cancel, Refused, Request

DATA, HEADERS, RST_STREAM, PING, WINDOW_UPDATE = 0x0, 0x1, 0x3, 0x6, 0x8
TURN = limits.FRAMES_PER_TURN
CREDIT = http2_frame(WINDOW_UPDATE, LANE_STREAM, (1).to_bytes(4, "big"))
RESET = http2_frame(RST_STREAM, 99, bytes(4))
REFUSED = Refused(RequestId(1), True, 503, "").encode()
SKIPPED = b"\x18\0\0\0\0"  # of a later version

at_both_ends = pytest.mark.parametrize("at_stub", [True, False], ids=["stub", "agent"])


def turns(pair: Pair, data: bytes, *, at_stub: bool) -> list[int]:
    """How many frames each turn takes of `data`."""
    end, taken = pair.stub if at_stub else pair.agent, []
    while data or end.unread:
        end.receive(data, pair.now)
        taken.append(TURN - end._http2.frames_left)
        data = b""
    return taken


@at_both_ends
@pytest.mark.parametrize("frame", [CREDIT, RESET], ids=["credit", "reset"])
def test_a_read_full_of_the_smallest_frames_takes_many_turns(frame: bytes, at_stub: bool) -> None:
    taken = turns(greeted(), frame * 4800, at_stub=at_stub)
    assert taken == [TURN] * (4800 // TURN)


@at_both_ends
@pytest.mark.parametrize(
    "frame", [SKIPPED, Cancel(RequestId(1)).encode(), REFUSED], ids=["skipped", "cancel", "refused"]
)
def test_one_data_frame_full_of_the_lanes_smallest_takes_many_turns(frame: bytes, at_stub: bool) -> None:
    taken = turns(greeted(), http2_frame(DATA, LANE_STREAM, frame * 400), at_stub=at_stub)
    assert sum(taken) == 401
    assert taken[:-1] == [TURN] * (401 // TURN)


@at_both_ends
def test_a_frame_that_costs_more_counts_for_more(at_stub: bool) -> None:
    taken = turns(greeted(), http2_frame(PING, 0, bytes(8)) * 80, at_stub=at_stub)
    assert sum(taken) == 80 * 8
    assert max(taken) == TURN


def test_an_ordinary_read_is_one_turn() -> None:
    pair = greeted()
    sent = [request(number) for number in range(1, 33)]
    for one in sent:
        pair.stub.send_request(one)
    assert pair.agent.receive(pair.stub.output(), pair.now) == sent
    assert not pair.agent.unread


def uploads(pair: Pair, count: int) -> bytes:
    """What the stub sends for so many requests with a short body each."""
    for number in range(1, count + 1):
        pair.stub.send_request(upload(number))
    output = bytes(pair.stub.output())
    for number in range(1, count + 1):
        pair.stub.send_body(RequestId(number), b"body")
        pair.stub.end_body(RequestId(number))
    return output + pair.stub.output()


def test_nothing_overtakes_what_waits_on_the_lane() -> None:
    count = 2 * TURN
    pair = greeted()
    said = heard(pair.agent, uploads(pair, count), pair.now)
    assert [one.id for one in of(Request, said)] == list(range(1, count + 1))
    assert [one.id for one in of(BodyEnded, said)] == list(range(1, count + 1))


def test_what_arrives_meanwhile_comes_behind_what_waits() -> None:
    count = 2 * TURN
    pair = greeted()
    data = uploads(pair, count)
    said = [
        event
        for start in range(0, len(data), 900)
        for event in pair.agent.receive(data[start:][:900], pair.now)
    ]
    said += heard(pair.agent, b"", pair.now)
    assert [one.id for one in of(Request, said)] == list(range(1, count + 1))
    assert [(one.id, one.data) for one in of(BodyReceived, said)] == [
        (number, b"body") for number in range(1, count + 1)
    ]


def test_a_frame_that_is_cut_where_a_turn_ends_is_joined() -> None:
    pair = greeted()
    body = http2_frame(DATA, LANE_STREAM, request(1).encode())
    end = CREDIT * (TURN - 1) + body
    said = [*pair.agent.receive(end[: len(end) - len(body) + 9], pair.now)]
    assert said == []
    assert heard(pair.agent, end[len(end) - len(body) + 9 :], pair.now) == [request(1)]
