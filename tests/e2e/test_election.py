"""The election on a real Lease, and the label on real Pods."""

import asyncio
import contextlib
import re
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from stub.election.api import KubernetesApi
from stub.election.candidate import Term
from stub.election.errors import StoreConflict, StoreRefused
from stub.election.events import ElectionEvent, Lost
from stub.election.label import ACTIVE_LABEL, PodLabel
from stub.election.loop import Elector, Surroundings, boottime, new_identity
from stub.election.record import LeaseRecord
from stub.election.stores.kubernetes import KubernetesLeaseStore
from stub.election.timing import ElectionTiming

TIMING = ElectionTiming()
MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
async def namespace(cluster: Path) -> AsyncIterator[str]:
    api = KubernetesApi(cluster)
    name = f"election-{secrets.token_hex(4)}"
    await api.call("CoreV1Api", "create_namespace", {"metadata": {"name": name}}, timeout_seconds=10)
    yield name
    await api.call("CoreV1Api", "delete_namespace", name, timeout_seconds=10)
    await api.close()


class BlackHoled(KubernetesLeaseStore):
    """A store whose way to the apiserver can be cut without a word."""

    cut = False

    async def read(self, timeout_seconds: float) -> LeaseRecord | None:
        await self._pass()
        return await super().read(timeout_seconds)

    async def write(self, record: LeaseRecord, timeout_seconds: float) -> LeaseRecord:
        await self._pass()
        return await super().write(record, timeout_seconds)

    async def _pass(self) -> None:
        if self.cut:
            await asyncio.Event().wait()


class Member:
    """One elector on the real Lease."""

    def __init__(self, cluster: Path, namespace: str, name: str) -> None:
        self.api = KubernetesApi(cluster)
        self.store = BlackHoled(self.api, namespace, "active")
        self.events: list[tuple[float, ElectionEvent]] = []
        self.terms: list[tuple[float, Term]] = []
        self.stopped_at: list[float] = []
        around = Surroundings(on_event=lambda event: self.events.append((boottime(), event)))
        self.elector = Elector(self.store, new_identity(name), self._lead, surroundings=around)
        self.task: asyncio.Task[None] | None = None

    async def _lead(self, term: Term) -> None:
        self.terms.append((boottime(), term))
        try:
            await asyncio.Event().wait()
        finally:
            self.stopped_at.append(boottime())


@contextlib.asynccontextmanager
async def running(*members: Member) -> AsyncIterator[None]:
    async with contextlib.AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        for member in members:
            stack.push_async_callback(member.store.close)
            await member.api.open()
            member.task = group.create_task(member.elector.run())
        yield
        for member in members:
            assert member.task is not None
            member.task.cancel()


async def until(true: Callable[[], object], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.005)


async def first_and_second(one: Member, two: Member) -> tuple[Member, Member]:
    await until(lambda: one.terms or two.terms, 10)
    await asyncio.sleep(2 * TIMING.longest_retry_seconds)  # the other shall have seen a renewal
    return (one, two) if one.elector.holds() else (two, one)


@pytest.fixture
def pair(cluster: Path, namespace: str) -> tuple[Member, Member]:
    return Member(cluster, namespace, "one"), Member(cluster, namespace, "two")


async def test_a_stop_hands_over_within_a_second_and_every_time_has_six_digits(
    pair: tuple[Member, Member],
) -> None:
    async with running(*pair):
        first, second = await first_and_second(*pair)
        asked_at = boottime()
        first.elector.stop()
        await until(lambda: second.terms, 5)
        taken_at, term = second.terms[0]
        record = await second.store.read(5.0)
    assert taken_at - asked_at < 1.0
    assert first.stopped_at[0] < taken_at
    assert term.epoch == first.terms[0][1].epoch + 1
    assert record is not None
    assert MICRO_TIME.fullmatch(record.renewed_at)
    assert MICRO_TIME.fullmatch(record.acquired_at)
    assert record.transitions == term.epoch


async def test_a_crashed_holder_is_followed_by_the_lease_and_a_second(pair: tuple[Member, Member]) -> None:
    async with running(*pair):
        first, second = await first_and_second(*pair)
        assert first.task is not None
        first.task.cancel()
        crashed_at = boottime()
        await until(lambda: second.terms, TIMING.lease_seconds + 5)
    assert second.terms[0][0] - crashed_at <= TIMING.lease_seconds + 1


