"""Starting, draining, breaking and coming back; what is kept between requests, and that nothing of them is left."""

import asyncio
import socket
from pathlib import Path

import pytest

from agent.dialer import run as run_agent
from stub.server import serve
from stub.settings import StubSettings
from tests.integration.client import Client, request
from tests.integration.test_upgrades import echo, opened
from tests.integration.tls_end import End
from tests.integration.tunnel_fixture import TOKEN, Tunnel, cut
from tests.integration.upstream import Incoming, Upstream, answering, by_hand, silent
from tests.integration.waiting import soon, until
from tunnel.kit.values import Address

CHUNKED = "Transfer-Encoding: chunked"

# Between requests ----------------------------------------------------------------------------------


async def test_200_mixed_requests_leave_nothing_behind(tunnel: Tunnel, upstream: Upstream) -> None:
    """Channels go back to the pool, and every table is empty again."""

    async def mixed(incoming: Incoming) -> None:
        if incoming.values("upgrade"):
            return await echo(incoming)
        body = await incoming.read_body()
        if incoming.target == b"/chunks":
            incoming.head(200, CHUNKED)
            incoming.chunk(b"x" * 100_000)
            incoming.chunk(b"")
        else:
            incoming.whole_answer(200 if incoming.target != b"/missing" else 404, body or b"ok")

    upstream.script = mixed
    await asyncio.gather(*[some_requests(tunnel, number) for number in range(20)])
    await tunnel.quiet()
    link = tunnel.link
    await until(lambda: len(link.channels) == len(tunnel.agent.link.channels._open))
    assert len(tunnel.agent.link.channels._idle) == len(link.channels) <= 22
    assert not tunnel.agent.agent.upstream._open - set(tunnel.agent.agent.upstream._idle)
    await until(lambda: not tunnel.stub.office.connections)
    assert tunnel.audit.read_text().count('"ResponseComplete"') == 200


async def some_requests(tunnel: Tunnel, number: int) -> None:
    """Ten of different kinds, on one connection and then another."""
    client = await tunnel.connect()
    for _ in range(2):
        assert (await client.ask("GET /api")).body == b"ok"
        assert (await client.ask("GET /chunks")).body == b"x" * 100_000
        assert (await client.ask("GET /missing")).status == 404
        assert (await client.ask("POST /api", body=b"y" * 70_000)).body == b"y" * 70_000
    await client.close()
    leaving, pipe = await tunnel.connect(), await tunnel.connect()
    leaving.send(request("GET /chunks"))
    await leaving.head()
    leaving.end.cut()
    await opened(pipe)
    pipe.send(b"%d" % number)
    assert await soon(pipe.end.read_exactly(len(b"%d" % number))) == b"%d" % number
    await pipe.close()


async def test_a_kept_connection_that_turned_out_closed_is_replaced_for_a_get(
    client: Client, upstream: Upstream
) -> None:
    """The apiserver closed it at that very moment and never looked at the request; a POST may have taken effect."""

    async def once(incoming: Incoming) -> None:
        if incoming.connection.requests[0] is not incoming:
            incoming.connection.end.cut()
            return
        incoming.whole_answer(200, b"ok")

    upstream.script = once
    assert (await client.ask("GET /1")).body == b"ok"
    assert (await client.ask("GET /2")).body == b"ok"
    assert (await client.ask("POST /3", body=b"x")).status == 502
    assert [incoming.target for incoming in upstream.requests] == [b"/1", b"/2", b"/2", b"/3"]


async def test_a_kept_connection_that_the_upstream_ends_is_not_used(
    client: Client, upstream: Upstream
) -> None:
    assert (await client.ask("GET /1")).body == b"ok"
    first = upstream.connections[0]
    first.end.write_end()
    await soon(first.over.wait())
    assert (await client.ask("POST /2", body=b"x")).body == b"ok"
    assert len(upstream.connections) == 2


# The credential ------------------------------------------------------------------------------------


async def only_new(incoming: Incoming) -> None:
    """Knows the new token alone."""
    await incoming.read_body()
    known = incoming.values("authorization") == ["Bearer new"]
    incoming.whole_answer(200 if known else 401, b"hello" if known else b"who?")


