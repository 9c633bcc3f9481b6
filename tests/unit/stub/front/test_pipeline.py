"""Requests of one connection that do not wait for each other's answers."""

from tests.unit.fakes import settle
from tests.unit.stub.parts import FarAgent, FarChannel, Stub, request_bytes

GET = request_bytes("GET /api/v1/pods")


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