async def test_a_holder_without_the_apiserver_has_stopped_before_the_other_takes_over(
    pair: tuple[Member, Member],
) -> None:
    async with running(*pair):
        first, second = await first_and_second(*pair)
        first.store.cut = True
        while not second.elector.holds():
            await asyncio.sleep(0.002)
            assert not (first.elector.holds() and second.elector.holds())
        assert not first.elector.holds()
        assert any(isinstance(event, Lost) for _, event in first.events)
        await until(lambda: second.terms, 1)
    assert first.stopped_at[0] < second.terms[0][0] - 3.0, "10 s against 15 s"


async def test_a_holder_that_was_stopped_past_its_deadline_does_not_hold_when_it_goes_on(
    cluster: Path, namespace: str
) -> None:
    command = [sys.executable, "-m", "tests.e2e.election_member", str(cluster), namespace, "active", "child"]
    child = await asyncio.create_subprocess_exec(*command, stdin=-1, stdout=-1)
    assert child.stdin is not None
    assert child.stdout is not None
    member = Member(cluster, namespace, "parent")
    try:
        assert await asyncio.wait_for(child.stdout.readline(), 30) == b"BecameActive\n"
        child.stdin.write(b"?")
        assert await child.stdout.readline() == b"holds=True\n"
        async with running(member):
            await asyncio.sleep(2 * TIMING.longest_retry_seconds)
            child.send_signal(signal.SIGSTOP)
            await until(lambda: member.terms, TIMING.lease_seconds + 5)
            child.stdin.write(b"?" * 20)
            child.send_signal(signal.SIGCONT)
            said = [await asyncio.wait_for(child.stdout.readline(), 10) for _ in range(21)]
            assert member.elector.holds()
        assert said.count(b"holds=False\n") == 20
        assert said.count(b"Lost\n") == 1
    finally:
        child.kill()
        await child.wait()


async def test_the_real_store_refuses_what_the_fake_one_refuses(cluster: Path, namespace: str) -> None:
    store = KubernetesLeaseStore(KubernetesApi(cluster), namespace, "rules")
    draft = LeaseRecord("one", 15, "2026-01-01T00:00:00.000000Z", "2026-01-01T00:00:00.000000Z", 1)
    stored = await store.write(draft, 5.0)
    assert stored.says_the_same_as(await store.read(5.0) or draft)
    with pytest.raises(StoreConflict):
        await store.write(draft, 5.0)
    assert await store.write(stored, 5.0) == stored, (
        "the same again is no write, so every renewal has a new time"
    )
    later = "2026-01-01T00:00:02.000000Z"
    renewed = await store.write(replace(stored, renewed_at=later), 5.0)
    with pytest.raises(StoreConflict):
        await store.write(replace(stored, renewed_at=later), 5.0)
    with pytest.raises(StoreConflict):
        await store.write(replace(renewed, uid="00000000-0000-0000-0000-000000000000"), 5.0)
    with pytest.raises(StoreRefused, match=r"renewTime|parsing time"):
        await store.write(replace(renewed, renewed_at="2026-01-01T00:00:00Z"), 5.0)
    with pytest.raises(StoreConflict):
        await store.write(replace(renewed, version="1"), 5.0)
    await store.close()


async def test_the_label_follows_on_real_pods(cluster: Path, namespace: str) -> None:
    api = KubernetesApi(cluster)
    for name in ("one", "two"):
        await api.call("CoreV1Api", "create_namespaced_pod", namespace, _pod(name), timeout_seconds=10)
    labels = {name: PodLabel(api, namespace, name, "app=stub", review_seconds=0.2) for name in ("one", "two")}
    for name, other in (("one", "two"), ("two", "one")):
        async with asyncio.TaskGroup() as group:
            keeping = group.create_task(labels[name].keep())
            began = time.monotonic()
            while await _labelled(api, namespace) != [name]:
                await asyncio.sleep(0.02)
                assert time.monotonic() - began < 10, other
            keeping.cancel()
    await labels["two"].clear_own()
    assert await _labelled(api, namespace) == []
    await api.close()


def _pod(name: str) -> dict[str, object]:
    """A Pod that no scheduler takes: it never runs, and can be labelled all the same."""
    container = {"name": "main", "image": "none.invalid/none:1"}
    return {
        "metadata": {"name": name, "labels": {"app": "stub"}},
        "spec": {"schedulerName": "nobody", "containers": [container]},
    }


async def _labelled(api: KubernetesApi, namespace: str) -> list[str]:
    pods = await api.call(
        "CoreV1Api",
        "list_namespaced_pod",
        namespace,
        label_selector=f"{ACTIVE_LABEL}=true",
        timeout_seconds=5,
    )
    return [pod["metadata"]["name"] for pod in pods["items"]]