@pytest.mark.parametrize("line", ["GET /api", "POST /api"])
async def test_a_rotated_token_costs_nobody_a_request(
    tunnel: Tunnel, client: Client, upstream: Upstream, line: str
) -> None:
    """Case 60: the old one is rejected, the file is read again, and the request sent once more."""
    await client.ask("GET /before")  # the file has just been read, so that the old token is sent once more
    upstream.script = only_new
    tunnel.token_file.write_text("new\n")
    body = b"x" if line.startswith("POST") else b""
    assert (await client.ask(line, body=body)).body == b"hello"
    sent = [incoming.values("authorization") for incoming in upstream.requests[1:]]
    assert sent == [[f"Bearer {TOKEN}"], ["Bearer new"]]
    assert bytes(upstream.requests[2].body) == body
    assert (await client.ask(line, body=body)).body == b"hello"
    assert len(upstream.requests) == 4


async def test_a_401_that_stays_is_the_users(client: Client, upstream: Upstream) -> None:
    """Asked twice and no more."""
    upstream.script = answering(401, b"who?")
    answer = await client.ask("GET /api")
    assert (answer.status, answer.body) == (401, b"who?")
    assert len(upstream.requests) == 2


async def test_an_upload_that_meets_a_rotated_token_is_told_to_come_again(
    tunnel: Tunnel, client: Client, upstream: Upstream
) -> None:
    """Its body is gone from the tunnel, and a 401 would say that the user's own credentials are wrong."""
    await client.ask("GET /before")
    upstream.script = only_new
    tunnel.token_file.write_text("new\n")
    answer = await client.ask("POST /api", body=b"x" * 100_000)
    assert (answer.status, answer.values("retry-after")) == (503, ["1"])
    assert answer.kubernetes_status["details"] == {"retryAfterSeconds": 1}
    assert "the agent's credential, which has just been replaced" in answer.message
    again = await (await tunnel.connect()).ask("POST /api", body=b"x" * 100_000)
    assert again.body == b"hello"
    sent = [incoming.values("authorization") for incoming in upstream.requests[1:]]
    assert sent == [[f"Bearer {TOKEN}"], ["Bearer new"]]


async def test_a_401_to_an_upload_is_the_users_where_the_token_is_the_same(
    client: Client, upstream: Upstream
) -> None:
    upstream.script = answering(401, b"who?")
    assert (await client.ask("POST /api", body=b"x" * 100_000)).status == 401
    assert len(upstream.requests) == 1


async def test_a_token_file_that_is_gone_for_a_moment_changes_nothing(
    tunnel: Tunnel, client: Client, upstream: Upstream
) -> None:
    tunnel.token_file.unlink()
    upstream.script = only_new
    assert (await client.ask("GET /api")).status == 401
    tunnel.token_file.write_text("new")
    assert (await client.ask("GET /api")).body == b"hello"


async def test_a_credential_plugin_that_fails_leaves_the_agent_alive(parts: Tunnel, tmp_path: Path) -> None:
    """The user is told, and the next request tries again."""
    (tmp_path / "credential").write_text(
        '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"old"}}'
    )
    await parts.start_stub()
    kubeconfig = with_plugin(parts, tmp_path)
    none = {"upstream": None, "upstream_ca": None, "token_file": None}
    await parts.start_agent(kubeconfig=kubeconfig, **none)
    (tmp_path / "credential").unlink()
    parts.upstream.script = only_new
    client = await parts.connect()
    answer = await client.ask("GET /api")
    assert answer.status == 502
    assert answer.message.startswith("agent: ")
    (tmp_path / "credential").write_text(
        '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"new"}}'
    )
    assert (await client.ask("GET /api")).body == b"hello"


def with_plugin(parts: Tunnel, folder: Path) -> Path:
    """A kubeconfig whose plugin prints a file, and fails without it."""
    path = folder / "kubeconfig"
    path.write_text(
        f"""
current-context: c
contexts: [{{name: c, context: {{cluster: c, user: u}}}}]
clusters:
- name: c
  cluster: {{server: "https://localhost:{parts.upstream.port}", certificate-authority: "{parts.certificates.cluster_ca.path}"}}
users:
- name: u
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1
      command: cat
      args: ["{folder / "credential"}"]
      interactiveMode: Never
"""
    )
    path.chmod(0o600)
    return path


# Draining ------------------------------------------------------------------------------------------


