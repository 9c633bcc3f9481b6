"""What is asked of a second agent, and what never is."""

from collections.abc import AsyncIterator

import pytest

from tests.unit.fakes import Clock
from tests.unit.stub.parts import FarAgent, Stub
from tunnel.core import limits
from tunnel.core.identifiers import ClusterId, RequestId
from tunnel.core.wire.exchange import Refused

LOST = ConnectionResetError("reset")
UPGRADE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: a", "Sec-WebSocket-Version: 13")


@pytest.fixture
async def first(stub: Stub) -> FarAgent:
    return stub.agent("first")


@pytest.fixture
async def second(stub: Stub, first: FarAgent) -> AsyncIterator[FarAgent]:
    """An agent that is there, and asked only where the first one is not to be."""
    agent = stub.agent("second")
    agent.link._waiting.update({RequestId(10**6 + n): None for n in range(9)})  # type: ignore[misc]  # looks busy
    yield agent
    agent.link._waiting.clear()


def refuse(agent: FarAgent, number: int, code: int, *, retryable: bool) -> None:
    agent.core.send_refused(Refused(RequestId(number), retryable, code, "no"))
    agent.say()


def asked(agent: FarAgent) -> list[tuple[bytes, bytes, bytes]]:
    return [(request.head.method, request.head.target, request.body) for request in agent.asked()]


@pytest.mark.parametrize(
    ("line", "body"),
    [("GET /api/v1/pods", b""), ("POST /api/v1/namespaces", b"{}"), ("DELETE /api/v1/pods/a", b"")],
)
async def test_what_certainly_reached_no_apiserver_goes_to_another_agent_whatever_its_method(
    stub: Stub, first: FarAgent, second: FarAgent, line: str, body: bytes
) -> None:
    user = stub.user()
    user.ask(line, *([f"Content-Length: {len(body)}"] if body else []), body=body)
    before = asked(first)
    refuse(first, 1, 503, retryable=True)
    assert asked(second) == before
    second.answer(1, b"done")
    assert user.answer()[0] == 200
    assert [(exchange.retried, exchange.link) for exchange, _ in stub.book.lines] == [(True, second.link)]


async def test_an_upgrade_that_was_refused_before_it_was_sent_goes_to_another_agent(
    stub: Stub, first: FarAgent, second: FarAgent
) -> None:
    stub.user().ask("GET /api/v1/namespaces/a/pods/b/exec?command=id", *UPGRADE)
    first.asked()
    refuse(first, 1, 503, retryable=True)
    assert [request.upgrade for request in second.asked()] == [True]


@pytest.mark.parametrize("line", ["GET /api/v1/pods", "HEAD /api/v1/pods", "GET /api/v1/pods?watch=true"])
async def test_a_safe_request_that_was_not_answered_goes_to_another_agent(
    stub: Stub, first: FarAgent, second: FarAgent, line: str
) -> None:
    stub.user().ask(line)
    before = asked(first)
    first.stream.lose(LOST)
    assert asked(second) == before
    assert stub.book.codes == []


async def test_a_safe_request_whose_apiserver_broke_off_goes_to_another_agent(
    stub: Stub, first: FarAgent, second: FarAgent
) -> None:
    stub.user().ask("GET /api/v1/pods")
    first.asked()
    refuse(first, 1, 502, retryable=False)
    assert len(second.asked()) == 1


@pytest.mark.parametrize(
    "line",
    [
        "DELETE /api/v1/namespaces/a/pods/b",
        "POST /api/v1/namespaces",
        "PUT /api/v1/namespaces/a",
        "PATCH /api/v1/namespaces/a",
        "GET /api/v1/namespaces/a/pods/b/exec?command=id",
        "GET /api/v1/namespaces/a/pods/b/attach",
        "GET /api/v1/namespaces/a/pods/b/portforward",
        "GET /api/v1/namespaces/a/services/b/proxy/x",
        "GET /api/v1/proxy/namespaces/a/services/b/x",
    ],
)
async def test_what_may_have_been_done_is_not_done_again(
    stub: Stub, first: FarAgent, second: FarAgent, line: str
) -> None:
    user = stub.user()
    user.ask(line)
    assert len(first.asked()) == 1
    first.stream.lose(LOST)
    assert second.asked() == []
    status, _, body = user.answer()
    assert status == 502
    assert b"whether the request took effect is not known" in body


async def test_an_upgrade_that_was_sent_is_never_sent_again(
    stub: Stub, first: FarAgent, second: FarAgent
) -> None:
    """exec over WebSocket is a GET: the command would run twice."""
    user = stub.user()
    user.ask("GET /api/v1/pods?watch=true", *UPGRADE)
    assert len(first.asked()) == 1
    first.stream.lose(LOST)
    assert second.asked() == []
    assert user.answer()[0] == 502


