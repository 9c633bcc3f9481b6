"""One request and its answer: what is asked, when, and what the client gets."""

import pytest

from tests.unit.fakes import Clock, settle
from tests.unit.stub.parts import BLUE, FarAgent, FarChannel, Stub, User
from tunnel.core import limits
from tunnel.core.http.message import Field
from tunnel.core.session.events import BodyBroken, BodyEnded, BodyReceived
from tunnel.core.wire.exchange import BODY_UNKNOWN, Cancel

INLINE = limits.INLINE_BODY_BYTES
SMALL = limits.SMALL_RESPONSE_BYTES
WEBSOCKET = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
)
SWITCHED: list[Field] = [
    (b"Sec-WebSocket-Accept", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
    (b"Connection", b"Upgrade"),
    (b"Upgrade", b"websocket"),
]


@pytest.fixture
async def user(stub: Stub) -> User:
    return stub.user()


# The body's way: inline or on a stream -----------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, INLINE])
async def test_a_small_body_with_a_length_travels_inline(agent: FarAgent, user: User, size: int) -> None:
    user.ask("POST /api", f"Content-Length: {size}", body=bytes(size))
    (request,) = agent.asked()
    assert (len(request.body), request.body_length, request.body_stream) == (size, size, False)


async def test_a_small_body_is_waited_for(agent: FarAgent, user: User) -> None:
    user.ask("POST /api", "Content-Length: 4", body=b"ab")
    assert agent.asked() == []
    user.send(b"cd")
    (request,) = agent.asked()
    assert request.body == b"abcd"


async def test_a_body_above_the_limit_gets_a_stream_at_once(agent: FarAgent, user: User) -> None:
    user.ask("POST /api", f"Content-Length: {INLINE + 1}")
    (request,) = agent.asked()
    assert (request.body, request.body_length, request.body_stream) == (b"", INLINE + 1, True)
    agent.say()
    user.send(bytes(INLINE + 1))
    events = agent.heard()
    assert sum(len(event.data) for event in events if isinstance(event, BodyReceived)) == INLINE + 1
    assert BodyEnded(request.id) in events


async def test_a_chunked_body_in_one_read_travels_inline(agent: FarAgent, user: User) -> None:
    user.ask("POST /api", "Transfer-Encoding: chunked", body=b"2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n")
    (request,) = agent.asked()
    assert (request.body, request.body_length, request.body_stream) == (b"abcd", 4, False)


async def test_a_chunked_body_that_goes_on_behind_the_read_gets_a_stream(agent: FarAgent, user: User) -> None:
    user.ask("POST /api", "Transfer-Encoding: chunked", body=b"2\r\nab\r\n")
    request, first = agent.heard()
    assert (request.body_length, request.body_stream) == (BODY_UNKNOWN, True)
    agent.say()
    user.send(b"2\r\ncd\r\n0\r\n\r\n")
    second, end = agent.heard()
    assert first.data + second.data == b"abcd"
    assert end == BodyEnded(request.id)


async def test_who_expects_a_100_gets_it_once_somebody_is_there_to_ask(agent: FarAgent, user: User) -> None:
    user.ask("POST /api", "Expect: 100-continue", "Content-Length: 4")
    assert user.take() == b"HTTP/1.1 100 Continue\r\n\r\n"
    (request,) = agent.asked()
    assert request.body_stream
    assert (b"Expect", b"100-continue") not in request.head.fields


async def test_who_expects_a_100_and_sends_at_once_gets_none(agent: FarAgent, user: User) -> None:
    user.ask("POST /api", "Content-Length: 4", "Expect: 100-continue", body=b"abcd")
    assert len(agent.asked()) == 1


async def test_without_an_agent_who_expects_a_100_gets_the_refusal(stub: Stub) -> None:
    user = stub.user()
    user.ask("POST /api", "Expect: 100-continue", "Content-Length: 4")
    status, fields, _ = user.answer()
    assert (status, fields["connection"]) == (503, "close")


async def test_an_answer_before_the_body_is_whole_closes_the_connection(
    agent: FarAgent, channel: FarChannel, user: User
) -> None:
    user.ask("POST /api", f"Content-Length: {INLINE + 1}")
    (request,) = agent.asked()
    agent.say()
    channel.answer(request.id, b"too large", status=413)
    assert user.answer()[1]["connection"] == "close"
    assert agent.heard() == [BodyBroken(request.id)]
    user.send(bytes(INLINE + 1))
    assert agent.heard(BodyReceived) == []


async def test_a_body_that_the_agent_refuses_is_read_and_thrown_away(
    agent: FarAgent, channel: FarChannel, user: User
) -> None:
    user.ask("POST /api", "Content-Length: 1000000")
    (request,) = agent.asked()
    agent.say()
    while user.stream.reading:
        user.send(bytes(32 * limits.KIB))
    agent.heard()
    agent.core.refuse_body(request.id)
    agent.say()
    assert user.stream.reading
    user.send(bytes(1000))
    assert agent.heard(BodyReceived) == []


# The answer's way --------------------------------------------------------------------------------


@pytest.mark.parametrize("pieces", [[b"abc"], [b"a", b"bc"], [b"x" * SMALL, b"y"]])
async def test_a_body_passes_unchanged_in_chunks(
    agent: FarAgent, channel: FarChannel, user: User, pieces: list[bytes]
) -> None:
    user.ask()
    channel.head(1)
    for piece in pieces:
        channel.data(piece)
    channel.end()
    expected = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    assert user.answer()[2] == expected


async def test_fields_that_are_the_hops_own_are_taken_out(
    agent: FarAgent, channel: FarChannel, user: User
) -> None:
    user.ask()
    fields: list[Field] = [
        (b"Content-Length", b"999"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Set-Cookie", b"a=1"),
        (b"Connection", b"X-Hop"),
        (b"X-Hop", b"1"),
        (b"Warning", b'299 - "careful"'),
    ]
    channel.answer(1, b"ok", fields=fields)
    assert user.answer()[1] == {"warning": '299 - "careful"', "content-length": "2"}


@pytest.mark.parametrize(
    ("method", "status", "bodiless"),
    [("HEAD", 200, False), ("GET", 204, False), ("GET", 304, False), ("GET", 200, True), ("POST", 404, True)],
)
async def test_an_agent_that_lies_about_whether_there_is_a_body_is_refused(
    agent: FarAgent, channel: FarChannel, user: User, method: str, status: int, bodiless: bool
) -> None:
    user.ask(f"{method} /api")
    channel.head(1, status, length=0, bodiless=bodiless)
    assert user.answer()[0] == 502


@pytest.mark.parametrize(
    "fields",
    [[(b"X-Split", b"a\r\nSet-Cookie: b=1")], [(b"Bad Name", b"1")], [(b"", b"1")], [(b"X", b"a\x7f")]],
)
async def test_an_agent_that_sends_malformed_fields_is_refused(
    agent: FarAgent, channel: FarChannel, user: User, fields: list[Field]
) -> None:
    user.ask()
    channel.head(1, fields=fields, length=0)
    status, found, _ = user.answer()
    assert status == 502
    assert "set-cookie" not in found


async def test_a_redirect_gains_the_clusters_prefix(agent: FarAgent, channel: FarChannel, user: User) -> None:
    user.ask("GET /clusters/blue/api/v1/x")
    channel.answer(1, b"", 301, [(b"Location", b"/api/v1/y")])
    assert user.answer()[1]["location"] == "/clusters/blue/api/v1/y"


async def test_a_redirect_to_another_host_is_refused(
    agent: FarAgent, channel: FarChannel, user: User
) -> None:
    user.ask()
    channel.head(1, 302, [(b"Location", b"https://evil.example/")], 0)
    status, fields, _ = user.answer()
    assert (status, "location" in fields) == (502, False)


async def test_a_101_that_nobody_asked_for_is_refused_and_its_channel_closed(
    agent: FarAgent, channel: FarChannel, user: User
) -> None:
    user.ask()
    channel.head(1, 101, SWITCHED)
    assert user.answer()[0] == 502
    assert channel.stream.closed


async def test_a_cut_answer_looks_cut(stub: Stub, agent: FarAgent, channel: FarChannel, user: User) -> None:
    user.ask()
    channel.head(1)
    channel.data(b"half")
    channel.stream.lose(ConnectionResetError("reset"))
    assert user.take().endswith(b"4\r\nhalf\r\n")
    assert user.stream.was_cut
    assert stub.book.reasons == ["cut: the response channel broke: reset"]


async def test_an_agents_refusal_is_a_status_with_the_hop_named(
    stub: Stub, agent: FarAgent, user: User
) -> None:
    user.ask()
    agent.refuse(1, 403, "above the cluster's ceiling")
    status, fields, body = user.answer()
    assert status == 403
    assert b'"message":"agent: above the cluster\'s ceiling' in body
    assert fields["warning"].startswith("299 agent ")
    assert stub.book.reasons == ["agent: above the cluster's ceiling"]
    assert not user.stream.closing


async def test_an_agent_that_is_gone_is_502_and_whether_it_took_effect_is_not_claimed(
    agent: FarAgent, user: User
) -> None:
    user.ask("DELETE /api/v1/namespaces/x")
    agent.asked()
    agent.stream.lose()
    status, _, body = user.answer()
    assert status == 502
    assert b"whether the request took effect is not known" in body


async def test_to_a_head_a_refusal_has_no_body(stub: Stub) -> None:
    user = stub.user()
    user.ask("HEAD /api")
    status, fields, rest = user.answer()
    assert (status, rest) == (503, b"")
    assert int(fields["content-length"]) > 0


async def test_every_exchange_is_booked_once(stub: Stub, agent: FarAgent, channel: FarChannel) -> None:
    user = stub.user()
    user.ask("POST /api", "Content-Length: 3", body=b"abc")
    channel.answer(1, b"answer")
    user.stream.lose()
    ((exchange, reason),) = stub.book.lines
    assert reason == ""
    assert (exchange.received_bytes, exchange.sent_bytes, exchange.status) == (3, 6, 200)
    assert exchange.link is agent.link


# Backpressure ------------------------------------------------------------------------------------


async def test_a_small_answer_is_taken_although_the_client_does_not_read(
    agent: FarAgent, channel: FarChannel, user: User
) -> None:
    user.ask()
    channel.head(1, length=SMALL)
    user.stream.pause_writing()
    channel.data(bytes(SMALL - 1))
    channel.data(b"x")
    assert channel.stream.reading
    channel.end()
    assert channel.free


async def test_a_large_answer_pauses_its_channel_until_the_client_reads(
    agent: FarAgent, channel: FarChannel, user: User
) -> None:
    user.ask()
    channel.head(1)
    channel.data(bytes(SMALL + 1))
    user.stream.pause_writing()
    assert not channel.stream.reading
    user.stream.resume_writing()
    assert channel.stream.reading


async def test_an_answer_that_grows_large_under_a_client_that_does_not_read_pauses_its_channel(
    agent: FarAgent, channel: FarChannel, user: User
) -> None:
    user.ask()
    channel.head(1)
    user.stream.pause_writing()
    channel.data(bytes(SMALL - 1))
    assert channel.stream.reading
    channel.data(b"xy")
    assert not channel.stream.reading


async def test_a_channel_is_not_left_paused_behind_an_answer_that_ended_in_the_same_read(
    agent: FarAgent, channel: FarChannel, user: User
) -> None:
    user.ask()
    user.stream.pause_writing()
    channel.answer(1, bytes(SMALL + 1))
    assert channel.stream.reading
    assert channel.free


# Upgrades ----------------------------------------------------------------------------------------


async def test_an_upgrade_becomes_a_pipe_in_both_directions(
    stub: Stub, agent: FarAgent, channel: FarChannel, user: User
) -> None:
    user.ask("GET /api/v1/namespaces/d/pods/p/exec", *WEBSOCKET)
    (request,) = agent.asked()
    assert request.upgrade
    channel.head(1, 101, SWITCHED)
    user.send(b"to the pod")
    channel.stream.receive(b"from the pod")
    assert channel.stream.take().endswith(b"to the pod")
    assert user.take().endswith(b"\r\n\r\nfrom the pod")
    assert channel.near not in agent.link.channels


async def test_the_101_has_a_record_of_its_own(agent: FarAgent, channel: FarChannel, user: User) -> None:
    user.ask("GET /exec", *WEBSOCKET)
    channel.head(1, 101, SWITCHED)
    (record,) = user.stream.records
    assert record.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert record.count(b"Connection: Upgrade\r\nUpgrade: websocket\r\n") == 1
    assert record.endswith(b"\r\n\r\n")


async def test_early_bytes_wait_for_the_101_and_go_first(
    agent: FarAgent, channel: FarChannel, user: User
) -> None:
    channel.hear()
    user.ask("GET /exec", *WEBSOCKET, body=b"early ")
    user.send(b"and more ")
    assert channel.stream.take() == b""
    channel.head(1, 101, SWITCHED)
    user.send(b"and late")
    assert channel.stream.take() == b"early and more and late"


async def test_only_so_many_early_bytes_are_held(agent: FarAgent, channel: FarChannel, user: User) -> None:
    user.ask("GET /exec", *WEBSOCKET)
    user.send(bytes(limits.EARLY_BYTES))
    assert not user.stream.reading
    channel.head(1, 101, SWITCHED)
    assert user.stream.reading


async def test_a_refused_upgrade_is_relayed_and_closed_and_early_bytes_are_dropped(
    agent: FarAgent, channel: FarChannel, user: User
) -> None:
    user.ask("GET /exec", *WEBSOCKET, body=b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
    agent.asked()
    channel.answer(1, b"no", 403)
    status, fields, rest = user.answer()
    assert (status, fields["connection"], rest) == (403, "close", b"no")
    assert user.stream.ended
    assert agent.asked() == []


@pytest.mark.parametrize("status", [200, 301])
async def test_any_other_answer_to_an_upgrade_is_502(
    agent: FarAgent, channel: FarChannel, user: User, status: int
) -> None:
    user.ask("GET /exec", *WEBSOCKET)
    channel.head(1, status, [(b"Location", b"/elsewhere")], 0)
    found, fields, _ = user.answer()
    assert (found, "location" in fields, fields["connection"]) == (502, False, "close")


async def test_a_refusal_before_anybody_is_asked_closes_an_upgrade_as_well(stub: Stub) -> None:
    user = stub.user(tls=None)
    user.ask("GET /exec", *WEBSOCKET, body=b"early")
    status, fields, _ = user.answer()
    assert (status, fields["connection"]) == (401, "close")


async def test_a_pipe_is_booked_when_it_ends_with_what_went_through(
    stub: Stub, agent: FarAgent, channel: FarChannel, user: User
) -> None:
    user.ask("GET /exec", *WEBSOCKET)
    channel.head(1, 101, SWITCHED)
    user.send(b"12345")
    channel.stream.receive(b"678")
    assert stub.book.lines == []
    user.stream.receive_end()
    channel.stream.receive_end()
    ((exchange, reason),) = stub.book.lines
    assert (exchange.status, exchange.received_bytes, exchange.sent_bytes) == (101, 5, 3)
    assert reason == "both sides ended"
    assert stub.office.empty.is_set()


async def test_a_pipe_drains_for_as_long_as_the_setting_says(
    stub: Stub, agent: FarAgent, channel: FarChannel, user: User, clock: Clock
) -> None:
    user.ask("GET /exec", *WEBSOCKET)
    channel.head(1, 101, SWITCHED)
    user.stream.receive_end()
    await clock.advance(7)
    assert user.stream.aborted
    assert "within 7 s" in stub.book.reasons[0]


async def test_draining_lets_a_pipe_go_on_and_aborting_breaks_it(
    stub: Stub, agent: FarAgent, channel: FarChannel, user: User
) -> None:
    user.ask("GET /exec", *WEBSOCKET)
    channel.head(1, 101, SWITCHED)
    user.front.drain()
    assert not user.stream.closing
    user.front.abort("this stub shut down")
    assert user.stream.aborted
    assert channel.stream.aborted
    assert stub.book.reasons == ["this stub shut down"]


async def test_a_user_who_leaves_before_the_101_cancels(agent: FarAgent, user: User) -> None:
    user.ask("GET /exec", *WEBSOCKET)
    agent.asked()
    user.stream.receive_end()
    assert user.stream.aborted
    assert len(agent.heard(Cancel)) == 1


# Many agents -------------------------------------------------------------------------------------


async def test_a_cancelled_requests_late_answer_disturbs_nobody(stub: Stub, agent: FarAgent) -> None:
    gone, stays = stub.user(), stub.user()
    gone.ask()
    stays.ask()
    channel = agent.channel()
    gone.stream.lose()
    channel.answer(1, b"late")
    channel.answer(2, b"wanted")
    await settle()
    assert stays.answer()[2] == b"wanted"
    assert stub.office.find_agent(BLUE) is agent.link
