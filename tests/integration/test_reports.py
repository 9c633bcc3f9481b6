"""What an agent finds out by itself arrives at the stub, and decides who is asked."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from agent.dialer import run as run_agent
from agent.facts import probe
from stub.agents.link import AgentLink
from tests.integration.tunnel_fixture import BLUE, TOKEN, Tunnel
from tests.integration.upstream import Incoming
from tests.integration.waiting import soon, until
from tests.unit.agent.facts.test_tally import node, pod
from tunnel.core import limits
from tunnel.core.wire.control import Capacity


class Cluster:
    """An apiserver with two nodes and a pod, whose health the test decides."""

    def __init__(self, tunnel: Tunnel) -> None:
        self.tunnel = tunnel
        self.health = 200
        self.lists = 200
        tunnel.upstream.script = self.serve

    async def serve(self, incoming: Incoming) -> None:
        path, _, query = incoming.target.partition(b"?")
        answers = {
            b"/readyz": (self.health, b"ok"),
            b"/version": (200, b'{"gitVersion": "v1.33.1"}'),
            b"/api/v1/nodes": (self.lists, self.nodes(query)),
            b"/api/v1/pods": (self.lists, listed(pod("a", cpu="500m"))),
        }
        incoming.whole_answer(*answers.get(path, (200, b"ok")))

    def nodes(self, query: bytes) -> bytes:
        """Two pages."""
        if b"continue" in query:
            return listed(node("b", cpu="2"))
        return listed(node("a", cpu="4", **{"nvidia.com/gpu": "8"}), more="page-2")

    @property
    def link(self) -> AgentLink:
        return self.tunnel.link


def listed(*items: object, more: str = "") -> bytes:
    return json.dumps({"kind": "List", "metadata": {"continue": more}, "items": items}).encode()


@pytest.fixture
async def cluster(parts: Tunnel, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    """A whole agent, as the command runs it, that looks and reports often."""
    monkeypatch.setattr(limits, "REPORT_SECONDS", 0.02)
    monkeypatch.setattr(probe, "PROBE_SECONDS", 0.02)
    cluster, stopping = Cluster(parts), asyncio.Event()
    await parts.start_stub()
    running = asyncio.get_running_loop().create_task(run_agent(parts.agent_settings(), stopping))
    await until(lambda: parts.stub.registry.links)
    yield cluster
    stopping.set()
    await soon(running)


async def test_version_nodes_and_capacity_arrive(cluster: Cluster) -> None:
    await until(lambda: cluster.link.report.resources)
    report = cluster.link.report
    assert (report.upstream_version, report.nodes) == ("v1.33.1", 2)
    assert report.resources == (Capacity("cpu", 6000, 5500, 3500), Capacity("nvidia.com/gpu", 8, 8, 8))
    assert report.upstream_reachable
    asked = {incoming.values("authorization")[0] for incoming in cluster.tunnel.upstream.requests}
    assert asked == {f"Bearer {TOKEN}"}


async def test_an_apiserver_that_is_not_ready_is_known_before_a_request_finds_out(cluster: Cluster) -> None:
    await until(lambda: cluster.link.report.upstream_reachable)
    cluster.health = 500
    await until(lambda: not cluster.link.report.upstream_reachable)
    cluster.health = 200
    await until(lambda: cluster.link.report.upstream_reachable)


async def test_an_agent_whose_apiserver_is_not_ready_is_asked_only_where_no_other_is_there(
    cluster: Cluster,
) -> None:
    tunnel = cluster.tunnel
    cluster.health = 500
    await until(lambda: not cluster.link.report.upstream_reachable)
    client = await tunnel.connect()
    assert (await client.ask("GET /api")).body == b"ok"
    await tunnel.start_agent(name="ready")
    picked = [tunnel.stub.registry.pick(BLUE) for _ in range(20)]
    assert {link.name for link in picked if link is not None} == {"ready"}
