"""What the admin endpoints say. They are asked without a socket."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web

from stub.admin import AdminEndpoints
from stub.leadership import Leadership
from tests.unit.fakes import Clock
from tests.unit.stub.parts import Stub
from tunnel.core.wire.control import Report

NO_REQUEST = cast("web.Request", None)


def endpoints(stub: Stub, problem: str | None = None) -> AdminEndpoints:
    return AdminEndpoints(stub.registry, lambda: problem, lambda: b"metric 1\n")


async def test_it_is_alive_whatever_else(stub: Stub) -> None:
    answer = await endpoints(stub, "draining")._livez(NO_REQUEST)
    assert (answer.status, answer.text) == (200, "ok\n")


@pytest.mark.parametrize(
    ("problem", "status", "text"), [(None, 200, "ok\n"), ("draining", 503, "draining\n")]
)
async def test_it_says_why_it_is_not_ready(stub: Stub, problem: str | None, status: int, text: str) -> None:
    answer = await endpoints(stub, problem)._readyz(NO_REQUEST)
    assert (answer.status, answer.text) == (status, text)


async def test_metrics_are_in_prometheus_text_format(stub: Stub) -> None:
    answer = await endpoints(stub)._get_metrics(NO_REQUEST)
    assert answer.body == b"metric 1\n"
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4"


async def test_clusters_lists_each_agent_with_its_state_and_no_token(stub: Stub, clock: Clock) -> None:
    agent = stub.agent("agent-1")
    agent.core.send_report(Report(upstream_milliseconds=4, requests=2, pipes=1, upstream_version="v1.33.1"))
    agent.say()
    agent.channel()
    await clock.advance(12.5)
    answer = await endpoints(stub)._clusters(NO_REQUEST)
    listed: dict[str, Any] = json.loads(answer.text or "")
    assert listed == {
        "blue": [
            {
                "agent": "agent-1",
                "software": "cluster-tunnel/0.1",
                "address": "192.0.2.9",
                "connectedSeconds": 12.5,
                "channels": 1,
                "requestsInFlight": 2,
                "pipes": 1,
                "draining": False,
                "upstreamReachable": True,
                "upstreamMilliseconds": 4,
                "upstreamVersion": "v1.33.1",
                "nodes": 0,
                "resources": {},
            }
        ]
    }
    assert agent.link.token not in (answer.text or "")


async def test_a_cluster_whose_agents_are_gone_stays_listed(stub: Stub) -> None:
    stub.agent().stream.lose()
    answer = await endpoints(stub)._clusters(NO_REQUEST)
    assert json.loads(answer.text or "") == {"blue": []}


async def test_a_stub_without_a_lease_is_active(stub: Stub) -> None:
    answer = await endpoints(stub)._lease(NO_REQUEST)
    assert json.loads(answer.text or "") == {"lease": "none", "state": "active"}


async def test_the_lease_is_described(stub: Stub) -> None:
    described = {"lease": "file:x", "state": "standby", "holder": "other_1", "epoch": 4}
    leadership = cast("Leadership", SimpleNamespace(describe=lambda: described))
    admin = AdminEndpoints(stub.registry, lambda: None, lambda: b"", leadership)
    assert json.loads((await admin._lease(NO_REQUEST)).text or "") == described


async def test_stopping_what_never_started_is_harmless(stub: Stub) -> None:
    await asyncio.wait_for(endpoints(stub).stop(), 5)
