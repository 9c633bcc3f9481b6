"""An agent that breaks the protocol: its own clients get a valid answer or a visible cut, and nobody else notices."""

import struct
from collections.abc import AsyncIterator

import pytest

from stub.agents.link import AgentLink
from tests.integration.agent_double import END, AgentDouble, agent_double, data, frame, head
from tests.integration.client import Client, request
from tests.integration.floods import FLOODS
from tests.integration.tls_end import End
from tests.integration.tunnel_fixture import Tunnel
from tests.integration.upstream import answering, by_hand
from tests.integration.waiting import soon, until
from tunnel.core import limits
from tunnel.core.http.message import Field
from tunnel.core.wire.control import Report
from tunnel.core.wire.framing import FrameType

OPEN = ("Connection: Upgrade", "Upgrade: SPDY/3.1")


@pytest.fixture
async def tunnel(parts: Tunnel) -> Tunnel:
    """A stub with an honest agent for the cluster `green`; the hostile one serves `blue`."""
    await parts.start_stub()
    await parts.start_agent("green")
    return parts


@pytest.fixture
async def agent(tunnel: Tunnel) -> AsyncIterator[AgentDouble]:
    async with agent_double(tunnel) as double:
        yield double


@pytest.fixture
async def bystander(tunnel: Tunnel) -> AsyncIterator[None]:
    """Whatever the agent of `blue` does, a client of `green` is served before and after."""
    client = await tunnel.connect()
    assert (await client.ask("GET /clusters/green/api")).body == b"ok"
    yield
    assert (await client.ask("GET /clusters/green/api")).body == b"ok"


pytestmark = pytest.mark.usefixtures("bystander")


both = pytest.mark.parametrize("upgrade", [False, True], ids=["plain", "upgrade"])


async def asked(client: Client, agent: AgentDouble, line: str = "GET /api", *, upgrade: bool = False) -> int:
    """Ask; return the number under which the agent got it."""
    client.send(request(line, *(OPEN if upgrade else ())))
    return (await agent.next_request()).id


def whole(number: int, *fields: Field, upgrade: bool = False) -> bytes:
    """An answer: `ok`, or a pipe that begins so."""
    if upgrade:
        return head(number, 101, (b"Connection", b"Upgrade"), (b"Upgrade", b"SPDY/3.1"), *fields) + b"ok"
    return head(number, 200, *fields, length=2) + data(b"ok") + END


async def test_the_double_can_behave(client: Client, agent: AgentDouble) -> None:
    """Else the other tests here would prove nothing."""
    channel = await agent.channel()
    for body in (b"", b"small", b"x" * 100_000):
        number = await asked(client, agent)
        channel.write(head(number, 200, (b"X-A", b"b"), length=len(body)), data(body) if body else b"", END)
        answer = await client.answer()
        assert (answer.body, answer.values("x-a")) == (body, ["b"])
    assert (await channel.frame())[0] == FrameType.DONE


async def test_the_double_can_open_a_pipe(client: Client, agent: AgentDouble) -> None:
    channel = await agent.channel()
    channel.write(whole(await asked(client, agent, upgrade=True), (b"X-A", b"b"), upgrade=True))
    answer = await client.head()
    assert (answer.status, answer.values("x-a")) == (101, ["b"])
    assert await soon(client.end.read_exactly(2)) == b"ok"


@both
@pytest.mark.parametrize(
    "fields",
    [
        [(b"X-A", b"b\r\nSet-Cookie: evil")],
        [(b"X-A", b"b\nX: y")],
        [(b"X-A\r\nX-B", b"b")],
        [(b"X A", b"b")],
        [(b"", b"b")],
        [(b"X-A", b"b\x7f")],
        [(b"X", b"y")] * 300,
        [(b"X", b"y" * 70_000)],
        [(b"Location", b"https://elsewhere.test/")],
        [(b"Location", b"//elsewhere.test/")],
        [(b"Location", b"/clusters/green/api")],
        [(b"Location", b"x/../clusters/green/api")],
    ],
)
async def test_fields_that_are_not_http_are_502(
    tunnel: Tunnel, client: Client, agent: AgentDouble, fields: list[Field], upgrade: bool
) -> None:
    """Case 53: no answer is split, and nothing of the malformed head comes through."""
    channel = await agent.channel()
    channel.write(whole(await asked(client, agent, upgrade=upgrade), *fields, upgrade=upgrade))
    answer = await client.answer()
    assert answer.status == 502
    assert not {"x-a", "x-b", "set-cookie", "location"} & {name.lower() for name, _ in answer.fields}
    if upgrade:
        assert await client.ended() is End.CLOSE_NOTIFY
        client = await tunnel.connect()
    channel = await agent.channel()
    channel.write(whole(await asked(client, agent)))
    assert (await client.answer()).body == b"ok"


