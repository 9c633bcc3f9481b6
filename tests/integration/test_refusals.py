"""What the tunnel itself answers when it cannot carry a request: a Status that names the hop, and what to do next."""

import re

import pytest

from tests.integration.client import Answer, request
from tests.integration.tls_end import End
from tests.integration.tunnel_fixture import Tunnel, cut
from tests.integration.upstream import silent
from tests.integration.waiting import soon, until


def refusal(answer: Answer, status: int, hop: str, words: str) -> None:
    """Check that an answer is a refusal as kubectl needs it, with the reason in body and Warning."""
    assert answer.status == status
    assert answer.message.startswith(f"{hop}: ")
    assert re.search(words, answer.message), answer.message
    (warning,) = answer.values("warning")
    assert re.fullmatch(f'299 {hop} "{hop}: .*"', warning)
    (request_id,) = answer.values("x-cluster-tunnel-request-id")
    assert request_id in answer.message


async def test_without_an_agent_it_is_503_at_once(parts: Tunnel) -> None:
    """Case 30: the reason is in a Warning too, which kubectl prints; no Retry-After, or it would try for ten seconds."""
    await parts.start_stub()
    client = await parts.connect()
    answer = await soon(client.ask("GET /api"), 2)
    refusal(answer, 503, "stub", "no agent of cluster 'blue' is connected")
    assert not answer.values("retry-after")
    assert (await client.ask("HEAD /api")).status == 503
    assert (await client.ask("GET /api")).status == 503


async def test_shortly_after_the_last_agent_left_a_client_is_told_to_try_again(tunnel: Tunnel) -> None:
    await tunnel.agent.stop()
    await until(lambda: not tunnel.stub.registry.links)
    answer = await (await tunnel.connect()).ask("POST /api", body=b"x")
    refusal(answer, 503, "stub", r"the last one left \d s ago")
    assert answer.values("retry-after") == ["1"]
    assert not tunnel.upstream.requests