async def test_a_stub_that_drains_finishes_what_runs(tunnel: Tunnel, upstream: Upstream) -> None:
    """A download, an upload and a pipe come to their ends; idle connections close; new ones are not accepted."""
    upstream.script = by_hand_or_echo
    idle, download, upload, pipe = [await tunnel.connect() for _ in range(4)]
    await idle.ask("GET /quick")
    download.send(request("GET /download"))
    down = await next_of(upstream, b"/download")
    upload.send(request("POST /upload", "Content-Length: 200000") + b"x" * 100_000)
    up = await next_of(upstream, b"/upload")
    await opened(pipe)
    port = tunnel.port
    draining = asyncio.get_running_loop().create_task(tunnel.stub.drain(30))
    assert await idle.ended() is End.CLOSE_NOTIFY
    with pytest.raises(OSError):  # noqa: PT011 refused or reset, as the system likes
        await asyncio.get_running_loop().create_connection(asyncio.Protocol, "127.0.0.1", port)
    upload.send(b"x" * 100_000)
    assert await soon(up.read_body()) == b"x" * 200_000
    up.whole_answer(200, b"up")
    down.whole_answer(200, b"down")
    assert (await upload.answer()).body == b"up"
    answer = await download.answer()
    assert answer.body == b"down"
    assert await download.ended() is End.CLOSE_NOTIFY
    assert not draining.done()
    pipe.send(b"last words")
    assert await soon(pipe.end.read_exactly(10)) == b"last words"
    await pipe.close()
    for client in (idle, download, upload):
        await client.close()
    await soon(draining)


async def by_hand_or_echo(incoming: Incoming) -> None:
    """A quick answer, an echo for upgrades, and the rest is the test's."""
    if incoming.target == b"/quick":
        incoming.whole_answer(200, b"quick")
    elif incoming.values("upgrade"):
        await echo(incoming)
    else:
        await incoming.answered.wait()


async def next_of(upstream: Upstream, target: bytes) -> Incoming:
    """The next request for a target."""
    while (incoming := await upstream.next_request()).target != target:
        pass
    return incoming


async def test_a_request_on_a_draining_stub_is_503(tunnel: Tunnel, upstream: Upstream) -> None:
    """It certainly was not asked, so it may be tried again at once, elsewhere."""
    upstream.script = by_hand
    client = await tunnel.connect()
    client.send(request("GET /1"))
    first = await upstream.next_request()
    draining = asyncio.get_running_loop().create_task(tunnel.stub.drain(30))
    await until(lambda: tunnel.stub.office.draining)
    first.whole_answer(200, b"1")
    answer = await client.answer()
    assert (answer.body, answer.values("connection")) == (b"1", ["close"])
    assert await client.ended() is End.CLOSE_NOTIFY
    await client.close()
    await soon(draining)


async def test_what_does_not_end_within_the_grace_is_cut(tunnel: Tunnel, upstream: Upstream) -> None:
    upstream.script = silent
    client = await tunnel.connect()
    client.send(request("GET /api?watch=true"))
    incoming = await upstream.next_request()
    incoming.head(200, CHUNKED)
    await client.head()
    await soon(tunnel.stub.drain(0.05))
    await tunnel.stub.stop()
    assert await client.ended() is End.CUT
    await soon(incoming.connection.over.wait())


async def test_an_agent_that_drains_finishes_what_runs(parts: Tunnel) -> None:
    """As `cluster-tunnel agent` does on SIGTERM; then it ends by itself."""
    await parts.start_stub()
    stopping = asyncio.Event()
    running = asyncio.get_running_loop().create_task(run_agent(parts.agent_settings(), stopping))
    await until(lambda: parts.stub.registry.links)
    parts.upstream.script = by_hand
    client = await parts.connect()
    client.send(request("GET /api"))
    incoming = await next_of(parts.upstream, b"/api")
    stopping.set()
    await until(lambda: parts.link.draining)
    assert (await (await parts.connect()).ask("GET /other")).status == 503
    incoming.whole_answer(200, b"late")
    assert (await client.answer()).body == b"late"
    await soon(running)
    await until(lambda: not parts.stub.registry.links)


