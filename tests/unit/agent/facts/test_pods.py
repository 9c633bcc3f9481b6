"""What a pod has reserved, as the scheduler counts it."""

from typing import Any

import pytest

from agent.facts.pods import amounts, holds_its_node, requests_of


def container(cpu: str = "0", *, stays: bool = False, **more: str) -> dict[str, Any]:
    """A container that asks for something."""
    own: dict[str, Any] = {"resources": {"requests": {"cpu": cpu, **more}}}
    return own | ({"restartPolicy": "Always"} if stays else {})


def cpu(**spec: Any) -> int:
    """What a pod reserves of cpu."""
    return requests_of({"spec": spec}).get("cpu", 0)


def test_containers_are_added_up() -> None:
    gpu = {"nvidia.com/gpu": "2"}
    pod = {"spec": {"containers": [container("1", **gpu), container("250m", memory="1Gi")]}}
    assert requests_of(pod) == {"cpu": 1250, "memory": 1024**3, "nvidia.com/gpu": 2}


def test_init_containers_run_one_by_one_before_the_others() -> None:
    assert cpu(containers=[container("1")], initContainers=[container("3"), container("2")]) == 3000
    assert cpu(containers=[container("4")], initContainers=[container("3")]) == 4000


def test_init_containers_that_stay_are_added_to_all_that_follow() -> None:
    stays = container("1", stays=True)
    assert cpu(containers=[container("1")], initContainers=[stays]) == 2000
    assert cpu(containers=[container("1")], initContainers=[stays, container("3")]) == 4000
    assert cpu(containers=[container("1")], initContainers=[container("3"), stays]) == 3000


def test_the_overhead_is_added_and_requests_of_the_whole_pod_replace_those_of_its_containers() -> None:
    assert cpu(containers=[container("1")], overhead={"cpu": "100m"}) == 1100
    assert cpu(containers=[container("1")], resources={"requests": {"cpu": "5"}}) == 5000


def test_only_cpu_memory_and_extended_resources_count() -> None:
    given = {
        "cpu": "1",
        "pods": "110",
        "ephemeral-storage": "1Gi",
        "hugepages-2Mi": "0",
        "x.io/y": "3",
        "z/z": "?",
    }
    assert amounts(given) == {"cpu": 1000, "x.io/y": 3}


@pytest.mark.parametrize(
    "pod",
    [
        {},
        {"spec": None},
        {"spec": {"containers": "x", "initContainers": [1, None]}},
        {"spec": {"containers": [{"resources": []}, {"resources": {"requests": {"cpu": []}}}]}},
    ],
)
def test_what_is_malformed_reserves_nothing(pod: dict[str, Any]) -> None:
    assert requests_of(pod) == {}


@pytest.mark.parametrize(
    ("phase", "node"), [("Running", "n"), ("Pending", "n"), ("Failed", None), ("Succeeded", None)]
)
def test_a_pod_that_has_ended_holds_no_node(phase: str, node: str | None) -> None:
    assert holds_its_node({"spec": {"nodeName": "n"}, "status": {"phase": phase}}) == node


def test_a_pod_that_is_not_scheduled_holds_no_node() -> None:
    assert holds_its_node({"spec": {}, "status": {"phase": "Pending"}}) is None
