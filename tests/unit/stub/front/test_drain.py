"""What a user sees of a stub that is about to stop."""

import pytest

from tests.unit.fakes import Clock, settle
from tests.unit.stub.parts import FarAgent, FarChannel, Stub, User, request_bytes
from tunnel.core import limits

GET = request_bytes("GET /api/v1/pods")
EVENT = b'{"type":"ADDED"}\n'


async def test_draining_closes_an_idle_connection_at_once(stub: Stub) -> None:
    user = stub.user()
    user.front.drain()
    assert user.stream.closed


async def test_a_connection_that_opens_while_the_stub_drains_is_closed_soon_where_it_asks_for_nothing(
    stub: Stub, clock: Clock
) -> None:
    stub.office.draining = True
    silent, asking = stub.user(), stub.user()
    asking.ask()
    assert asking.answer()[0] == 503
    assert asking.stream.closed
    await clock.advance(limits.TURN_AWAY_SECONDS)
    assert silent.stream.closed


async def test_draining_closes_behind_the_running_answer(
    stub: Stub, agent: FarAgent, channel: FarChannel
) -> None:
    user = stub.user()
    user.ask()
    stub.office.draining = True
    user.front.drain()
    assert not user.stream.closing
    channel.answer(1, b"{}")
    assert user.answer()[1]["connection"] == "close"
    assert user.stream.closed


async def test_draining_lets_a_running_upload_finish(stub: Stub, agent: FarAgent) -> None:
    user = stub.user()
    user.ask("PUT /api", "Content-Length: 4", body=b"ab")
    user.front.drain()
    stub.office.draining = False  # as where another worker asks: only what this connection does is looked at
    user.send(b"cd")
    (request,) = agent.asked()
    assert request.body == b"abcd"


async def test_draining_takes_no_request_behind_the_running_one(
    stub: Stub, agent: FarAgent, channel: FarChannel
) -> None:
    user = stub.user()
    user.ask()
    user.front.drain()
    agent.asked()
    user.send(GET)
    assert agent.asked() == []
    channel.answer(1, b"{}")
    assert user.take().count(b"HTTP/1.1") == 1


async def test_a_head_under_way_when_draining_begins_is_told_to_come_again(
    stub: Stub, agent: FarAgent
) -> None:
    user = stub.user()
    user.send(GET[:10])
    stub.office.draining = True
    user.front.drain()
    user.send(GET[10:])
    status, fields, _ = user.answer()
    assert (status, fields["retry-after"], fields["connection"]) == (503, "1", "close")


def streaming(
    stub: Stub, channel: FarChannel, target: str, *pieces: bytes, kind: bytes = b"application/json"
) -> User:
    """A user to whom an answer without an end is coming."""
    user = stub.user()
    user.ask(f"GET {target}")
    channel.head(1, fields=[(b"Content-Type", kind)])
    for piece in pieces:
        channel.data(piece)
    user.take()
    user.front.drain()
    return user


@pytest.mark.parametrize("pieces", [(), (EVENT,), (EVENT[:5], EVENT[5:] + EVENT)])
async def test_draining_ends_a_watch_politely_between_two_events(
    stub: Stub, channel: FarChannel, pieces: tuple[bytes, ...]
) -> None:
    user = streaming(stub, channel, "/api/v1/pods?watch=true", *pieces)
    assert user.take() == b"0\r\n\r\n"
    assert user.stream.closed
    assert stub.book.codes == [200]


async def test_draining_ends_a_watch_that_is_answered_only_then(stub: Stub, agent: FarAgent) -> None:
    user, channel = stub.user(), agent.channel()
    user.ask("GET /api/v1/pods?watch=true")
    user.front.drain()
    channel.head(1, fields=[(b"Content-Type", b"application/json")])
    assert user.take().endswith(b"\r\n\r\n0\r\n\r\n")
    assert user.stream.closed


async def test_draining_ends_no_watch_in_the_middle_of_an_event(stub: Stub, channel: FarChannel) -> None:
    user = streaming(stub, channel, "/api/v1/pods?watch=true", EVENT + EVENT[:5])
    assert user.take() == b""
    assert not user.stream.closing
    channel.data(EVENT[5:])
    assert user.take().endswith(b"\n\r\n0\r\n\r\n")
    assert user.stream.closed


async def test_draining_leaves_a_watch_of_protobuf_alone_whose_events_may_end_in_a_newline_by_chance(
    stub: Stub, channel: FarChannel
) -> None:
    kind = b"application/vnd.kubernetes.protobuf;stream=watch"
    user = streaming(stub, channel, "/api/v1/pods?watch=true", b"k8s\n", kind=kind)
    assert not user.stream.closing


@pytest.mark.parametrize("target", ["/api/v1/namespaces/a/pods/b/log?follow=true", "/api/v1/pods"])
async def test_draining_ends_nothing_else_that_would_look_complete(
    stub: Stub, channel: FarChannel, target: str
) -> None:
    user = streaming(stub, channel, target, b"a line\n")
    assert user.take() == b""
    assert not user.stream.closing
    channel.data(b"more\n")
    assert b"more" in user.take()


async def test_draining_between_two_requests_that_came_together_closes_behind_the_last(
    stub: Stub, agent: FarAgent
) -> None:
    user = stub.user()
    user.send(request_bytes("GET /api", "Impersonate-User: root") * 3)
    user.front.drain()
    await settle()
    assert user.take().count(b"HTTP/1.1 403") == 3
    assert user.stream.closed


@pytest.mark.parametrize("data", [b"GET /api HTTP/1.1\r\nbad field\r\n", GET * 1000], ids=["broken", "many"])
async def test_draining_leaves_an_answer_time_on_which_a_close_waits_but_no_more(
    stub: Stub, clock: Clock, data: bytes
) -> None:
    user = stub.user(tls=None)
    user.send(data)
    await settle(limits.PIPELINED_REQUESTS + 1)
    assert user.stream.ended
    user.front.drain()
    assert not user.stream.closing
    await clock.advance(limits.LINGER_SECONDS)
    assert user.stream.aborted
