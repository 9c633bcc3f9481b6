"""The active label, against a small apiserver."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest

from stub.election.api import KubernetesApi
from stub.election.label import ACTIVE_LABEL, PodLabel
from tests.integration.election.apiserver import PODS, Apiserver
from tests.integration.waiting import soon, until

APP = {"app": "stub"}
ACTIVE = APP | {ACTIVE_LABEL: "true"}


@pytest.fixture
def label(api: KubernetesApi) -> PodLabel:
    return PodLabel(api, "ns", "one", "app=stub", review_seconds=0.01)


@contextlib.asynccontextmanager
async def doing(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(work)
        yield
        task.cancel()


async def test_a_stub_clears_the_label_of_its_pods_former_life(server: Apiserver, label: PodLabel) -> None:
    server.pods = {"one": dict(ACTIVE), "two": dict(ACTIVE)}
    await soon(label.clear_own())
    assert server.pods == {"one": APP, "two": ACTIVE}


async def test_the_active_stub_sets_its_own_first_and_takes_it_from_all_others(
    server: Apiserver, label: PodLabel
) -> None:
    other = {"app": "other", ACTIVE_LABEL: "true"}
    server.pods = {"one": dict(APP), "two": dict(ACTIVE), "three": dict(ACTIVE), "foreign": dict(other)}
    async with doing(label.keep()):
        await until(lambda: server.pods["two"] == server.pods["three"] == APP)
    assert server.pods["one"] == ACTIVE
    assert server.pods["foreign"] == other, "a Pod that is no stub keeps what it has"
    patches = [line for line in server.lines() if line.startswith("PATCH")]
    assert patches[0] == f"PATCH {PODS}/one"


async def test_a_label_that_comes_back_is_taken_again(server: Apiserver, label: PodLabel) -> None:
    server.pods = {"one": dict(APP), "two": dict(APP)}
    async with doing(label.keep()):
        await until(lambda: server.pods["one"] == ACTIVE)
        server.pods["two"] = dict(ACTIVE)
        await until(lambda: server.pods["two"] == APP)
        server.pods["one"] = APP | {ACTIVE_LABEL: "false"}
        await until(lambda: server.pods["one"] == ACTIVE)


async def test_a_label_that_is_right_is_not_written_again(server: Apiserver, label: PodLabel) -> None:
    server.pods = {"one": dict(ACTIVE), "two": dict(APP)}
    async with doing(label.keep()):
        await until(lambda: len(server.seen) > 5)
    assert {line.split()[0] for line in server.lines()} == {"GET"}


async def test_it_is_tried_until_it_works(
    server: Apiserver, label: PodLabel, caplog: pytest.LogCaptureFixture
) -> None:
    server.pods = {"one": dict(ACTIVE)}
    server.fault = (503, "<html>")
    async with doing(label.clear_own()):
        await until(lambda: len(server.seen) >= 3)
        server.fault = None
        await until(lambda: server.pods["one"] == APP)
    assert [record.message for record in caplog.records].count("the active label cannot be set") == 1


async def test_a_pod_that_is_gone_has_no_label_to_take(server: Apiserver, label: PodLabel) -> None:
    server.pods = {"two": dict(ACTIVE), "one": dict(ACTIVE), "three": dict(ACTIVE)}
    listed = server.pods
    async with doing(label.keep()):
        await until(lambda: server.seen)
        server.pods = {name: labels for name, labels in listed.items() if name != "two"}
        await until(lambda: server.pods["three"] == APP)


async def test_a_list_that_cannot_be_read_is_read_again(server: Apiserver, label: PodLabel) -> None:
    server.pods = {"one": dict(APP)}
    server.fault = (200, '{"items": [{"metadata": 7}]}')
    async with doing(label.keep()):
        await until(lambda: len(server.seen) >= 2)
        server.fault = None
        await until(lambda: server.pods["one"] == ACTIVE)
