"""Who may act as whom."""

import asyncio
from typing import Any

import pytest

from agent.caller import REMEMBERED_BYTES
from agent.upstream.posting import NotCreated
from agent.upstream.reviews import (
    CACHED_PERMISSIONS,
    MOST_PARTS,
    PATH,
    PERMITTED_SECONDS,
    Permission,
    Reviews,
)
from tests.unit.fakes import Clock, settle
from tunnel.core.errors import BadGateway, Forbidden, Refusal
from tunnel.core.identity import Identity

ALICE = Identity("alice", ("devs",), "u-1", (("team", ("a",)),))
BOB = Identity("bob", ("ops", "dba"), "u-2", (("scopes", ("view", "edit")),))


class Cluster:
    """Answers reviews as a test says."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.denied: set[str] = set()
        self.answer: Any = None
        self.fault: Exception | None = None
        self.open = asyncio.Event()
        self.open.set()

    async def create(self, path: str, body: Any, what: str) -> Any:
        assert path == PATH
        self.asked.append(body["spec"])
        await self.open.wait()
        if self.fault is not None:
            raise self.fault
        name = body["spec"]["resourceAttributes"]["name"]
        return self.answer if self.answer is not None else {"status": {"allowed": name not in self.denied}}


@pytest.fixture
async def cluster(clock: Clock) -> Cluster:
    return Cluster()


def ready(permission: Permission) -> bool:
    return permission.ready(asyncio.get_running_loop().time())


async def test_each_part_of_the_other_is_asked_about_as_the_apiserver_itself_would(cluster: Cluster) -> None:
    permission = Reviews(cluster).of(ALICE, BOB)
    assert not ready(permission)
    await permission.renew()
    assert ready(permission)
    subject = {
        "user": "alice",
        "groups": ["devs", "system:authenticated"],
        "uid": "u-1",
        "extra": {"team": ["a"]},
    }
    api = "authentication.k8s.io"
    assert [spec.pop("resourceAttributes") for spec in cluster.asked] == [
        {"verb": "impersonate", "resource": "users", "name": "bob"},
        {"verb": "impersonate", "resource": "groups", "name": "ops"},
        {"verb": "impersonate", "resource": "groups", "name": "dba"},
        {"verb": "impersonate", "group": api, "resource": "uids", "name": "u-2"},
        {
            "verb": "impersonate",
            "group": api,
            "resource": "userextras",
            "subresource": "scopes",
            "name": "view",
        },
        {
            "verb": "impersonate",
            "group": api,
            "resource": "userextras",
            "subresource": "scopes",
            "name": "edit",
        },
    ]
    assert cluster.asked == [subject] * 6


@pytest.mark.parametrize(
    ("user", "attributes"),
    [
        (
            "system:serviceaccount:shop:web",
            {"resource": "serviceaccounts", "namespace": "shop", "name": "web"},
        ),
        ("system:serviceaccount:shop", {"resource": "users", "name": "system:serviceaccount:shop"}),
        ("system:serviceaccount:a:b:c", {"resource": "users", "name": "system:serviceaccount:a:b:c"}),
    ],
)
async def test_a_service_account_is_one_where_its_name_is_whole(
    cluster: Cluster, user: str, attributes: dict[str, str]
) -> None:
    await Reviews(cluster).of(Identity("alice"), Identity(user)).renew()
    ((spec),) = cluster.asked
    assert spec == {
        "user": "alice",
        "groups": ["system:authenticated"],
        "resourceAttributes": {"verb": "impersonate", **attributes},
    }


@pytest.mark.parametrize("name", ["bob", "ops", "u-2", "edit"])
async def test_one_part_that_is_not_allowed_is_enough(cluster: Cluster, name: str) -> None:
    cluster.denied = {name}
    permission = Reviews(cluster).of(ALICE, BOB)
    with pytest.raises(Forbidden, match=f"'{name}'"):
        await permission.renew()
    assert not ready(permission)
    assert cluster.asked[-1]["resourceAttributes"]["name"] == name


@pytest.mark.parametrize(
    "answer",
    [[], "x", {}, {"status": None}, {"status": {"allowed": "true"}}, {"status": {"allowed": 1}}, {"status": {"denied": False}}],
)  # fmt: skip
async def test_nothing_but_a_plain_yes_is_one(cluster: Cluster, answer: object) -> None:
    cluster.answer = answer
    with pytest.raises(Forbidden):
        await Reviews(cluster).of(ALICE, BOB).renew()


async def test_a_permission_holds_for_a_while_for_the_same_two_alone(cluster: Cluster, clock: Clock) -> None:
    reviews = Reviews(cluster)
    await reviews.of(ALICE, BOB).renew()
    assert ready(reviews.of(ALICE, BOB))
    assert not ready(reviews.of(Identity("eve"), BOB))
    assert not ready(reviews.of(ALICE, Identity("bob")))
    await clock.advance(PERMITTED_SECONDS)
    assert not ready(reviews.of(ALICE, BOB))


async def test_a_burst_of_requests_asks_once(cluster: Cluster) -> None:
    permission = Reviews(cluster).of(ALICE, Identity("bob"))
    cluster.open.clear()
    waiting = [asyncio.get_running_loop().create_task(permission.renew()) for _ in range(4)]
    await settle()
    cluster.open.set()
    await asyncio.gather(*waiting)
    assert len(cluster.asked) == 1


async def test_too_many_parts_are_refused_and_not_asked_about(cluster: Cluster) -> None:
    groups = tuple(f"g{number}" for number in range(MOST_PARTS))
    with pytest.raises(Forbidden, match="the limit is 16"):
        Reviews(cluster).of(ALICE, Identity("bob", groups))
    Reviews(cluster).of(ALICE, Identity("bob", groups[1:]))


async def test_an_apiserver_that_does_not_answer_permits_nothing(cluster: Cluster, clock: Clock) -> None:
    cluster.open.clear()
    permission = Reviews(cluster).of(ALICE, BOB)
    waiting = asyncio.get_running_loop().create_task(permission.renew())
    await settle()
    await clock.advance(10)
    with pytest.raises(BadGateway, match="took longer than 10 s"):
        await waiting
    assert not ready(permission)


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        (NotCreated(403), Forbidden, "grant it create on subjectaccessreviews"),
        (NotCreated(500), BadGateway, "answered 500"),
        (BadGateway("gone"), BadGateway, "gone"),
    ],
)
async def test_a_review_that_cannot_be_had_permits_nothing(
    cluster: Cluster, fault: Exception, kind: type[Refusal], words: str
) -> None:
    cluster.fault = fault
    permission = Reviews(cluster).of(ALICE, BOB)
    with pytest.raises(kind, match=words):
        await permission.renew()
    assert not ready(permission)


async def test_it_remembers_only_so_many(cluster: Cluster) -> None:
    reviews = Reviews(cluster)
    for number in range(CACHED_PERMISSIONS + 1):
        reviews.of(ALICE, Identity(f"u{number}"))
    assert len(reviews._known) == 1


@pytest.mark.parametrize("large", [(True, False), (False, True)])
async def test_what_is_decided_about_large_identities_is_not_remembered(
    cluster: Cluster, large: tuple[bool, bool]
) -> None:
    user, acting = (Identity("u" * REMEMBERED_BYTES, ("g",)) if each else ALICE for each in large)
    reviews = Reviews(cluster)
    assert reviews.of(user, acting) is not reviews.of(user, acting)
    assert reviews.of(ALICE, BOB) is reviews.of(ALICE, BOB)
