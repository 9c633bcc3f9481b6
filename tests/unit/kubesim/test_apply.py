import copy
from typing import Any

import pytest

from tests.kubesim import apply, fieldsets
from tests.kubesim.apply import Manager
from tests.kubesim.resources import resource
from tests.kubesim.schema import shape_of
from tests.kubesim.status import ApiError

DEPLOYMENTS = resource("deployments.apps")
SHAPE = shape_of("apps", "v1", "Deployment")
ONE, TWO = Manager("one", "Apply"), Manager("two", "Apply")


def config(replicas: int | None = None, **images: str) -> dict[str, Any]:
    containers = [{"name": name, "image": image} for name, image in images.items()]
    spec: dict[str, Any] = {"template": {"spec": {"containers": containers}}}
    if replicas is not None:
        spec["replicas"] = replicas
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}


def applied(
    live: dict[str, Any] | None, wanted: dict[str, Any], manager: Manager, force: bool = False
) -> Any:
    return apply.apply(live, wanted, SHAPE, manager, resource=DEPLOYMENTS, force=force)


def images(obj: dict[str, Any]) -> dict[str, str]:
    return {c["name"]: c["image"] for c in obj["spec"]["template"]["spec"]["containers"]}


def test_what_a_manager_no_longer_applies_goes_away() -> None:
    live = applied(None, config(2, a="x", b="y"), ONE)
    after = applied(live, config(a="x"), ONE)
    assert images(after) == {"a": "x"}
    assert "replicas" not in after["spec"]


def test_what_another_manager_owns_as_well_stays() -> None:
    live = applied(applied(None, config(2, a="x"), ONE), config(2), TWO)
    assert applied(live, config(a="x"), ONE)["spec"]["replicas"] == 2


def test_another_value_for_an_owned_field_is_a_conflict_that_names_owner_and_field() -> None:
    live = applied(None, config(2, a="x"), ONE)
    with pytest.raises(ApiError) as caught:
        applied(live, config(3), TWO)
    assert caught.value.code == 409
    assert caught.value.message == 'Apply failed with 1 conflict: conflict with "one": .spec.replicas'


def test_force_takes_the_field_over() -> None:
    live = applied(applied(None, config(2, a="x"), ONE), config(3), TWO, force=True)
    assert live["spec"]["replicas"] == 3
    entries = {e["manager"]: e["fieldsV1"]["f:spec"] for e in live["metadata"]["managedFields"]}
    assert "f:replicas" in entries["two"]
    assert "f:replicas" not in entries["one"]


def test_applying_does_not_change_the_live_object() -> None:
    live = applied(None, config(2, a="x", b="y"), ONE)
    before = copy.deepcopy(live)
    applied(live, config(a="z"), ONE)
    assert live == before


def test_an_update_takes_over_the_fields_it_changes() -> None:
    live = applied(None, config(2, a="x"), ONE)
    changed = copy.deepcopy(live)
    changed["spec"]["replicas"] = 5
    apply.record_update(live, changed, SHAPE, Manager("editor"), "apps/v1")
    owners = {e["manager"]: fieldsets.decode(e["fieldsV1"]) for e in changed["metadata"]["managedFields"]}
    assert owners["editor"] == {("f:spec", "f:replicas")}
    assert ("f:spec", "f:replicas") not in owners["one"]


def test_field_sets_survive_their_encoding() -> None:
    fields = fieldsets.fields_of(config(2, a="x", b="y"), SHAPE)
    assert fieldsets.decode(fieldsets.encode(fields)) == fields


def test_list_items_are_owned_by_their_keys() -> None:
    tree = fieldsets.encode(fieldsets.fields_of(config(a="x"), SHAPE))
    containers = tree["f:spec"]["f:template"]["f:spec"]["f:containers"]
    assert containers == {'k:{"name":"a"}': {".": {}, "f:image": {}, "f:name": {}}}
