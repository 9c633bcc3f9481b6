from typing import Any

import pytest

from tests.kubesim import cells, clock, tables
from tests.kubesim.resources import RESOURCES, resource

NOW = clock.now()


def pod(state: dict[str, Any], phase: str = "Running", **meta: Any) -> dict[str, Any]:
    container = {"name": "c", "state": state, "lastState": {}, "ready": "running" in state, "restartCount": 0}
    return {
        "metadata": {"name": "p", "creationTimestamp": NOW} | meta,
        "spec": {"containers": [{"name": "c"}]},
        "status": {"phase": phase, "containerStatuses": [container]},
    }


@pytest.mark.parametrize(
    ("obj", "ready", "status"),
    [
        (pod({"running": {}}), "1/1", "Running"),
        (pod({"waiting": {"reason": "ContainerCreating"}}, "Pending"), "0/1", "ContainerCreating"),
        (pod({"waiting": {"reason": "CrashLoopBackOff"}}), "0/1", "CrashLoopBackOff"),
        (pod({"terminated": {"exitCode": 0, "reason": "Completed"}}, "Succeeded"), "0/1", "Completed"),
        (pod({"terminated": {"exitCode": 7}}, "Failed"), "0/1", "ExitCode:7"),
        (pod({"running": {}}, deletionTimestamp=NOW), "1/1", "Terminating"),
    ],
)
def test_a_pods_row_says_what_its_containers_do(obj: dict[str, Any], ready: str, status: str) -> None:
    assert cells.pods_cells(obj)[:3] == ["p", ready, status]


def test_every_row_has_as_many_cells_as_the_table_has_columns() -> None:
    rows = {
        "pods": pod({"running": {}}) | {"spec": {"containers": [{"name": "c"}]}},
        "configmaps": {"metadata": {"name": "c"}, "data": {"a": "1"}},
        "namespaces": {"metadata": {"name": "n"}, "status": {"phase": "Active"}},
        "leases": {"metadata": {"name": "l"}, "spec": {"holderIdentity": "me"}},
        "events": {"metadata": {"name": "e"}, "message": "m"},
        "nodes": {"metadata": {"name": "n"}, "spec": {}},
    }
    for res in RESOURCES:
        if res.plural in rows and not res.group.startswith("events"):
            made = tables.row(res, rows[res.plural])
            assert len(made["cells"]) == len(tables.columns(res)), res.plural


def test_wide_columns_have_priority_one() -> None:
    wide = [c["name"] for c in tables.columns(resource("deployments.apps")) if c["priority"]]
    assert wide == ["Containers", "Images", "Selector"]


def test_only_the_first_table_of_a_watch_has_columns() -> None:
    res = resource("configmaps")
    assert tables.table(res, [], {}, headed=False)["columnDefinitions"] is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (119, "119s"), (120, "2m"), (125, "2m5s"), (600, "10m"), (10799, "179m"), (10800, "3h"), (10860, "3h1m"),
     (86400, "24h"), (172800, "2d"), (180000, "2d2h"), (864000, "10d")],
)  # fmt: skip
def test_ages_are_written_as_kubectl_writes_them(seconds: int, text: str) -> None:
    assert clock.duration(seconds) == text
