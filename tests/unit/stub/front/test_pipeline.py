"""Requests of one connection that do not wait for each other's answers."""

import pytest

from tests.unit.fakes import Clock, settle
from tests.unit.stub.parts import FarAgent, FarChannel, Stub, request_bytes
from tunnel.core import limits

GET = request_bytes("GET /api/v1/pods")
REFUSED = request_bytes("GET /api", "Impersonate-User: root")
MOST = limits.PIPELINED_REQUESTS


async def test_pipelined_requests_are_asked_and_answered_in_order(
    stub: Stub, agent: FarAgent, channel: FarChannel
) -> None:
    user = stub.user()
    user.send(request_bytes("GET /1") + request_bytes("POST /2", "Content-Length: 2", body=b"ab") + GET)
    assert not user.stream.reading
    seen = []
    for number in (1, 2, 3):
        (request,) = agent.asked()
        seen.append((request.head.target, request.body))
        channel.answer(request.id, b"%d" % number)
        await settle()
    assert seen == [(b"/1", b""), (b"/2", b"ab"), (b"/api/v1/pods", b"")]
    assert [user.take().count(b"HTTP/1.1 200 OK"), user.stream.reading] == [3, True]


async def test_pipelined_requests_wait_until_the_answers_before_them_are_taken(
    stub: Stub, agent: FarAgent, channel: FarChannel
) -> None:
    user = stub.user()
    user.send(GET + GET)
    user.stream.pause_writing()
    channel.answer(1, b"abc")
    await settle()
    assert [request.id for request in agent.asked()] == [1]
    user.stream.resume_writing()
    assert [request.id for request in agent.asked()] == [2]


async def test_of_requests_whose_client_has_left_none_is_begun(stub: Stub, agent: FarAgent) -> None:
    user = stub.user()
    user.send(GET + GET + GET)
    user.stream.lose()
    await settle()
    assert [request.id for request in agent.asked()] == [1]
    assert stub.book.codes == [0, 0, 0]


async def test_one_whose_body_breaks_before_its_turn_is_not_begun_and_the_ones_before_it_are_answered(
    stub: Stub, agent: FarAgent, channel: FarChannel
) -> None:
    user = stub.user()
    user.send(GET + request_bytes("POST /2", "Transfer-Encoding: chunked", body=b"no size\r\n"))
    channel.answer(1, b"abc")
    await settle()
    assert len(agent.asked()) == 1
    assert user.take().count(b"HTTP/1.1 ") == 2
    assert stub.book.codes == [0, 200, 400]


async def test_of_a_read_full_of_refusals_one_is_answered_in_a_turn_and_all_in_order(
    stub: Stub, agent: FarAgent
) -> None:
    user = stub.user()
    user.send(REFUSED * 5 + GET)
    for count in range(1, 6):
        assert user.take().count(b"HTTP/1.1 403") == 1
        assert stub.book.codes == [403] * count
        assert agent.asked() == []
        assert not user.stream.reading
        await settle(1)
    assert user.take() == b""
    assert len(agent.asked()) == 1
    assert user.stream.reading


async def test_refusals_that_the_client_does_not_take_do_not_pile_up(stub: Stub, agent: FarAgent) -> None:
    user = stub.user()
    user.send(REFUSED * 5)
    user.stream.pause_writing()
    await settle()
    assert stub.book.codes == [403]
    user.stream.resume_writing()
    await settle()
    assert stub.book.codes == [403] * 5


async def test_a_client_that_takes_no_answers_is_cut_in_time_with_requests_waiting(
    stub: Stub, agent: FarAgent, clock: Clock
) -> None:
    user = stub.user()
    user.send(REFUSED * 5)
    user.stream.pause_writing()
    await settle()
    await clock.advance(limits.IDLE_SECONDS - 1)
    assert not user.stream.closing
    await clock.advance(1)
    assert user.stream.aborted


async def test_as_many_requests_as_one_read_may_hold_are_answered(
    stub: Stub, agent: FarAgent, channel: FarChannel
) -> None:
    user = stub.user()
    user.send(GET * MOST)
    for number in range(1, MOST + 1):
        channel.answer(number)
        await settle()
    assert stub.book.codes == [200] * MOST
    assert user.stream.reading


@pytest.mark.parametrize("one", [GET, REFUSED], ids=["asked", "refused"])
async def test_a_read_of_more_requests_than_anybody_sends_ends_the_connection_behind_those(
    stub: Stub, agent: FarAgent, channel: FarChannel, one: bytes
) -> None:
    user = stub.user()
    user.send(one * 3_000)
    for request in range(1, MOST + 1):
        if one is GET:
            channel.answer(request)
        await settle()
    await settle()
    assert stub.book.codes == [200 if one is GET else 403] * MOST + [400]
    assert user.take().count(b"HTTP/1.1 ") == MOST + 1
    assert user.stream.ended


async def test_a_refusal_whose_body_never_comes_is_written_when_its_turn_comes(stub: Stub) -> None:
    user = stub.user()
    user.send(REFUSED + request_bytes("POST /api", "Impersonate-User: root", "Content-Length: 5", body=b"ab"))
    await settle()
    assert stub.book.codes == [403, 403]
    assert user.stream.ended


async def test_an_upgrade_behind_a_request_that_ends_the_connection_is_never_begun(
    stub: Stub, agent: FarAgent
) -> None:
    user = stub.user()
    last = request_bytes("GET /api", "Expect: miracles")
    user.send(REFUSED + last + request_bytes("GET /exec", "Connection: Upgrade", "Upgrade: SPDY/3.1"))
    await settle()
    assert stub.book.codes == [403, 417]
    assert user.stream.ended
    user.stream.pause_writing()
    user.stream.resume_writing()
    await settle()
    assert agent.asked() == []
