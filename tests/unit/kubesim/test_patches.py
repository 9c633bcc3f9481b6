from typing import Any

import pytest

from tests.kubesim import patches
from tests.kubesim.schema import shape_of
from tests.kubesim.status import ApiError

POD = shape_of("", "v1", "Pod")
DEPLOYMENT = shape_of("apps", "v1", "Deployment")


def pod(*containers: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": "p"}, "spec": {"containers": list(containers)}}


def test_a_merge_patch_removes_what_is_null_and_keeps_what_it_does_not_name() -> None:
    assert patches.merge_patch({"a": {"b": 1, "c": 2}}, {"a": {"b": None, "d": 3}}) == {"a": {"c": 2, "d": 3}}


def test_a_merge_patch_replaces_lists_as_a_whole() -> None:
    assert patches.merge_patch({"a": [1, 2]}, {"a": [3]}) == {"a": [3]}


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ({"op": "add", "path": "/a/-", "value": 3}, {"a": [1, 2, 3], "b/c": 0}),
        ({"op": "add", "path": "/a/0", "value": 0}, {"a": [0, 1, 2], "b/c": 0}),
        ({"op": "remove", "path": "/a/0"}, {"a": [2], "b/c": 0}),
        ({"op": "replace", "path": "/b~1c", "value": 9}, {"a": [1, 2], "b/c": 9}),
        ({"op": "move", "from": "/b~1c", "path": "/d"}, {"a": [1, 2], "d": 0}),
        ({"op": "copy", "from": "/a", "path": "/d"}, {"a": [1, 2], "b/c": 0, "d": [1, 2]}),
    ],
)
def test_json_patch_operations_do_what_rfc_6902_says(operation: dict[str, Any], expected: Any) -> None:
    assert patches.json_patch({"a": [1, 2], "b/c": 0}, [operation]) == expected


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/a", "value": 2},
        {"op": "remove", "path": "/b"},
        {"op": "replace", "path": "/b", "value": 1},
        {"op": "add", "path": "/b/c", "value": 1},
    ],
)
def test_a_json_patch_that_does_not_apply_is_422_and_changes_nothing(operation: dict[str, Any]) -> None:
    target = {"a": 1}
    with pytest.raises(ApiError) as caught:
        patches.json_patch(target, [{"op": "add", "path": "/z", "value": 1}, operation])
    assert caught.value.code == 422
    assert target == {"a": 1}


def test_a_strategic_patch_merges_containers_by_name() -> None:
    before = pod(
        {"name": "a", "image": "x", "env": [{"name": "E", "value": "1"}]}, {"name": "b", "image": "y"}
    )
    patch = {"spec": {"containers": [{"name": "a", "env": [{"name": "F", "value": "2"}]}]}}
    after = patches.strategic_merge(before, patch, POD)
    env = [{"name": "E", "value": "1"}, {"name": "F", "value": "2"}]
    assert after == pod({"name": "a", "image": "x", "env": env}, {"name": "b", "image": "y"})


def test_a_strategic_patch_deletes_an_item_by_directive() -> None:
    patch = {"spec": {"containers": [{"name": "a", "$patch": "delete"}]}}
    assert patches.strategic_merge(pod({"name": "a"}, {"name": "b"}), patch, POD) == pod({"name": "b"})


def test_a_strategic_patch_replaces_a_list_by_directive() -> None:
    patch = {"spec": {"containers": [{"$patch": "replace"}, {"name": "c"}]}}
    assert patches.strategic_merge(pod({"name": "a"}, {"name": "b"}), patch, POD) == pod({"name": "c"})


def test_set_element_order_puts_the_named_items_first() -> None:
    patch = {
        "spec": {
            "$setElementOrder/containers": [{"name": "c"}, {"name": "a"}],
            "containers": [{"name": "c"}],
        }
    }
    assert patches.strategic_merge(pod({"name": "a"}), patch, POD) == pod({"name": "c"}, {"name": "a"})


def test_retain_keys_drops_what_it_does_not_name() -> None:
    before = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    patch = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert patches.strategic_merge(before, patch, DEPLOYMENT) == {"spec": {"strategy": {"type": "Recreate"}}}


def test_delete_from_primitive_list_takes_values_out_of_a_set() -> None:
    before = {"metadata": {"finalizers": ["a", "b"]}}
    patch = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}
    assert patches.strategic_merge(before, patch, POD) == {"metadata": {"finalizers": ["b"]}}


def test_an_item_without_its_merge_key_is_refused() -> None:
    with pytest.raises(ApiError, match="merge key: name"):
        patches.strategic_merge(pod({"name": "a"}), {"spec": {"containers": [{"image": "x"}]}}, POD)
