"""A stub with the rights of docs/high-availability.md and no others, on a simulated cluster that enforces them."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from stub.election.choice import KubernetesLease
from stub.election.label import ACTIVE_LABEL
from tests.integration.election.apiserver import write_kubeconfig
from tests.integration.election.stubs import TIMING, Member
from tests.integration.tunnel_fixture import Tunnel
from tests.integration.waiting import soon, until
from tests.kubesim.apply import Manager
from tests.kubesim.registry import WriteOptions
from tests.kubesim.resources import resource
from tests.kubesim.simulator import KubeSim

PAGE = Path(__file__).parents[3] / "docs" / "high-availability.md"
NAMESPACE = "cluster-tunnel"
STUB = "cluster-tunnel-stub"
SELECTOR = f"app.kubernetes.io/name={STUB}"
RBAC = "rbac.authorization.k8s.io"
KINDS = {"Role": f"roles.{RBAC}", "RoleBinding": f"rolebindings.{RBAC}"}
BY_HAND = WriteOptions(Manager("kubectl"))


def documented() -> list[dict[str, Any]]:
    """The objects in the chapter about rights."""
    chapter = PAGE.read_text().partition("### Rights\n")[2].partition("\n#")[0]
    block = "\n".join(line[4:] for line in chapter.splitlines() if line.startswith("    "))
    return list(yaml.safe_load_all(block))


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[KubeSim]:
    """With the documented rights, a token of the stubs' service account, and two Pods of which the other has the label."""
    async with KubeSim.start(tmp_path / "cluster", samples=False) as sim:
        for manifest in documented():
            sim.registry.create(resource(KINDS[manifest["kind"]]), NAMESPACE, manifest, BY_HAND)
        with sim.tokens_file.open("a") as file:
            file.write(f"stubs-token,system:serviceaccount:{NAMESPACE}:{STUB},,\n")
        for name, labels in (("one", {}), ("two", {ACTIVE_LABEL: "true"})):
            sim.registry.create(resource("pods"), NAMESPACE, pod(name, labels), BY_HAND)
        yield sim


def pod(name: str, labels: dict[str, str]) -> dict[str, Any]:
    """A Pod of the stubs, on a node that the simulator does not run."""
    spec = {"nodeName": "elsewhere", "containers": [{"name": "stub", "image": "stub"}]}
    return {"metadata": {"name": name, "labels": {"app.kubernetes.io/name": STUB} | labels}, "spec": spec}


def active_pods(sim: KubeSim) -> list[str]:
    pods = sim.store.list(resource("pods"), NAMESPACE)
    return [
        each["metadata"]["name"] for each in pods if each["metadata"]["labels"].get(ACTIVE_LABEL) == "true"
    ]


@pytest.fixture
async def members(parts: Tunnel, cluster: KubeSim, tmp_path: Path) -> AsyncIterator[list[Member]]:
    """A stub in each Pod, the first of which is active."""
    user = {"token": "stubs-token"}
    kubeconfig = write_kubeconfig(
        tmp_path / "kubeconfig", cluster.url, user, certificate_authority=cluster.ca_file
    )
    chosen = {"lease": KubernetesLease(NAMESPACE, STUB), "lease_kubeconfig": kubeconfig, "drain_delay": 0.0}
    started: list[Member] = []
    try:
        for name in ("one", "two"):
            stub = await parts.start_stub(**chosen, pod_name=name, pod_selector=SELECTOR, **TIMING)
            started.append(Member(stub))
            await until(lambda: started[0].leadership.active)
        yield started
    finally:
        for member in started:
            await member.end()


@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_they_are_enough_to_hold_and_release_the_lease_and_to_label_pods(
    members: list[Member], cluster: KubeSim, caplog: pytest.LogCaptureFixture
) -> None:
    """To watch it too, on a real cluster; the simulated one does not take the name in a field selector for a name."""
    one, two = members
    await until(lambda: active_pods(cluster) == ["one"])
    await soon(one.stub.drain(5))
    await until(lambda: two.leadership.active)
    await until(lambda: active_pods(cluster) == ["two"])
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == []


def test_the_lease_and_the_pods_are_named_in_one_way_on_the_whole_page() -> None:
    text = PAGE.read_text()
    assert f"value: kubernetes:{NAMESPACE}/{STUB}\n" in text
    assert f"value: {SELECTOR}\n" in text
    role = documented()[0]
    assert role["metadata"]["namespace"] == NAMESPACE
    assert role["rules"][0]["resourceNames"] == [STUB]
