"""The cluster's version and capacity."""

import asyncio
import json
import random
from typing import Any, cast

import pytest

from agent.facts.collector import TOO_LARGE_SECONDS, Collector
from agent.facts.vitals import Vitals
from agent.upstream.question import NoAnswer, TooMuch
from tests.unit.agent.facts.scripted import Scripted
from tests.unit.agent.facts.test_tally import node, pod
from tests.unit.fakes import Clock, settle
from tunnel.core.wire.control import Capacity

VERSION = b'{"gitVersion": "v1.33.1"}'
FULL = (Capacity("cpu", 4000, 3000, 3000),)


def page(*items: dict[str, Any], more: str = "") -> bytes:
    return json.dumps({"metadata": {"continue": more}, "items": items}).encode()


NODES = page(node("a", cpu="4"))
PODS = page(pod("a", cpu="1"))


class Collecting:
    """A collector that has gone one round."""

    def __init__(self, interval: float | None = 300.0, **answers: Any) -> None:
        self.vitals = Vitals()
        self.apiserver = Scripted.of(**({"version": VERSION, "nodes": NODES, "pods": PODS} | answers))
        self.collector = Collector(cast("Any", self.apiserver), self.vitals, interval)

    async def round(self) -> Vitals:
        task = asyncio.get_running_loop().create_task(self.collector.run())
        await settle()
        task.cancel()
        await asyncio.wait([task])
        return self.vitals


async def test_version_nodes_and_capacity_are_found() -> None:
    collecting = Collecting()
    assert await collecting.round() == Vitals(version="v1.33.1", nodes=1, resources=FULL)
    assert collecting.apiserver.asked == [
        "/version",
        "/api/v1/nodes?limit=500&resourceVersion=0",
        "/api/v1/pods?fieldSelector=status.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed&limit=500&resourceVersion=0",
    ]


async def test_a_list_in_pages_is_read_to_its_end() -> None:
    collecting = Collecting(nodes=[page(node("a", cpu="4"), more="to/ken"), page(node("b", cpu="4"))])
    assert (await collecting.round()).nodes == 2
    assert collecting.apiserver.asked[2] == "/api/v1/nodes?limit=500&continue=to%2Fken"


@pytest.mark.parametrize("refused", [403, TooMuch("too large"), b"<html>"])
async def test_what_is_refused_is_left_out_and_told_once(
    refused: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    no_nodes = Collecting(nodes=refused)
    no_nodes.vitals.nodes, no_nodes.vitals.resources = 1, FULL
    assert await no_nodes.round() == Vitals(version="v1.33.1")
    no_pods = Collecting(pods=refused)
    assert await no_pods.round() == Vitals(version="v1.33.1", nodes=1, resources=(Capacity("cpu", 4000),))
    await no_pods.round()
    assert caplog.messages == ["a fact about the cluster is left out"] * 2


async def test_no_answer_leaves_the_facts_of_the_last_round() -> None:
    collecting = Collecting(version=[VERSION, NoAnswer("timeout")], pods=[PODS, NoAnswer("timeout")])
    first = await collecting.round()
    assert (first.version, first.resources) == ("v1.33.1", FULL)
    second = await collecting.round()
    assert (second.version, second.resources) == ("v1.33.1", FULL)


@pytest.mark.parametrize("version", [b"", b"[]", b"{}", b'{"gitVersion": 1}', b"[" * 100_000])
async def test_a_version_that_is_none_is_left_out(version: bytes) -> None:
    assert (await Collecting(version=version).round()).version == ""


async def test_a_401_is_asked_again_with_a_newer_credential() -> None:
    collecting = Collecting(nodes=[401, NODES])
    collecting.apiserver.renews = True
    assert (await collecting.round()).nodes == 1
    stays = Collecting(nodes=401)
    stays.apiserver.renews = True
    assert (await stays.round()).nodes == 0
    assert stays.apiserver.renewed == 1


async def test_switched_off_it_asks_for_the_version_alone() -> None:
    collecting = Collecting(interval=None)
    assert await collecting.round() == Vitals(version="v1.33.1")
    assert collecting.apiserver.asked == ["/version"]


# How often ---------------------------------------------------------------------------------------


async def rounds(collecting: Collecting, clock: Clock, seconds: int) -> int:
    """How often nodes were asked for in so long a time."""
    task = asyncio.get_running_loop().create_task(collecting.collector.run())
    await settle()
    for _ in range(seconds // 10):
        await clock.advance(10)
    task.cancel()
    await asyncio.wait([task])
    return sum("/nodes" in path for path in collecting.apiserver.asked)


@pytest.mark.parametrize(("jitter", "count"), [(0.0, 13), (0.999, 9)])
async def test_rounds_are_an_interval_apart_give_or_take_a_fifth(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, jitter: float, count: int
) -> None:
    monkeypatch.setattr(random, "random", lambda: jitter)
    assert await rounds(Collecting(), clock, 3000) == count


async def test_a_cluster_that_is_too_large_is_asked_again_an_hour_later(clock: Clock) -> None:
    collecting = Collecting(pods=TooMuch("too large"))
    assert await rounds(collecting, clock, int(TOO_LARGE_SECONDS) - 10) == 1
    assert await rounds(collecting, clock, int(TOO_LARGE_SECONDS)) == 3


async def test_an_apiserver_that_takes_long_is_left_in_peace_for_longer(clock: Clock) -> None:
    collecting = Collecting()

    async def slowly(*args: Any, **more: Any) -> Any:
        clock.now += 10
        return await Scripted.get(collecting.apiserver, *args, **more)

    collecting.apiserver.get = slowly  # type: ignore[method-assign]
    assert await rounds(collecting, clock, 5900) == 1