async def test_an_agent_that_is_told_to_stop_while_it_dials_ends_at_once(parts: Tunnel) -> None:
    """Neither a stub nor an apiserver that does not answer keeps it."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        deaf_address = deaf.getsockname()
        await parts.start_stub()
        settings = parts.agent_settings(
            upstream=f"https://localhost:{deaf_address[1]}",
            stub=(Address("localhost", parts.port), Address("localhost", deaf_address[1])),
        )
        stopping = asyncio.Event()
        running = asyncio.get_running_loop().create_task(run_agent(settings, stopping))
        await until(lambda: parts.stub.registry.links)
        client = await parts.connect()
        client.send(request("GET /api"))
        await until(lambda: parts.link.in_flight == 1)
        client.end.cut()
        await until(lambda: not parts.link.in_flight)
        stopping.set()
        await soon(running, 3)


async def test_serve_ends_when_told_to(parts: Tunnel) -> None:
    """As `cluster-tunnel stub` does on SIGTERM."""
    stopping = asyncio.Event()
    settings = StubSettings(
        listen=Address("127.0.0.1", 0), admin_listen=None, ca_dir=parts.certificates.ca_dir
    )
    running = asyncio.get_running_loop().create_task(serve(settings, stopping))
    stopping.set()
    await soon(running)


# Breaking and coming back --------------------------------------------------------------------------


async def test_an_agent_comes_back_when_its_stub_does(tunnel: Tunnel) -> None:
    """With a new instance on the same address, and without help."""
    port, agent = tunnel.port, tunnel.agent
    first = agent.link.stub
    await tunnel.stub.stop()
    await tunnel.start_stub(port=port)
    await until(lambda: tunnel.stub.registry.links)
    assert (await (await tunnel.connect()).ask("GET /api")).body == b"ok"
    assert agent.link.stub is not None
    assert first is not None
    assert agent.link.stub.instance != first.instance


async def test_an_agent_waits_for_a_stub_that_is_not_there_yet(parts: Tunnel) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    await parts.start_agent(ready=False, stub_port=port)
    await parts.start_stub(port=port)
    await until(lambda: parts.stub.registry.links)


async def test_an_answer_outlives_its_session_and_leaves_no_channel(
    tunnel: Tunnel, client: Client, upstream: Upstream
) -> None:
    """A broken session alone cuts nothing that moves; its channels are closed when their answers are over."""
    upstream.script = by_hand
    client.send(request("GET /api"))
    incoming = await upstream.next_request()
    incoming.head(200, CHUNKED)
    incoming.chunk(b"one")
    await client.head()
    assert await client.chunk() == b"one"
    link, session = tunnel.link, tunnel.agent.link
    (busy,) = (channel for channel in link.channels if channel._asker is not None)
    cut(link.runner._stream)
    await soon(session.closed.wait())
    incoming.chunk(b"two")
    incoming.chunk(b"")
    assert await client.chunk() == b"two"
    assert await client.chunk() == b""
    await until(lambda: busy.stream.closing and not link.channels)
    await until(lambda: not session.channels._open)
    incoming.answered.set()


async def test_an_upload_whose_session_breaks_is_cut_upstream(
    tunnel: Tunnel, client: Client, upstream: Upstream
) -> None:
    """Although its answer has begun: the rest of the body has no way to come."""
    upstream.script = silent
    client.send(request("POST /api", CHUNKED) + b"1\r\na\r\n")
    incoming = await upstream.next_request()
    incoming.head(200, CHUNKED)
    incoming.chunk(b"go on")
    await client.head()
    assert await client.chunk() == b"go on"
    cut(tunnel.link.runner._stream)
    await soon(incoming.connection.over.wait())
    assert await client.ended() is End.CUT


async def test_a_dead_session_takes_its_channels_along(
    tunnel: Tunnel, client: Client, upstream: Upstream
) -> None:
    """One that stopped answering, unlike one that broke: what is behind it cannot be trusted to move."""
    upstream.script = silent
    client.send(request("GET /api"))
    incoming = await upstream.next_request()
    incoming.head(200, CHUNKED)
    await client.head()
    tunnel.link.runner.reject("it stopped answering")
    assert await client.ended() is End.CUT
    await soon(incoming.connection.over.wait())


async def test_a_burst_is_remembered_by_the_pool(tunnel: Tunnel, upstream: Upstream) -> None:
    """The next one finds its channels dialled."""
    upstream.script = by_hand
    clients = [await tunnel.connect() for _ in range(10)]
    for client in clients:
        client.send(request("GET /api"))
    running = [await upstream.next_request() for _ in clients]
    for incoming in running:
        incoming.head(200, CHUNKED)
    for client in clients:
        await client.head()
    for incoming in running:
        incoming.chunk(b"")
        incoming.answered.set()
    await tunnel.quiet()
    await until(lambda: len(tunnel.agent.link.channels._idle) >= 10)