async def test_framing_is_the_stubs_own(client: Client, agent: AgentDouble) -> None:
    """Fields that speak of framing, hops or the tunnel itself are not the agent's to set."""
    channel = await agent.channel()
    number = await asked(client, agent)
    fields = [
        (b"Content-Length", b"999"),
        (b"Transfer-Encoding", b"gzip"),
        (b"Connection", b"upgrade"),
        (b"Upgrade", b"websocket"),
        (b"Set-Cookie", b"a=b"),
        (b"X-Cluster-Tunnel-Request-Id", b"forged"),
    ]
    channel.write(head(number, 200, *fields, length=2), data(b"ok"), END)
    answer = await client.answer()
    assert (answer.body, answer.fields) == (b"ok", [("Content-Length", "2")])


@pytest.mark.parametrize("status", [0, 99, 100, 103, 199, 600, 999, 65535])
async def test_a_status_that_is_none_is_502(client: Client, agent: AgentDouble, status: int) -> None:
    """Case 53: and the agent is given up, for which request it was meant cannot be known."""
    channel = await agent.channel()
    number = await asked(client, agent)
    channel.write(frame(FrameType.HEAD, struct.pack(">QHBq", number, status, 0, 0)))
    assert (await client.answer()).status == 502
    await channel.closed()
    await soon(agent.over.wait())


async def test_a_101_to_a_plain_get_is_502(client: Client, agent: AgentDouble) -> None:
    """Case 53: and what follows it reaches nobody."""
    channel = await agent.channel()
    number = await asked(client, agent)
    channel.write(
        head(number, 101, (b"Connection", b"upgrade"), (b"Upgrade", b"SPDY/3.1")), b"HTTP/1.1 200 OK\r\n\r\n"
    )
    assert (await client.answer()).status == 502
    await channel.closed()


@pytest.mark.parametrize(
    ("method", "status", "bodiless"), [("GET", 200, True), ("HEAD", 200, False), ("GET", 204, False)]
)
async def test_a_lie_about_having_a_body_is_502(
    client: Client, agent: AgentDouble, method: str, status: int, bodiless: bool
) -> None:
    channel = await agent.channel()
    number = await asked(client, agent, f"{method} /api")
    channel.write(head(number, status, length=5, bodiless=bodiless))
    assert (await client.answer(to_head=method == "HEAD")).status == 502


async def test_more_than_the_announced_length_is_cut(client: Client, agent: AgentDouble) -> None:
    """Not a byte beyond it reaches the client."""
    channel = await agent.channel()
    number = await asked(client, agent)
    channel.write(head(number, length=10), data(b"12345"))
    await client.head()
    assert await soon(client.end.read_exactly(5)) == b"12345"
    channel.write(data(b"6789012345"))
    assert await client.ended() is End.CUT
    await soon(agent.over.wait())


async def test_less_than_the_announced_length_is_cut(client: Client, agent: AgentDouble) -> None:
    channel = await agent.channel()
    number = await asked(client, agent)
    channel.write(head(number, length=10), data(b"12345"))
    await client.head()
    assert await soon(client.end.read_exactly(5)) == b"12345"
    channel.write(END)
    assert await client.ended() is End.CUT


@pytest.mark.parametrize("last", [b"", frame(FrameType.ABORT, b"")], ids=["eof", "abort"])
async def test_an_answer_without_its_end_is_cut(client: Client, agent: AgentDouble, last: bytes) -> None:
    channel = await agent.channel()
    number = await asked(client, agent)
    channel.write(head(number), data(b"some"), last)
    await client.head()
    assert await client.chunk() == b"some"
    await channel.end.close()
    assert await client.ended() is End.CUT


