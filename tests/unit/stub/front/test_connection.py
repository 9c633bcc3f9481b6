"""A user's connection: requests in, answers out in the same order, until it closes."""

import pytest

from tests.unit.fakes import Clock, settle
from tests.unit.stub.parts import FarAgent, FarChannel, Stub, request_bytes
from tunnel.core import limits
from tunnel.core.session.events import BodyReceived
from tunnel.core.wire.exchange import Cancel, Request

GET = request_bytes("GET /api/v1/pods")


# Requests ----------------------------------------------------------------------------------------


async def test_a_request_reaches_an_agent_and_its_answer_the_user(
    stub: Stub, agent: FarAgent, channel: FarChannel
) -> None:
    user = stub.user()
    user.ask("GET /api/v1/pods?limit=5", "Accept: */*")
    (request,) = agent.asked()
    assert (request.head.method, request.head.target) == (b"GET", b"/api/v1/pods?limit=5")
    channel.answer(request.id, b"{}", fields=[(b"Content-Type", b"application/json")])
    assert user.take() == (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    )
    assert not user.stream.closing


async def test_a_head_may_come_byte_by_byte(stub: Stub, agent: FarAgent) -> None:
    user = stub.user()
    for byte in request_bytes("GET /api", "Accept:   spaced out  "):
        user.send(bytes([byte]))
    (request,) = agent.asked()
    assert request.head.fields == [(b"Accept", b"spaced out")]


async def test_requests_follow_each_other_on_one_connection(
    stub: Stub, agent: FarAgent, channel: FarChannel
) -> None:
    user = stub.user()
    for number in (1, 2, 3):
        user.ask()
        channel.answer(number, b"%d" % number)
        assert user.answer()[2] == b"%d" % number
    assert stub.book.codes == [200, 200, 200]


@pytest.mark.parametrize("field", ["Trailer-Field: x", "X-Smuggled: 1"])
async def test_trailers_are_dropped(stub: Stub, agent: FarAgent, field: str) -> None:
    user = stub.user()
    body = f"2\r\nab\r\n0\r\n{field}\r\n\r\n".encode()
    user.ask("POST /api", "Transfer-Encoding: chunked", body=body)
    (request,) = agent.asked()
    assert request.head.fields == []
    assert request.body == b"ab"


# Refusals ----------------------------------------------------------------------------------------


async def test_a_refusal_of_a_whole_request_keeps_the_connection(stub: Stub, agent: FarAgent) -> None:
    user = stub.user()
    user.ask("GET /api", "Impersonate-User: root")
    status, fields, body = user.answer()
    assert (status, "connection" in fields) == (403, False)
    assert b'"kind":"Status"' in body
    user.ask()
    assert len(agent.asked()) == 1


async def test_a_refusal_whose_body_is_still_to_come_closes_behind_the_answer(
    stub: Stub, agent: FarAgent
) -> None:
    user = stub.user()
    user.ask("POST /api", "Impersonate-User: root", "Content-Length: 5", body=b"ab")
    status, fields, _ = user.answer()
    assert (status, fields["connection"]) == (403, "close")
    assert user.stream.ended
    assert not user.stream.closed
    user.send(b"cde" + GET)
    assert agent.asked() == []


async def test_a_user_who_sends_on_behind_the_answer_is_read_for_a_while(
    stub: Stub, agent: FarAgent, clock: Clock
) -> None:
    user = stub.user()
    user.ask("POST /api", "Impersonate-User: root", "Content-Length: 5")
    assert user.stream.reading
    await clock.advance(limits.LINGER_SECONDS)
    assert user.stream.aborted


