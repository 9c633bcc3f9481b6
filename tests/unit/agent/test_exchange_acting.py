"""`kubectl --as` at the agent: refused, unless the owner allows it; then the cluster is asked before the request is."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agent.ceiling import Ceiling
from agent.inspection import Inspection
from agent.upstream.credential import StaticToken
from agent.upstream.reviews import Reviews
from tests.unit.agent.parts import Agent, request
from tests.unit.agent.upstream.test_reviews import Cluster
from tests.unit.fakes import Clock, settle
from tunnel.core.errors import BadRequest, Forbidden
from tunnel.core.http.message import Field
from tunnel.core.identity import Identity

BOB: Field = (b"Impersonate-User", b"bob")
SPDY: list[Field] = [(b"X-Stream-Protocol-Version", b"v4.channel.k8s.io")]


class Stage:
    """An agent that allows it, in a cluster that decides."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self.cluster = Cluster()
        self.agent = Agent(tasks=tasks, reviews=Reviews(self.cluster)).connect()

    async def ask(self, number: int = 1, *fields: Field, **more: Any) -> None:
        self.agent.ask(request(number, fields=[BOB, *fields], **more))
        await settle()


@pytest.fixture
async def stage(clock: Clock) -> AsyncIterator[Stage]:
    async with asyncio.TaskGroup() as tasks:
        yield Stage(tasks)


@pytest.mark.parametrize("upgrade", [False, True])
async def test_a_request_is_asked_as_the_other_once_the_cluster_allows_it(
    stage: Stage, upgrade: bool
) -> None:
    stage.cluster.open.clear()
    await stage.ask(1, *(SPDY if upgrade else []), upgrade=upgrade, method=b"POST" if upgrade else b"GET")
    assert not stage.agent.upstreams.borrowers
    stage.cluster.open.set()
    await settle()
    sent = stage.agent.upstreams.give().taken()
    assert sent.count(b"Impersonate-User") == 1
    assert b"\r\nImpersonate-User: bob\r\n" in sent
    assert b"\r\nImpersonate-Extra-cluster-tunnel%2foriginal-user: alice\r\n" in sent
    (spec,) = stage.cluster.asked
    assert (spec["user"], spec["resourceAttributes"]["name"]) == ("alice", "bob")


async def test_the_next_one_need_not_wait_and_the_users_own_never_does(stage: Stage) -> None:
    await stage.ask()
    stage.agent.upstreams.give().ok()
    stage.cluster.open.clear()
    stage.agent.ask(request(2, fields=[BOB]))
    assert b"User: bob" in stage.agent.upstreams.give().taken()
    stage.agent.ask(request(3))
    assert b"User: alice" in stage.agent.upstreams.give().taken()


async def test_what_the_cluster_does_not_allow_is_refused_and_never_sent(stage: Stage) -> None:
    stage.cluster.denied = {"bob"}
    await stage.ask()
    assert stage.agent.refused() == [(1, 403, False)]
    assert not stage.agent.upstreams.borrowers


async def test_whom_the_ceiling_forbids_the_cluster_is_not_even_asked_about(stage: Stage) -> None:
    stage.agent.ask(request(fields=[(b"Impersonate-User", b"system:admin")]))
    assert stage.agent.refused() == [(1, 403, False)]
    assert not stage.cluster.asked


async def test_what_was_checked_says_whom_it_is_asked_as(stage: Stage) -> None:
    checked = Inspection(
        Ceiling(impersonate=True), StaticToken("t"), b"h", reviews=Reviews(stage.cluster)
    ).check(request(fields=[BOB]))
    assert checked.acting == Identity("bob")


def test_without_the_owners_leave_it_is_refused() -> None:
    inspection = Inspection(Ceiling(impersonate=True), StaticToken("t"), b"h")
    with pytest.raises(Forbidden, match="leave out --as"):
        inspection.check(request(fields=[BOB]))


@pytest.mark.parametrize(
    "fields",
    [
        [(b"impersonate_user", b"bob")],
        [BOB, BOB],
        [(b"Impersonate-Group", b"ops")],
        [BOB, (b"Impersonate-Extra-cluster-tunnel%2foriginal-user", b"root")],
        [BOB, (b"X", b"a\r\nImpersonate-User: root")],
    ],
)
async def test_a_stub_that_lies_about_it_is_refused(stage: Stage, fields: list[Field]) -> None:
    inspection = Inspection(Ceiling(impersonate=True), StaticToken("t"), b"h", reviews=Reviews(stage.cluster))
    with pytest.raises(BadRequest):
        inspection.check(request(fields=fields))
