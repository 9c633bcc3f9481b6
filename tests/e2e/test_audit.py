"""On a real cluster: who the apiserver sees, who decides, and one id in three logs."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.binaries import newest
from tests.scenarios.kubectl import Access, Kubectl, Same
from tests.scenarios.tunnel import Tunnel, running_tunnel

WRITTEN_SECONDS = 10.0
"""The apiserver writes its log in batches."""

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Logs:
    """The audit logs of stub and agent, and the apiserver's."""

    stub: Path
    agent: Path
    apiserver: Path

    def whole(self, ids: set[str]) -> dict[str, list[Event]]:
        """Wait until all three have every id, and return what they say of each: stub, agent, apiserver."""
        deadline = time.monotonic() + WRITTEN_SECONDS
        while True:
            found = [_last_by_id(path) for path in (self.stub, self.agent, self.apiserver)]
            missing = [ids - events.keys() for events in found]
            if not any(missing):
                return {each: [events[each] for events in found] for each in ids}
            assert time.monotonic() < deadline, f"missing at stub, agent and apiserver: {missing}"
            time.sleep(0.2)


def _last_by_id(path: Path) -> dict[str, Event]:
    lines = path.read_text().splitlines(keepends=True)
    events = (json.loads(line) for line in lines if line.endswith("\n"))
    return {event["auditID"]: event for event in events}


@pytest.fixture(scope="module")
def logs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Logs:
    given = request.config.getoption("--apiserver-audit-log")
    if given is None:
        pytest.skip("the apiserver's audit log is not at hand: give --apiserver-audit-log FILE")
    folder = tmp_path_factory.mktemp("audit")
    return Logs(folder / "stub.jsonl", folder / "agent.jsonl", Path(given))


@pytest.fixture(scope="module")
def audited(logs: Logs, cluster: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tunnel]:
    folder = tmp_path_factory.mktemp("audited")
    stub_flags, agent_flags = ("--audit", str(logs.stub)), ("--audit", str(logs.agent))
    with running_tunnel(
        folder, cluster, mode="impersonate", groups=("dev",), stub_flags=stub_flags, agent_flags=agent_flags
    ) as tunnel:
        yield tunnel


@pytest.fixture(scope="module")
def jane(audited: Tunnel, directly: Access, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    """kubectl of a user who may read and exec in the namespace, and nothing else."""
    binary, home = newest(), tmp_path_factory.mktemp("jane")
    assert binary is not None
    owner = Kubectl(binary, directly)
    for name, role in (("read", "--clusterrole=view"), ("run", "--clusterrole=edit")):
        subject = "--user=jane" if name == "read" else "--group=dev"
        owner.run("create", "rolebinding", f"audited-{name}", role, subject, same=Same.NOWHERE)
    return Kubectl(
        binary, Access("audited", audited.kubeconfig, directly.namespace, "none", home, simulated=False)
    )


def test_the_apiserver_sees_the_names_of_the_certificate(jane: Kubectl) -> None:
    seen = json.loads(jane.run("auth", "whoami", "-o", "json", same=Same.NOWHERE).stdout)["status"][
        "userInfo"
    ]
    assert (seen["username"], seen["groups"]) == ("jane", ["dev", "system:authenticated"])


def test_the_rbac_of_the_cluster_decides(jane: Kubectl) -> None:
    assert jane.run("get", "pod", "shell", "-o", "name", same=Same.NOWHERE).stdout == "pod/shell\n"
    assert jane.run("exec", "shell", "--", "echo", "inside", same=Same.NOWHERE).stdout == "inside\n"
    refused = jane.run("get", "nodes", code=1, same=Same.NOWHERE)
    assert 'User "jane" cannot list resource "nodes"' in refused.stderr


def test_three_logs_tell_of_a_request_under_one_id(jane: Kubectl, logs: Logs) -> None:
    before = _last_by_id(logs.stub).keys()
    jane.run("get", "pods", same=Same.NOWHERE)
    jane.run("get", "configmaps", "-o", "yaml", same=Same.NOWHERE)
    jane.run("exec", "shell", "--", "true", same=Same.NOWHERE)
    jane.run("get", "nodes", code=1, same=Same.NOWHERE)
    told = logs.whole(set(_last_by_id(logs.stub).keys() - before))
    assert len(told) >= 4
    for stub, agent, apiserver in told.values():
        assert apiserver["impersonatedUser"]["username"] == stub["user"]["username"] == "jane"
        assert apiserver["requestURI"] == stub["requestURI"] == agent["requestURI"]
        codes = {event["responseStatus"]["code"] for event in (stub, agent, apiserver)}
        assert len(codes) == 1
        assert stub["verb"] == agent["verb"] == apiserver["verb"]
