"""A stub that asks for what it may not: the upstream sees nothing of it, and the agent goes on serving."""

import os
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tests.integration.floods import FLOODS
from tests.integration.stub_double import SessionDouble, StubDouble, asking, stub_double
from tests.integration.tunnel_fixture import TOKEN, Tunnel
from tests.integration.upstream import silent
from tests.integration.waiting import soon, until
from tunnel.core import limits
from tunnel.core.http.message import Field
from tunnel.core.identifiers import RequestId
from tunnel.core.wire.control import Active, StubHello
from tunnel.core.wire.exchange import BODY_UNKNOWN, Request
from tunnel.core.wire.framing import FRAME_HEADER, FrameType, encode_frame
from tunnel.core.wire.pairs import encode_pairs
from tunnel.kit.backoff import Backoff


@pytest.fixture
async def stub(parts: Tunnel) -> AsyncIterator[StubDouble]:
    """A hostile stub with an agent behind it."""
    async with stub_double(parts.certificates) as double:
        await parts.start_agent(ready=False, stub_port=double.port)
        yield double
        for running in parts.agents:
            await running.stop()


@pytest.fixture
async def session(stub: StubDouble) -> SessionDouble:
    return await stub.session()


def caller(*pairs: Field) -> bytes:
    """The caller block of a REQUEST."""
    return encode_pairs(pairs=list(pairs))


both = pytest.mark.parametrize("upgrade", [False, True], ids=["plain", "upgrade"])


def of_kind(asked: Request, upgrade: bool) -> Request:
    """The same as an upgrade to SPDY, which goes with GET and POST; or as it is."""
    return replace(asked, upgrade=upgrade or asked.upgrade)


async def still_serves(parts: Tunnel, stub: StubDouble, session: SessionDouble, number: int) -> None:
    """A proper request is answered."""
    before = len(parts.upstream.requests)
    session.ask(asking(number))
    answer = await stub.answer()
    assert (answer.head.id, answer.head.response.status, bytes(answer.body)) == (number, 200, b"ok")
    assert len(parts.upstream.requests) == before + 1


async def test_the_double_can_behave(parts: Tunnel, stub: StubDouble, session: SessionDouble) -> None:
    """Else the other tests here would prove nothing."""
    await still_serves(parts, stub, session, 1)
    incoming = parts.upstream.requests[0]
    assert incoming.values("impersonate-user") == ["jane"]
    assert incoming.values("authorization") == [f"Bearer {TOKEN}"]
    assert incoming.values("x-forwarded-for") == ["10.1.2.3"]


async def test_the_double_can_ask_for_an_upgrade(
    parts: Tunnel, stub: StubDouble, session: SessionDouble
) -> None:
    session.ask(of_kind(asking(1), True))
    assert (await parts.upstream.next_request()).values("upgrade") == ["SPDY/3.1"]


HEADS = {
    "a request line as method": asking(1, b"GET / HTTP/1.1"),
    "a method with a line break": asking(1, b"GET\r\nX: y"),
    "no method": asking(1, b""),
    "CONNECT": asking(1, b"CONNECT", b"elsewhere:443"),
    "TRACE": asking(1, b"TRACE"),
    "a target with a space": asking(1, b"GET", b"/a HTTP/1.1\r\nHost: b"),
    "a target without a slash": asking(1, b"GET", b"api"),
    "an absolute target": asking(1, b"GET", b"https://elsewhere/"),
    "an empty target": asking(1, b"GET", b""),
    "a fragment": asking(1, b"GET", b"/a#b"),
    "a target that is too long": asking(1, b"GET", b"/" + b"a" * 200_000),
    "a value with a line break": asking(1, b"GET", b"/", (b"X-A", b"b\r\nImpersonate-User: admin")),
    "a name with a line break": asking(1, b"GET", b"/", (b"X-A: b\r\nX-B", b"c")),
    "a name with a space": asking(1, b"GET", b"/", (b"X A", b"b")),
    "too many fields": asking(1, b"GET", b"/", *[(b"X", b"y")] * 300),
    "a field that is too long": asking(1, b"GET", b"/", (b"X", b"y" * 70_000)),
    "impersonation": asking(1, b"GET", b"/", (b"Impersonate-User", b"admin")),
    "impersonation, spelt otherwise": asking(1, b"GET", b"/", (b"impersonate_GROUP", b"system:masters")),
    "an upgrade with a body": asking(1, b"POST", b"/", body=b"x", upgrade=True),
    "an upgrade with a foreign method": asking(1, b"DELETE", b"/", upgrade=True),
}