async def test_a_request_that_was_not_even_written_goes_to_another_agent_whatever_its_method(
    stub: Stub, first: FarAgent, second: FarAgent
) -> None:
    user = stub.user()
    first.link.withdraw(
        RequestId(9)
    )  # so what is asked now is not the first of its turn, which leaves at once
    user.ask("DELETE /api/v1/namespaces/a")
    first.stream.lose(LOST)  # before the end of the turn in which it was asked
    assert asked(second) == [(b"DELETE", b"/api/v1/namespaces/a", b"")]


async def test_a_refusal_that_is_no_failure_is_the_answer(
    stub: Stub, first: FarAgent, second: FarAgent
) -> None:
    user = stub.user()
    user.ask()
    first.asked()
    refuse(first, 1, 403, retryable=False)
    assert second.asked() == []
    assert user.answer()[0] == 403


async def test_two_agents_are_asked_at_most(stub: Stub, first: FarAgent, second: FarAgent) -> None:
    user = stub.user()
    user.ask()
    first.asked()
    refuse(first, 1, 503, retryable=True)
    second.asked()
    refuse(second, 1, 429, retryable=True)
    assert first.asked() == []
    assert user.answer()[0] == 429


async def test_the_refusal_is_the_answer_where_no_other_agent_is_there(stub: Stub, first: FarAgent) -> None:
    stub.agent("elsewhere", ClusterId("red"))
    user = stub.user()
    user.ask()
    first.asked()
    refuse(first, 1, 503, retryable=True)
    status, _, body = user.answer()
    assert (status, b"agent: no" in body) == (503, True)


async def test_what_is_refused_while_this_stub_steps_down_is_sent_to_the_next_one(
    stub: Stub, first: FarAgent
) -> None:
    user = stub.user()
    user.ask("POST /api/v1/namespaces", "Content-Length: 2", body=b"{}")
    first.asked()
    stub.office.draining = True
    refuse(first, 1, 503, retryable=True)
    status, fields, _ = user.answer()
    assert (status, fields["retry-after"], fields["connection"]) == (503, "1", "close")


async def test_a_request_older_than_the_budget_is_not_asked_again(
    stub: Stub, first: FarAgent, second: FarAgent, clock: Clock
) -> None:
    user = stub.user()
    user.ask()
    first.asked()
    await clock.advance(limits.RETRY_SECONDS + 1)
    refuse(first, 1, 503, retryable=True)
    assert second.asked() == []
    assert user.answer()[0] == 503


async def test_without_a_budget_nothing_is_asked_again_not_even_in_the_same_instant(
    stub: Stub, first: FarAgent, second: FarAgent
) -> None:
    stub.office.retry_seconds = 0.0
    user = stub.user()
    user.ask()
    first.asked()
    refuse(first, 1, 503, retryable=True)
    assert second.asked() == []
    assert user.answer()[0] == 503


@pytest.mark.parametrize(
    ("code", "retryable", "retry_after"),
    [(503, True, "1"), (429, True, "1"), (502, True, None), (503, False, None), (403, False, None)],
    ids=["draining or fenced", "full", "its apiserver is down", "not certain", "not allowed"],
)
async def test_a_body_that_was_streamed_is_gone_so_its_client_is_told_to_come_again_where_it_may(
    stub: Stub, first: FarAgent, second: FarAgent, code: int, retryable: bool, retry_after: str | None
) -> None:
    user = stub.user()
    user.ask("POST /api/v1/namespaces", "Transfer-Encoding: chunked", body=b"2\r\nab\r\n")
    assert [request.body_stream for request in first.asked()] == [True]
    refuse(first, 1, code, retryable=retryable)
    assert second.asked() == []
    status, fields, _ = user.answer()
    assert (status, fields.get("retry-after"), fields["connection"]) == (code, retry_after, "close")


async def test_a_streamed_request_that_was_not_even_written_is_to_come_again(
    stub: Stub, first: FarAgent, second: FarAgent
) -> None:
    user = stub.user()
    user.ask("DELETE /api/v1/namespaces/a", "Transfer-Encoding: chunked", body=b"2\r\nab\r\n")
    asker = first.link.take(RequestId(1))
    assert asker is not None
    asker.lost("reset", written=False)
    assert second.asked() == []
    status, fields, body = user.answer()
    assert (status, fields["retry-after"]) == (503, "1")
    assert b"went away before it was asked" in body


async def test_what_was_not_even_written_waits_for_an_agent_where_there_is_no_other(
    stub: Stub, first: FarAgent
) -> None:
    user = stub.user()
    first.link.withdraw(
        RequestId(9)
    )  # so what is asked now is not the first of its turn, which leaves at once
    user.ask("DELETE /api/v1/namespaces/a")
    first.stream.lose(LOST)  # before the end of the turn in which it was asked
    status, fields, body = user.answer()
    assert (status, fields["retry-after"]) == (503, "1")
    assert b"the last one left 0 s ago" in body


async def test_a_user_who_leaves_meanwhile_cancels_at_the_second_agent(
    stub: Stub, first: FarAgent, second: FarAgent
) -> None:
    user = stub.user()
    user.ask()
    first.asked()
    refuse(first, 1, 503, retryable=True)
    (request,) = second.asked()
    user.stream.lose()
    assert [event.id for event in second.heard()] == [request.id]