async def test_an_answer_to_nothing_ends_the_session(tunnel: Tunnel, agent: AgentDouble) -> None:
    """Case 51: an id that was never asked."""
    channel = await agent.channel()
    channel.write(head(77, length=0), END)
    await channel.closed()
    await soon(agent.over.wait())
    await until(lambda: len(tunnel.stub.registry.links) == 1)


async def test_a_second_answer_ends_the_session(client: Client, agent: AgentDouble) -> None:
    """Case 51, 53: the first one stands; the second reaches nobody."""
    channel = await agent.channel()
    number = await asked(client, agent)
    channel.write(head(number, length=5), data(b"first"), END)
    assert (await client.answer()).body == b"first"
    channel.write(head(number, length=6), data(b"second"), END)
    await soon(agent.over.wait())
    assert not client.end.buffer


@both
async def test_another_agents_request_cannot_be_answered(
    tunnel: Tunnel, agent: AgentDouble, upgrade: bool
) -> None:
    """Case 51: the id is one of `green`'s, the client of `green` never sees a byte of it, and `blue` is disconnected."""
    tunnel.upstream.script = by_hand
    client = await tunnel.connect()
    client.send(request("GET /clusters/green/api", *(OPEN if upgrade else ())))
    await tunnel.upstream.next_request()
    await tunnel.upstream.next_request()  # the first was the bystander's
    numbers = link_to(tunnel, "green")._waiting
    assert numbers
    (await agent.channel()).write(*[whole(number, (b"X-Evil", b"1"), upgrade=upgrade) for number in numbers])
    await soon(agent.over.wait())
    tunnel.upstream.requests[-1].whole_answer(403, b"true")
    answer = await client.answer()
    assert (answer.status, answer.body, answer.values("x-evil")) == (403, b"true", [])
    tunnel.upstream.script = answering(200, b"ok")


async def test_another_sessions_token_is_refused(tunnel: Tunnel, agent: AgentDouble) -> None:
    """A token belongs to the certificate that opened the session, and cannot be guessed or lent."""
    for token in (link_to(tunnel, "green").token, "", "guessed", agent.hello.token[:-1]):
        channel = await agent.channel(token)
        kind, payload = await channel.frame()
        assert kind == FrameType.REJECT
        assert token not in payload.decode() or not token
        await channel.closed()


@pytest.mark.parametrize(
    "nonsense",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        frame(FrameType.HEAD, b"", 0xFFFFFFFF),
        frame(FrameType.DATA, b"x"),
        END,
        frame(FrameType.HELLO, b"{}"),
        frame(FrameType.HELLO, b"[" * 100_000),
        frame(FrameType.HEAD, b"short"),
        frame(FrameType.HEAD, bytes(19) + b"name without a value"),
        frame(FrameType.DONE, b""),
    ],
    ids=["http", "huge", "data", "end", "second hello", "deep json", "short head", "odd head", "done"],
)
async def test_nonsense_on_a_channel_closes_it(tunnel: Tunnel, agent: AgentDouble, nonsense: bytes) -> None:
    channel = await agent.channel()
    channel.write(nonsense)
    if nonsense == frame(FrameType.DONE, b""):  # a frame that a later version may give a meaning is skipped
        channel.write(END)
    await channel.closed()