CALLERS = {
    "nobody": b"",
    "an empty name": caller((b"user", b"")),
    "groups alone": caller((b"group", b"devs")),
    "the cluster's own": caller((b"user", b"system:admin")),
    "the masters": caller((b"user", b"jane"), (b"group", b"system:masters")),
    "a line break": caller((b"user", b"jane\r\nX: y")),
    "a line break in a group": caller((b"user", b"jane"), (b"group", b"a\nb")),
    "a line break in a key": caller((b"user", b"jane"), (b"extra/a\r\nb", b"c")),
    "bytes that are no text": caller((b"user", b"\xff\xfe")),
    "an odd number of words": b"user",
    "an attribute of a later version": caller((b"user", b"jane"), (b"scope", b"read-only")),
    "an address that is none": caller((b"user", b"jane"), (b"address", b"1.2.3.4\r\nX: y")),
    "too many groups": caller((b"user", b"jane"), *[(b"group", b"g%d" % n) for n in range(300)]),
}


@both
@pytest.mark.parametrize("name", HEADS)
async def test_a_head_that_is_not_sound_is_refused(
    parts: Tunnel, stub: StubDouble, session: SessionDouble, name: str, upgrade: bool
) -> None:
    """Case 44: the stub's word is not proof; nothing reaches the upstream."""
    session.ask(of_kind(HEADS[name], upgrade))
    refused = await stub.refusal()
    assert refused.id == 1
    assert refused.code in (400, 403, 405, 431)
    assert not refused.retryable
    assert not parts.upstream.connections
    await still_serves(parts, stub, session, 2)


@both
@pytest.mark.parametrize("name", CALLERS)
async def test_a_caller_that_is_not_sound_is_refused(
    parts: Tunnel, stub: StubDouble, session: SessionDouble, name: str, upgrade: bool
) -> None:
    """Case 41, at the agent: an empty user would be the agent itself, and the built-in ceiling holds whatever a stub says."""
    session.ask(of_kind(asking(1, caller=CALLERS[name]), upgrade))
    assert (await stub.refusal()).code in (400, 401, 403)
    assert not parts.upstream.connections
    await still_serves(parts, stub, session, 2)


async def test_the_same_rules_hold_again_for_a_caller_seen_before(
    parts: Tunnel, stub: StubDouble, session: SessionDouble
) -> None:
    """What was decided is remembered per caller, and not mixed up."""
    masters = caller((b"user", b"jane"), (b"group", b"system:masters"))
    for number in (1, 3, 5):
        session.ask(asking(number, caller=masters))
        assert (await stub.refusal()).code == 403
        await still_serves(parts, stub, session, number + 1)
    assert {tuple(incoming.values("impersonate-group")) for incoming in parts.upstream.requests} == {()}