async def test_a_cluster_that_was_never_seen_is_404(tunnel: Tunnel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Case 33: the Status names the id; a stub that has just started cannot tell yet and says 503."""
    client = await tunnel.connect()
    refusal(await client.ask("GET /clusters/red/api"), 503, "stub", "'red'")
    monkeypatch.setattr("stub.front.office.STARTING_SECONDS", 0.0)
    refusal(
        await client.ask("GET /clusters/red/api"), 404, "stub", "no agent of cluster 'red' has ever connected"
    )
    assert (await client.ask("GET /clusters/blue/api")).body == b"ok"


async def test_without_any_cluster_named_it_is_404(parts: Tunnel) -> None:
    await parts.start_stub(default_cluster=None, domain="clusters.test")
    client = await parts.connect()
    refusal(await client.ask("GET /api"), 404, "stub", "names no cluster")


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_a_request_that_may_have_taken_effect_is_502(tunnel: Tunnel, method: str) -> None:
    """Case 32: without Retry-After, and upstream received it once; the message names what is not known."""
    tunnel.upstream.script = silent
    client = await tunnel.connect()
    client.send(request(f"{method} /api", body=b"x" if method == "POST" else b""))
    await tunnel.upstream.next_request()
    await tunnel.agent.cut()
    answer = await client.answer()
    refusal(answer, 502, "stub", "agent went away before it answered .* not known")
    assert not answer.values("retry-after")
    assert len(tunnel.upstream.requests) == 1


async def test_an_upload_that_loses_its_agent_is_502(tunnel: Tunnel) -> None:
    tunnel.upstream.script = silent
    client = await tunnel.connect()
    client.send(request("POST /api", "Content-Length: 1000000") + b"x" * 100_000)
    await tunnel.upstream.next_request()
    await tunnel.agent.cut()
    assert (await client.answer()).status == 502
    assert await client.ended() is End.CLOSE_NOTIFY


async def test_an_apiserver_that_cannot_be_reached_is_502(tunnel: Tunnel) -> None:
    await tunnel.upstream.__aexit__(None, None, None)
    client = await tunnel.connect()
    refusal(await client.ask("GET /api"), 502, "agent", "apiserver cannot be reached: connect to localhost")


async def test_an_apiserver_with_a_foreign_certificate_is_502(parts: Tunnel) -> None:
    await parts.start_stub()
    await parts.start_agent(upstream_ca=parts.certificates.user_ca.path)
    client = await parts.connect()
    refusal(await client.ask("GET /api"), 502, "agent", "TLS handshake .* certificate is refused")
    assert not parts.upstream.requests


async def test_an_apiserver_that_cuts_before_its_answer_is_502(tunnel: Tunnel) -> None:
    async def cuts(incoming: object) -> None:
        tunnel.upstream.connections[-1].end.cut()

    tunnel.upstream.script = cuts
    client = await tunnel.connect()
    for _ in range(2):
        refusal(await client.ask("POST /api", body=b"x"), 502, "agent", "before it answered")
    assert len(tunnel.upstream.requests) == 2


async def test_too_many_requests_at_once_are_429(parts: Tunnel) -> None:
    """The agent's limit on channels is its limit on requests; the one above it is refused, the others go on."""
    await parts.start_stub()
    await parts.start_agent(channels_floor=1, channels_limit=2)
    parts.upstream.script = silent
    clients = [await parts.connect() for _ in range(3)]
    for client in clients[:2]:
        client.send(request("GET /api?watch=true"))
        await parts.upstream.next_request()
    refusal(await clients[2].ask("GET /api"), 429, "agent", "2 requests are under way")


async def test_a_draining_agent_is_not_asked(tunnel: Tunnel) -> None:
    tunnel.agent.link.drain("shutting down")
    await until(lambda: tunnel.link.draining)
    answer = await (await tunnel.connect()).ask("GET /api")
    refusal(answer, 503, "stub", "every agent of cluster 'blue' is draining")
    assert answer.values("retry-after") == ["1"]


async def test_two_agents_share_the_work_and_one_is_enough(tunnel: Tunnel) -> None:
    await tunnel.start_agent()
    client = await tunnel.connect()
    for _ in range(40):
        assert (await client.ask("GET /api")).status == 200
    assert len(tunnel.upstream.connections) >= 2
    await tunnel.agents[0].cut()
    await until(lambda: len(tunnel.stub.registry.links) == 1)
    for _ in range(10):
        assert (await client.ask("GET /api")).status == 200


@pytest.mark.parametrize(
    "target",
    [
        "/clusters/blue/../green/api",
        "/clusters/blue/%2e%2e/green/api",
        "/clusters/blue/%2E%2e%2fgreen/api",
        "/clusters//green/api",
        "//clusters/green/api",
        "/clusters/blue%2f..%2fgreen/api",
        "/CLUSTERS/green/api",
        "/clusters/GREEN/api",
        "/%63lusters/green/api",
        "/x/../clusters/green/api",
        "/clusters/green\\api",
        "/./clusters/green/api",
    ],
)
async def test_no_detour_leads_to_another_cluster(parts: Tunnel, target: str) -> None:
    """Case 45: what some reader could take for another cluster's prefix is refused, and reaches nobody."""
    await parts.start_stub()
    await parts.start_agent("blue")
    await parts.start_agent("green")
    client = await parts.connect()
    assert (await client.ask(f"GET {target}")).status == 400
    assert not parts.upstream.requests


async def test_clusters_are_kept_apart(parts: Tunnel) -> None:
    """Each cluster's requests go to its own agents."""
    await parts.start_stub()
    blue = await parts.start_agent("blue")
    await parts.start_agent("green", mode="token")
    client = await parts.connect()
    await client.ask("GET /clusters/blue/api")
    await client.ask("GET /clusters/green/api")
    seen = [incoming.values("impersonate-user") for incoming in parts.upstream.requests]
    assert seen == [["jane"], []]
    await blue.cut()
    assert (await client.ask("GET /clusters/green/api")).status == 200
    await until(lambda: len(parts.stub.registry.links) == 1)
    assert (await client.ask("GET /clusters/blue/api")).status == 503


async def test_a_session_that_breaks_before_the_answer_is_502(tunnel: Tunnel) -> None:
    tunnel.upstream.script = silent
    client = await tunnel.connect()
    client.send(request("GET /api"))
    incoming = await tunnel.upstream.next_request()
    cut(tunnel.link.runner._stream)
    refusal(await client.answer(), 502, "stub", "went away")
    await soon(incoming.connection.over.wait())
    await tunnel.quiet()
