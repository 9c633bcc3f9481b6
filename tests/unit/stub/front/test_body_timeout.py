"""Clients that stop in the middle of a request's body."""

import pytest

from tests.unit.fakes import Clock, settle
from tests.unit.stub.parts import FarAgent, Stub, User
from tunnel.core import limits
from tunnel.core.session.events import BodyBroken
from tunnel.core.wire.exchange import Cancel

SECONDS = 0.5
"""Short enough for sessions to live without an answer to a PING."""

HALF = SECONDS / 2
LARGE = f"Content-Length: {limits.INLINE_BODY_BYTES + 1}"
CHUNKED = "Transfer-Encoding: chunked"
PROXIED = "/api/v1/namespaces/d/services/s/proxy/upload"


@pytest.fixture
async def stub(clock: Clock) -> Stub:
    stub = Stub()
    stub.office.body_idle_seconds = SECONDS
    return stub


@pytest.fixture
async def user(stub: Stub, agent: FarAgent) -> User:
    return stub.user()


@pytest.mark.parametrize(
    ("field", "body", "asked"),
    [("Content-Length: 4", b"ab", 0), (LARGE, b"ab", 1), (CHUNKED, b"2\r\nab\r\n", 1)],
    ids=["small", "large", "chunked"],
)
async def test_a_body_that_stops_is_answered_408_and_its_request_given_up(
    stub: Stub, agent: FarAgent, user: User, clock: Clock, field: str, body: bytes, asked: int
) -> None:
    user.ask("POST /api/v1/namespaces", field, body=body)
    agent.say()
    assert len(agent.asked()) == asked
    await clock.advance(HALF)
    assert user.take() == b""
    await clock.advance(HALF)
    status, fields, text = user.answer()
    assert (status, fields["connection"]) == (408, "close")
    assert b"stub: nothing of the request's body came for 0.5 s" in text
    assert "retry-after" not in fields
    assert {type(event) for event in agent.heard()} == ({Cancel, BodyBroken} if asked else set())
    assert stub.book.codes == [408]
    assert len(agent.link._uploading) == agent.link.in_flight == 0
    await clock.advance(limits.LINGER_SECONDS)
    assert user.stream.aborted


async def test_every_piece_of_a_body_gives_it_time_anew(agent: FarAgent, user: User, clock: Clock) -> None:
    user.ask("POST /api/v1/namespaces", "Content-Length: 4")
    for piece in (b"a", b"b", b"c"):
        await clock.advance(HALF)
        user.send(piece)
    await clock.advance(HALF)
    user.send(b"d")
    await clock.advance(SECONDS)
    assert len(agent.asked()) == 1
    assert user.take() == b"", "what is whole may be answered late"
    agent.answer(1, b"done")
    assert user.answer()[0] == 200


async def test_the_time_does_not_run_while_the_agent_takes_no_more(
    agent: FarAgent, user: User, clock: Clock
) -> None:
    user.ask("POST /api/v1/namespaces", "Content-Length: 10000000")
    agent.say()
    while user.stream.reading:
        user.send(bytes(32 * limits.KIB))
    await clock.advance(SECONDS * 1.5)
    assert user.take() == b""
    (request,) = agent.asked()
    agent.core.refuse_body(request.id)
    agent.say()
    assert user.stream.reading
    await clock.advance(HALF)
    assert user.take() == b""
    await clock.advance(HALF)
    assert user.answer()[0] == 408


async def test_nor_while_its_request_waits_for_the_answers_before_it(
    agent: FarAgent, user: User, clock: Clock
) -> None:
    user.send(
        b"GET /api HTTP/1.1\r\nHost: a\r\n\r\nPOST /api HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab"
    )
    await clock.advance(SECONDS * 1.5)
    agent.asked()
    agent.answer(1, b"first")
    await settle()
    await clock.advance(HALF)
    assert user.answer()[::2] == (200, b"first")
    await clock.advance(HALF)
    assert user.answer()[0] == 408


@pytest.mark.parametrize("line", [f"POST {PROXIED}", "POST /api/v1/namespaces/d/pods/p/attach"])
async def test_what_may_last_for_hours_may_be_silent_for_hours(
    agent: FarAgent, user: User, clock: Clock, line: str
) -> None:
    user.ask(line, CHUNKED, body=b"2\r\nab\r\n")
    agent.say()
    for _ in range(8):
        await clock.advance(SECONDS)
    assert user.take() == b""
    user.send(b"2\r\ncd\r\n0\r\n\r\n")
    assert agent.heard()


async def test_an_answer_that_has_begun_goes_on_whatever_its_request_does(
    agent: FarAgent, user: User, clock: Clock
) -> None:
    user.ask("POST /api/v1/namespaces", CHUNKED, body=b"2\r\nab\r\n")
    (request,) = agent.asked()
    channel = agent.channel()
    channel.head(request.id)
    await clock.advance(SECONDS * 2)
    channel.data(b"late")
    channel.end()
    status, _, text = user.answer()
    assert (status, text) == (200, b"4\r\nlate\r\n0\r\n\r\n")


async def test_an_upgrade_has_no_body_that_could_stop(agent: FarAgent, user: User, clock: Clock) -> None:
    user.ask("POST /api/v1/namespaces/d/pods/p/exec", "Connection: Upgrade", "Upgrade: SPDY/3.1")
    assert len(agent.asked()) == 1
    await clock.advance(SECONDS * 8)
    assert user.take() == b""
