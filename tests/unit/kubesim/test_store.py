from typing import Any

import pytest

from tests.kubesim.resources import resource
from tests.kubesim.selectors import both
from tests.kubesim.status import ApiError
from tests.kubesim.store import Change, Store
from tests.kubesim.watch import event_for

MAPS = resource("configmaps")


def config_map(name: str, namespace: str = "a", **labels: str) -> dict[str, Any]:
    return {"kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace, "labels": labels}}


def test_every_write_makes_the_next_version() -> None:
    store = Store()
    first = store.create(MAPS, config_map("x"))
    second = store.update(MAPS, config_map("x", one="1"))
    gone = store.remove(MAPS, "a", "x")
    versions = [int(obj["metadata"]["resourceVersion"]) for obj in (first, second, gone)]
    assert versions == [2, 3, 4]
    assert store.version == 4


def test_a_write_that_changes_nothing_makes_no_version() -> None:
    store = Store()
    first = store.create(MAPS, config_map("x"))
    assert store.update(MAPS, config_map("x")) is first


def test_a_second_object_of_the_same_name_is_409() -> None:
    store = Store()
    store.create(MAPS, config_map("x"))
    with pytest.raises(ApiError) as caught:
        store.create(MAPS, config_map("x"))
    assert (caught.value.code, caught.value.reason) == (409, "AlreadyExists")


def test_lists_are_in_the_order_of_namespace_and_name() -> None:
    store = Store()
    for name, namespace in (("b", "y"), ("a", "z"), ("c", "x")):
        store.create(MAPS, config_map(name, namespace))
    assert [obj["metadata"]["name"] for obj in store.list(MAPS)] == ["c", "b", "a"]
    assert [obj["metadata"]["name"] for obj in store.list(MAPS, "z")] == ["a"]


def test_changes_since_a_version_are_all_that_came_after() -> None:
    store = Store()
    store.create(MAPS, config_map("x"))
    version = store.version
    store.create(MAPS, config_map("y"))
    store.remove(MAPS, "a", "x")
    assert [(c.kind, c.object["metadata"]["name"]) for c in store.since(version)] == [
        ("ADDED", "y"),
        ("DELETED", "x"),
    ]


def test_a_version_before_the_compaction_is_410() -> None:
    store = Store()
    store.create(MAPS, config_map("x"))
    store.compact()
    assert list(store.since(store.version)) == []
    with pytest.raises(ApiError) as caught:
        store.since(store.version - 1)
    assert caught.value.code == 410


def test_what_the_caller_does_with_its_object_does_not_reach_the_store() -> None:
    store = Store()
    mine = config_map("x")
    store.create(MAPS, mine)
    mine["metadata"]["labels"]["late"] = "yes"
    assert store.get(MAPS, "a", "x")["metadata"]["labels"] == {}


@pytest.mark.parametrize(
    ("before", "after", "event"),
    [
        ({}, {"app": "web"}, "ADDED"),
        ({"app": "web"}, {"app": "web", "more": "1"}, "MODIFIED"),
        ({"app": "web"}, {}, "DELETED"),
        ({}, {"other": "1"}, None),
    ],
)
def test_a_selecting_watch_sees_objects_come_and_go(
    before: dict[str, str], after: dict[str, str], event: str | None
) -> None:
    change = Change("MODIFIED", MAPS, 1, config_map("x", **after), config_map("x", **before))
    seen = event_for(change, both("app=web", "", "configmaps"))
    assert (seen[0] if seen else None) == event