async def test_what_only_the_agent_may_say_is_dropped(
    parts: Tunnel, stub: StubDouble, session: SessionDouble
) -> None:
    """Credentials, Host, framing, hops and addresses of a stub's head do not reach the upstream."""
    fields = [
        (b"Authorization", b"Bearer stolen"),
        (b"Host", b"elsewhere"),
        (b"Content-Length", b"5"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Connection", b"Authorization, Audit-ID"),
        (b"Upgrade", b"h2c"),
        (b"Expect", b"100-continue"),
        (b"X-Remote-User", b"admin"),
        (b"X-Forwarded-For", b"6.6.6.6"),
        (b"Audit-ID", b"forged"),
    ]
    session.ask(asking(1, b"GET", b"/api", *fields))
    await stub.answer()
    (incoming,) = parts.upstream.requests
    seen = {name.decode().lower(): value.decode() for name, value in incoming.fields}
    assert seen == {
        "host": f"localhost:{parts.upstream.port}",
        "impersonate-user": "jane",
        "x-forwarded-for": "10.1.2.3",
        "authorization": f"Bearer {TOKEN}",
        "audit-id": "00000000-0000-0000-0000-000000000000",
    }


async def test_an_older_epoch_is_refused(parts: Tunnel, stub: StubDouble, session: SessionDouble) -> None:
    """A stub that was active once is not obeyed any more; what it may try elsewhere is said to be retryable."""
    session.raw(Active("lease", 7).encode())
    session.ask(asking(1, epoch=6))
    refused = await stub.refusal()
    assert (refused.code, refused.retryable) == (503, True)
    assert not parts.upstream.connections
    session.ask(asking(2, epoch=7))
    assert (await stub.answer()).whole
    session.raw(Active("lease", 3).encode())  # it goes back: not believed
    session.ask(asking(3, epoch=3))
    assert (await stub.refusal()).code == 503


@pytest.mark.parametrize("number", [1, 2])
async def test_an_id_that_is_not_higher_ends_the_session(
    parts: Tunnel, stub: StubDouble, session: SessionDouble, number: int
) -> None:
    """And the agent comes back with a new one."""
    await still_serves(parts, stub, session, 2)
    session.ask(asking(number))
    again = await stub.session()
    assert again.core is not session.core
    await still_serves(parts, stub, again, 1)
    assert len(parts.upstream.requests) == 2


async def test_a_body_that_never_comes_holds_up_only_itself(
    parts: Tunnel, stub: StubDouble, session: SessionDouble
) -> None:
    session.ask(asking(1, b"POST", b"/hangs", body_length=10))
    assert (await parts.upstream.next_request()).target == b"/hangs"
    for number in range(2, 12):
        await still_serves(parts, stub, session, number)
    assert not parts.upstream.requests[0].whole


async def test_a_body_that_breaks_off_is_cut_upstream(
    parts: Tunnel, stub: StubDouble, session: SessionDouble
) -> None:
    session.ask(asking(1, b"POST", b"/cut", body_length=BODY_UNKNOWN))
    session.flush()
    await until(lambda: session.core.body_room(RequestId(1)))
    session.core.send_body(RequestId(1), b"half")
    session.flush()
    incoming = await parts.upstream.next_request()
    await until(lambda: incoming.body == b"half")
    session.core.break_body(RequestId(1))
    session.flush()
    await soon(incoming.connection.over.wait())
    assert not incoming.whole
    await still_serves(parts, stub, session, 2)


@pytest.mark.parametrize("extra", [1, -1])
async def test_a_body_of_another_length_than_announced_is_cut_upstream(
    parts: Tunnel, stub: StubDouble, session: SessionDouble, extra: int
) -> None:
    """Longer ends the session, shorter the request; the upstream never gets the next request's bytes for the rest."""
    session.ask(asking(1, b"POST", b"/lies", body_length=10))
    await until(lambda: session.core.body_room(RequestId(1)))
    session.core.send_body(RequestId(1), b"x" * (10 + extra))
    session.core.end_body(RequestId(1))
    session.flush()
    if extra > 0:
        session = await stub.session()
    await still_serves_apart(parts, stub, session)


async def still_serves_apart(parts: Tunnel, stub: StubDouble, session: SessionDouble) -> None:
    """A proper request is answered, on another upstream connection than the one that was cut."""
    session.ask(asking(2, b"GET", b"/next"))
    assert bytes((await stub.answer()).body) == b"ok"
    (served,) = [incoming for incoming in parts.upstream.requests if incoming.target == b"/next"]
    assert len(served.connection.requests) == 1
    assert not [
        incoming for incoming in parts.upstream.requests if incoming.target == b"/lies" and incoming.whole
    ]


async def test_a_cancelled_request_is_dropped_upstream(
    parts: Tunnel, stub: StubDouble, session: SessionDouble
) -> None:
    parts.upstream.script = silent
    session.ask(asking(1))
    incoming = await parts.upstream.next_request()
    session.core.send_cancel(RequestId(1))
    session.core.send_cancel(RequestId(99))
    session.flush()
    await soon(incoming.connection.over.wait())


NONSENSE = {
    "a request that is too short": encode_frame(FrameType.REQUEST, b"short"),
    "a request that contradicts itself": encode_frame(FrameType.REQUEST, bytes(100)),
    "a frame that is too long": FRAME_HEADER.pack(FrameType.REQUEST, 0xFFFFFFFF),
    "a second HELLO": StubHello("other").encode(),
    "a cancel of no id": encode_frame(FrameType.CANCEL, b""),
    "not JSON": encode_frame(FrameType.ACTIVE, b"{"),
    "an inline body that is too long": asking(
        1, b"POST", b"/", body=bytes(limits.INLINE_BODY_BYTES + 1)
    ).encode(),
}


@pytest.mark.parametrize("name", NONSENSE)
async def test_nonsense_on_the_lane_ends_the_session(
    parts: Tunnel, stub: StubDouble, session: SessionDouble, name: str
) -> None:
    """And the agent comes back."""
    session.raw(NONSENSE[name])
    await still_serves(parts, stub, await stub.session(), 1)
    assert len(parts.upstream.requests) == 1


async def test_frames_of_a_later_version_are_skipped(
    parts: Tunnel, stub: StubDouble, session: SessionDouble
) -> None:
    session.raw(FRAME_HEADER.pack(0x7E, 5) + b"later")
    await still_serves(parts, stub, session, 1)


async def test_nonsense_instead_of_http_2_ends_the_session(
    parts: Tunnel, stub: StubDouble, session: SessionDouble
) -> None:
    session.end.write(os.urandom(5000))
    await still_serves(parts, stub, await stub.session(), 1)


@pytest.mark.parametrize("flood", FLOODS)
async def test_case_54_a_flood_ends_the_session_and_the_agent_dials_again(
    parts: Tunnel, stub: StubDouble, session: SessionDouble, flood: str
) -> None:
    session.end.write(FLOODS[flood])
    await still_serves(parts, stub, await stub.session(), 1)


async def test_a_stub_without_a_common_version_is_left(parts: Tunnel) -> None:
    """The agent says why, and stays alive for when it is downgraded again."""
    async with stub_double(parts.certificates, StubHello("newer", versions=(9,))) as stub:
        await parts.start_agent(ready=False, stub_port=stub.port)
        await until(lambda: [event for event in stub.events if "no common protocol version" in str(event)])
        await parts.agent.stop()


async def test_a_stub_that_never_greets_is_left(parts: Tunnel, monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers every PING and says nothing: the agent tries again, maybe another one answers then."""
    monkeypatch.setattr(limits, "HELLO_SECONDS", 0.05)
    async with stub_double(parts.certificates, None) as stub:
        await parts.start_agent(ready=False, stub_port=stub.port)
        await until(lambda: [event for event in stub.events if "HELLO" in str(event)])
        await parts.agent.stop()


async def test_channels_that_are_turned_away_are_not_dialled_without_a_pause(
    parts: Tunnel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else agent and stub would make handshakes as fast as they can."""
    monkeypatch.setattr(Backoff, "next_seconds", lambda self: 3600.0)
    async with stub_double(parts.certificates) as stub:
        stub.turns_channels_away = True
        await parts.start_agent(ready=False, stub_port=stub.port)
        session = await stub.session()
        for number in range(1, 100):  # each refusal is a round trip
            session.ask(asking(number, b"NOT A METHOD"))
            await stub.refusal()
        await until(lambda: stub.channels_dialled >= 2)
        assert stub.channels_dialled == 2
        await parts.agent.stop()


async def test_an_answer_waits_for_its_channel(
    parts: Tunnel, stub: StubDouble, session: SessionDouble
) -> None:
    """More answers at once than the pool holds: each gets a channel that is dialled for it."""
    for number in range(1, 31):
        session.ask(asking(number, b"GET", b"/api"))
    answers = [await stub.answer() for _ in range(30)]
    assert sorted(answer.head.id for answer in answers) == list(range(1, 31))
    assert all(answer.whole for answer in answers)