@pytest.mark.parametrize(
    ("bad", "status"),
    [
        (b"GET /api HTTP/1.1\r\nHost: a\r\nExpect: miracles\r\n\r\n", 417),
        (b"GET /api HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"TRACE /api HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"GET api HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ],
)
async def test_nothing_behind_a_refusal_that_closes_is_carried_out(
    stub: Stub, agent: FarAgent, bad: bytes, status: int
) -> None:
    """What follows could be a smuggled request, and its answer could not be sent."""
    user = stub.user()
    user.send(bad + request_bytes("DELETE /api/v1/namespaces/prod"))
    await settle()
    user.stream.lose()
    found, fields, rest = user.answer()
    assert (found, fields["connection"]) == (status, "close")
    assert b"HTTP/1.1 4" not in rest
    assert agent.asked() == []
    assert stub.book.codes == [status]


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01\x02\x00", b"GET / HTTP/9.9\r\n\r\n", b"nonsense\r\n\r\n"])
async def test_garbage_is_answered_once_and_the_connection_closed(stub: Stub, garbage: bytes) -> None:
    user = stub.user()
    user.send(garbage)
    assert user.answer()[0] == 400
    assert user.stream.ended or user.stream.closed
    user.send(garbage)
    assert user.take() == b""
    assert stub.book.codes == [400]


async def test_garbage_behind_a_whole_request_does_not_change_its_answer(
    stub: Stub, agent: FarAgent, channel: FarChannel
) -> None:
    user = stub.user()
    user.send(GET + b"\x00\x01garbage")
    (request,) = agent.asked()
    assert agent.heard(Cancel) == []
    channel.answer(request.id, b"{}")
    await settle()
    data = user.take()
    assert data.startswith(b"HTTP/1.1 200 OK")
    assert b"HTTP/1.1 400 Bad Request" in data
    assert stub.book.codes == [200, 400]


async def test_a_body_that_breaks_the_rules_is_refused_and_cancelled_at_the_agent(
    stub: Stub, agent: FarAgent, channel: FarChannel
) -> None:
    user = stub.user()
    user.ask("POST /api", "Transfer-Encoding: chunked", body=b"2\r\nab\r\n")
    (request,) = agent.asked()
    user.send(b"not a chunk\r\n")
    assert user.answer()[0] == 400
    assert agent.heard(Cancel) == [Cancel(request.id)]
    channel.answer(request.id, b"late")
    assert stub.book.codes == [400]
    assert user.take() == b""


async def test_a_broken_body_under_an_answer_that_has_begun_cuts_it(
    stub: Stub, agent: FarAgent, channel: FarChannel
) -> None:
    user = stub.user()
    user.ask("POST /api", "Transfer-Encoding: chunked", body=b"2\r\nab\r\n")
    channel.head(1)
    user.send(b"not a chunk\r\n")
    assert user.stream.aborted
    assert len(stub.book.lines) == 1


async def test_a_head_above_the_limit_is_refused(stub: Stub) -> None:
    user = stub.user()
    user.send(b"GET /api HTTP/1.1\r\nHost: a\r\nX-Large: " + bytes(b"x" * (limits.HEAD_BYTES + 1)))
    assert user.answer()[0] == 431


async def test_too_many_fields_are_refused(stub: Stub) -> None:
    user = stub.user()
    user.ask("GET /api", *(f"X-{number}: 1" for number in range(limits.FIELD_COUNT)))
    assert user.answer()[0] == 431


# Time --------------------------------------------------------------------------------------------


async def test_an_idle_connection_is_closed_in_time(stub: Stub, clock: Clock) -> None:
    user = stub.user()
    await clock.advance(limits.IDLE_SECONDS - 1)
    assert not user.stream.closing
    await clock.advance(1)
    assert user.stream.closed


async def test_idle_time_begins_behind_the_last_answer(
    stub: Stub, agent: FarAgent, channel: FarChannel, clock: Clock
) -> None:
    user = stub.user()
    await clock.advance(limits.IDLE_SECONDS - 1)
    user.ask()
    channel.answer(1)
    await clock.advance(limits.IDLE_SECONDS - 1)
    assert not user.stream.closing
    await clock.advance(1)
    assert user.stream.closed


async def test_a_head_that_does_not_arrive_in_time_is_refused(stub: Stub, clock: Clock) -> None:
    user = stub.user()
    user.send(GET[:20])
    await clock.advance(limits.HEAD_SECONDS - 1)
    user.send(GET[20:25])
    assert user.take() == b""
    await clock.advance(1)
    assert user.answer()[0] == 400
    await clock.advance(limits.LINGER_SECONDS)
    assert user.stream.aborted


async def test_behind_a_malformed_head_that_never_ends_the_connection_does(stub: Stub, clock: Clock) -> None:
    user = stub.user()
    user.send(b"GET /api HTTP/1.1\r\nHost: a\r\nbad field\r\n")
    assert user.answer()[0] == 400
    await clock.advance(limits.LINGER_SECONDS)
    assert user.stream.aborted


async def test_a_running_request_has_no_time_limit(
    stub: Stub, agent: FarAgent, channel: FarChannel, clock: Clock
) -> None:
    user = stub.user()
    user.ask("GET /api/v1/pods?watch=1")
    channel.head(1)
    await clock.advance(86_400)
    channel.data(b"event")
    assert user.take().endswith(b"5\r\nevent\r\n")


async def test_white_space_behind_a_request_does_not_limit_it(
    stub: Stub, agent: FarAgent, channel: FarChannel, clock: Clock
) -> None:
    user = stub.user()
    user.send(GET + b"\r\n")
    user.send(b"\r\n")
    await clock.advance(limits.HEAD_SECONDS + 1)
    channel.answer(1, b"{}")
    assert user.answer()[0] == 200


# Ends --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "version"), [(["Connection: close"], "1.1"), ([], "1.0"), (["Connection: foo, close"], "1.1")]
)
async def test_the_connection_closes_where_the_user_wants_it_to(
    stub: Stub, agent: FarAgent, channel: FarChannel, fields: list[str], version: str
) -> None:
    user = stub.user()
    user.ask("GET /api", *fields, version=version)
    channel.answer(1, b"{}")
    assert user.answer()[1]["connection"] == "close"
    assert user.stream.closed


async def test_an_http_1_0_user_may_keep_the_connection(
    stub: Stub, agent: FarAgent, channel: FarChannel
) -> None:
    user = stub.user()
    user.ask("GET /api", "Connection: keep-alive", version="1.0")
    channel.answer(1, b"{}")
    assert user.answer()[1]["connection"] == "keep-alive"
    assert not user.stream.closing


async def test_a_user_who_leaves_cancels_what_was_asked(stub: Stub, agent: FarAgent) -> None:
    user = stub.user()
    user.send(GET + GET)
    (request,) = agent.asked()
    user.stream.lose(ConnectionResetError("reset"))
    assert agent.heard() == [Cancel(request.id)]
    assert stub.book.reasons == ["client gone: reset"] * 2
    assert stub.office.connections == set()


async def test_a_user_who_leaves_in_the_middle_of_an_answer_frees_the_channel(
    stub: Stub, agent: FarAgent, channel: FarChannel
) -> None:
    user = stub.user()
    user.ask()
    channel.head(1)
    user.stream.lose()
    assert channel.stream.closed
    assert stub.book.codes == [200]


async def test_a_user_who_says_the_end_while_an_answer_is_under_way_has_left(
    stub: Stub, agent: FarAgent, channel: FarChannel
) -> None:
    user = stub.user()
    user.ask("GET /api/v1/pods?watch=1")
    channel.head(1)
    user.stream.receive_end()
    assert channel.stream.closed
    assert user.stream.aborted
    assert stub.book.reasons == ["client gone: it closed the connection"]


async def test_a_user_who_says_the_end_in_the_middle_of_a_request_is_given_up(
    stub: Stub, agent: FarAgent
) -> None:
    user = stub.user()
    user.ask("POST /api", "Content-Length: 5", body=b"ab")
    user.stream.receive_end()
    assert user.stream.aborted
    assert agent.asked() == []


async def test_an_idle_user_who_says_the_end_is_closed(stub: Stub) -> None:
    user = stub.user()
    user.stream.receive_end()
    assert user.stream.closed


# Backpressure ------------------------------------------------------------------------------------


async def test_a_user_who_has_not_taken_one_answer_is_not_read_for_the_next_request(
    stub: Stub, agent: FarAgent, channel: FarChannel
) -> None:
    user = stub.user()
    user.ask()
    channel.head(1, length=3)
    user.stream.pause_writing()
    channel.data(b"abc")
    channel.end()
    assert not user.stream.reading
    user.stream.resume_writing()
    assert user.stream.reading


async def test_a_request_that_begins_while_nothing_is_taken_has_its_answer_held_up_from_the_start(
    stub: Stub, agent: FarAgent, channel: FarChannel
) -> None:
    user = stub.user()
    user.stream.pause_writing()
    user.send(GET)
    channel.head(1)
    channel.data(bytes(limits.SMALL_RESPONSE_BYTES + 1))
    assert not channel.stream.reading
    user.stream.resume_writing()
    assert channel.stream.reading


async def test_a_read_full_of_the_smallest_chunks_is_one_piece_for_the_agent(
    stub: Stub, agent: FarAgent
) -> None:
    user = stub.user()
    user.ask("POST /api", "Transfer-Encoding: chunked")
    agent.asked()
    agent.say()
    user.send(b"1\r\nb\r\n" * 1000)
    user.send(b"1\r\nc\r\n" * 1000 + b"0\r\n\r\n")
    pieces = [event.data for event in agent.heard(BodyReceived)]
    assert pieces == [b"b" * 1000, b"c" * 1000]


async def test_a_body_that_stopped_the_user_does_not_stop_the_next_request(
    stub: Stub, agent: FarAgent
) -> None:
    user = stub.user()
    body = bytes(2 * limits.STREAM_WINDOW_BYTES)
    user.ask("PUT /api", f"Content-Length: {len(body)}", body=body)
    assert not user.stream.reading
    agent.stream.lose()
    assert user.answer()[0] == 502
    assert user.stream.reading


async def test_an_agent_that_takes_no_more_of_a_body_stops_the_user(stub: Stub, agent: FarAgent) -> None:
    user = stub.user()
    user.ask("PUT /api", "Content-Length: 10000000")
    (request,) = agent.asked()
    agent.say()
    while user.stream.reading:
        user.send(bytes(32 * limits.KIB))
    agent.heard()
    agent.core.body_consumed(request.id, limits.STREAM_WINDOW_BYTES)
    agent.say()
    assert user.stream.reading
    assert isinstance(request, Request)
