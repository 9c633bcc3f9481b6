"""The sums over nodes and pods."""

from typing import Any

from agent.facts.tally import MOST_RESOURCES, Tally
from tunnel.core.wire.control import Capacity


def node(name: str, *, ready: str = "True", cordoned: bool = False, **has: str) -> dict[str, Any]:
    """A node with what pods may have of it."""
    return {
        "metadata": {"name": name},
        "spec": {"unschedulable": True} if cordoned else {},
        "status": {"allocatable": has, "conditions": [{"type": "Ready", "status": ready}]},
    }


def pod(node: str, **asked: str) -> dict[str, Any]:
    """A pod on a node."""
    return {"spec": {"nodeName": node, "containers": [{"resources": {"requests": asked}}]}}


def tally(*objects: dict[str, Any]) -> Tally:
    found = Tally()
    for each in objects:
        (found.add_node if "metadata" in each else found.add_pod)(each)
    return found


def test_available_is_what_no_pod_has_asked_for_and_largest_the_most_of_it_on_one_node() -> None:
    found = tally(node("a", cpu="4", memory="8"), node("b", cpu="2"), pod("a", cpu="3"), pod("b", cpu="500m"))
    assert found.nodes == 2
    assert found.capacities(pods_known=True) == (
        Capacity("cpu", 6000, 2500, 1500),
        Capacity("memory", 8, 8, 8),
    )


def test_nodes_that_take_no_pods_count_in_the_total_alone() -> None:
    found = tally(
        node("a", cpu="1"),
        node("b", cpu="8", cordoned=True),
        node("c", cpu="8", ready="Unknown"),
        pod("b", cpu="1"),
    )
    assert found.capacities(pods_known=True) == (Capacity("cpu", 17000, 1000, 1000),)


def test_a_node_with_more_asked_than_it_has_takes_nothing_from_the_others() -> None:
    found = tally(node("a", cpu="1"), node("b", cpu="1"), pod("a", cpu="5"), pod("elsewhere", cpu="9"))
    assert found.capacities(pods_known=True) == (Capacity("cpu", 2000, 1000, 1000),)


def test_without_the_pods_only_the_totals_are_known() -> None:
    assert tally(node("a", cpu="1")).capacities(pods_known=False) == (Capacity("cpu", 1000),)
    assert Tally().capacities(pods_known=True) == ()


def test_extended_resources_come_behind_by_name_and_not_without_end() -> None:
    many = {f"vendor.io/gpu-{number:02}": "1" for number in range(40)}
    names = [each.resource for each in tally(node("a", cpu="1", **many)).capacities(pods_known=True)]
    assert len(names) == MOST_RESOURCES
    assert names[:3] == ["cpu", "vendor.io/gpu-00", "vendor.io/gpu-01"]


def test_a_name_that_a_report_cannot_hold_is_left_out() -> None:
    long = tally(node("a", cpu="1", **{f"{'x' * 260}/gpu": "1", "a\n/b": "1"}))
    assert [each.resource for each in long.capacities(pods_known=True)] == ["cpu"]


def test_what_is_malformed_counts_nothing() -> None:
    assert tally({"metadata": None, "status": {"allocatable": []}}).capacities(pods_known=True) == ()