async def test_a_channel_that_never_greets_is_closed(
    tunnel: Tunnel, agent: AgentDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HELLO_SECONDS", 0.05)
    await (await agent.bare_channel()).closed()


async def test_a_session_that_never_greets_is_closed(tunnel: Tunnel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HELLO_SECONDS", 0.05)
    async with agent_double(tunnel, greets=False) as silent:
        await soon(silent.over.wait())
        assert "HELLO" in silent.reason


async def test_a_session_that_stops_answering_is_given_up(
    tunnel: Tunnel, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its requests are answered 502, and its channels go with it."""
    monkeypatch.setattr(limits, "PING_SECONDS", 0.05)
    monkeypatch.setattr(limits, "PONG_SECONDS", 0.1)
    async with agent_double(tunnel) as deaf:
        channel = await deaf.channel()
        await asked(client, deaf)
        deaf.flush = lambda: None  # type: ignore[method-assign]
        assert (await client.answer()).status == 502
        await channel.closed()


async def test_versions_without_a_common_one_are_rejected(tunnel: Tunnel) -> None:
    """With a reason that the agent can log."""
    async with agent_double(tunnel, greets=False) as newer:
        await newer.greet(versions=(2, 3))
        await soon(newer.over.wait())
        assert "no common protocol version" in newer.reason


@pytest.mark.parametrize("before", [True, False], ids=["before HELLO", "behind HELLO"])
async def test_nonsense_in_a_session_ends_it(tunnel: Tunnel, before: bool) -> None:
    async with agent_double(tunnel, greets=not before) as double:
        double.end.write(b"PRI * HTTP/9\r\n\r\n" * 100)
        await soon(double.over.wait())


@pytest.mark.parametrize("flood", FLOODS)
async def test_case_54_a_flood_ends_the_session_that_sends_it(
    tunnel: Tunnel, agent: AgentDouble, flood: str
) -> None:
    """And the client of `green`, see `bystander`, is served as before."""
    agent.end.write(FLOODS[flood])
    await soon(agent.over.wait())
    await until(lambda: [link.cluster for link in tunnel.stub.registry.links] == ["green"])


async def test_a_flood_of_reports_ends_the_session_that_sends_it(tunnel: Tunnel, agent: AgentDouble) -> None:
    agent.core._lane.queue(Report().encode() * 200)
    agent.flush()
    await soon(agent.over.wait())
    await until(lambda: [link.cluster for link in tunnel.stub.registry.links] == ["green"])


async def test_a_refusal_of_nothing_is_ignored(client: Client, agent: AgentDouble) -> None:
    """It may be late: the client has gone."""
    agent.core._lane.queue(frame(FrameType.REFUSED, struct.pack(">Q?H", 99, True, 503) + b"no"))
    agent.core.send_report(Report(requests=3))
    agent.flush()
    number = await asked(client, agent)
    (await agent.channel()).write(head(number, length=2), data(b"ok"), END)
    assert (await client.answer()).body == b"ok"


async def test_a_refusal_cannot_split_an_answer(client: Client, agent: AgentDouble) -> None:
    number = await asked(client, agent)
    text = 'no"\r\nSet-Cookie: evil\r\n\r\n\\ ü\0'.encode()
    agent.core._lane.queue(frame(FrameType.REFUSED, struct.pack(">Q?H", number, False, 403) + text))
    agent.flush()
    answer = await client.answer()
    assert (answer.status, answer.values("set-cookie")) == (403, [])
    assert answer.message.startswith("agent: no")
    assert len(answer.values("warning")) == 1


async def test_an_agents_words_cannot_break_a_list(tunnel: Tunnel, agent: AgentDouble) -> None:
    """A name with a line break is refused with its session."""
    async with agent_double(tunnel, greets=False) as double:
        await until(lambda: double.core.stub is not None)
        double.core._lane.queue(frame(FrameType.HELLO, b'{"versions":[1],"name":"a\\nb"}'))
        double.flush()
        await soon(double.over.wait())


async def test_a_cancelled_request_may_be_answered_late(tunnel: Tunnel, agent: AgentDouble) -> None:
    """The answer was under way when the client left: no offence, and the channel is good for the next one."""
    gone, client = await tunnel.connect(), await tunnel.connect()
    channel = await agent.channel()
    late = await asked(gone, agent)
    gone.end.cut()
    await until(lambda: late in link_to(tunnel, "blue")._cancelled)
    channel.write(head(late, length=4), data(b"late"), END)
    number = await asked(client, agent)
    channel.write(head(number, length=2), data(b"ok"), END)
    assert (await client.answer()).body == b"ok"


def link_to(tunnel: Tunnel, cluster: str) -> AgentLink:
    """The stub's side of a cluster's session."""
    return next(link for link in tunnel.stub.registry.links if link.cluster == cluster)
