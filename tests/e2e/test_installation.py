"""Three stubs and an agent on each node, installed by the charts: what users notice when they are restarted or killed.

Needs helm and the project's image on the nodes: pytest tests/e2e/test_installation.py -m slow --kubeconfig FILE --tunnel-image NAME:TAG
"""

import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.installation import AGENT, GROUP, STUB, USER, Installation, until
from tests.e2e.steady_load import Tally, Target, steady_load

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(shutil.which("helm") is None, reason="helm is not on PATH"),
]

LEASE_SECONDS = 15
STANDSTILL_SECONDS = 60
LABEL_SECONDS = 2
"""What the Service may take beyond the lease: a call for the label, and kube-proxy, which gathers changes for a second."""


@pytest.fixture(scope="module")
def installed(
    cluster: Path, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    image = request.config.getoption("--tunnel-image")
    if image is None:
        pytest.skip("no image of the project: give --tunnel-image NAME:TAG")
    namespace = f"tunnels-{secrets.token_hex(3)}"
    made = Installation(cluster, image, namespace, tmp_path_factory.mktemp("installation"))
    try:
        made.install()
        until(lambda: set(made.agents_at_each_stub()) == {len(made.pods(AGENT))}, 60, "an agent at each stub")
        yield made
        print(made.logs())
    finally:
        made.uninstall()
        made.kubectl("delete", "namespace", f"{namespace}-load", "--wait=false", "--ignore-not-found")


@pytest.fixture
def kubelet() -> int:
    """The process of the node's kubelet, where the node is this machine."""
    for name in Path("/proc").glob("[0-9]*/comm"):
        if name.read_text() == "kubelet\n":
            return int(name.parent.name)
    pytest.skip("no kubelet runs on this machine")


@pytest.fixture(scope="module")
def target(installed: Installation) -> Target:
    return installed.let_user_work()


Measure = Callable[[str, Tally], None]


@pytest.fixture
def measure(record_property: Callable[[str, object], None], capsys: pytest.CaptureFixture[str]) -> Measure:
    def note(what: str, tally: Tally) -> None:
        record_property(what, str(tally))
        with capsys.disabled():
            print(f"\n{what}: {tally}")
            for at, failure in tally.failures[:10]:
                print(f"    {at - tally.began:6.2f} s {failure}")

    return note


def test_kubectl_reaches_the_cluster_through_the_users_service(installed: Installation) -> None:
    kubeconfig = str(installed.user_kubeconfig())
    installed.kubectl(
        "create", "clusterrolebinding", installed.namespace, "--clusterrole=view", f"--group={GROUP}"
    )
    try:
        pods = _kubectl(kubeconfig, "get", "pods", "-A", "-o", "name")
        assert f"pod/{installed.active_pods()[0]}" in pods.split()
        whoami = _kubectl(kubeconfig, "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}")
        assert whoami == USER
    finally:
        installed.kubectl("delete", "clusterrolebinding", installed.namespace)


def _kubectl(kubeconfig: str, *arguments: str) -> str:
    command = ["kubectl", "--kubeconfig", kubeconfig, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def test_one_stub_is_active_and_its_pod_alone_is_labelled(installed: Installation) -> None:
    (active,) = installed.active_pods()
    assert str(installed.lease()["holderIdentity"]).startswith(f"{active}_")
    assert all(
        condition["status"] == "True"
        for pod in installed.pods(STUB)
        for condition in pod["status"]["conditions"]
    )


def test_a_restart_of_all_stubs_and_agents_loses_no_request(
    installed: Installation, target: Target, measure: Measure
) -> None:
    with steady_load(target) as tally:
        installed.restart(f"deployment/{STUB}", f"daemonset/{AGENT}")
    measure("rollout restart of both", tally)
    assert tally.failures == []
    assert tally.created <= installed.created()


def test_an_upgrade_of_both_loses_no_request(
    installed: Installation, target: Target, measure: Measure
) -> None:
    with steady_load(target) as tally:
        installed.upgrade_stub(**{"settings.log-level": "debug"})
        installed.upgrade_agent(**{"settings.log-level": "debug"})
    measure("helm upgrade of both", tally)
    assert tally.failures == []


def test_the_active_stubs_pod_can_be_deleted_without_grace(
    installed: Installation, target: Target, measure: Measure
) -> None:
    """The kubelet gives it two seconds all the same: enough to hand over, not for what runs to end."""
    (active,) = installed.active_pods()
    with steady_load(target) as tally:
        until(lambda: answered_for(tally, 3), 60, "three seconds of answers")
        installed.kubectl("-n", installed.namespace, "delete", "pod", active, "--grace-period=0", "--force")
        until(lambda: answered_for(tally, 8), 60, "eight seconds of answers")
    measure("the active stub's Pod deleted without grace", tally)
    assert installed.active_pods() != [active]
    assert tally.longest_silence <= LEASE_SECONDS + 1 + LABEL_SECONDS
    assert tally.created <= installed.created()


def test_a_crash_of_the_active_stub_ends_with_the_lease(
    installed: Installation, target: Target, measure: Measure, image: str
) -> None:
    epoch = installed.lease()["leaseTransitions"]
    (active,) = installed.active_pods()
    with steady_load(target) as tally:
        until(lambda: answered_for(tally, 3), 60, "three seconds of answers")
        installed.kill(active, image)
        until(lambda: installed.lease()["leaseTransitions"] > epoch, 60, "another holder")
        until(lambda: answered_for(tally, 8), 60, "eight seconds of answers")
    measure("the active stub killed", tally)
    assert 5 < tally.longest_silence <= LEASE_SECONDS + 1 + LABEL_SECONDS
    assert installed.lease()["leaseTransitions"] == epoch + 1
    assert tally.created <= installed.created()


def test_a_kubelet_that_stands_still_for_a_minute_loses_no_request(
    installed: Installation, target: Target, measure: Measure, kubelet: int
) -> None:
    """By then Kubernetes takes all Pods of the node for not ready, though they run."""
    with steady_load(target) as tally:
        os.kill(kubelet, signal.SIGSTOP)
        end = time.monotonic() + STANDSTILL_SECONDS
        try:
            until(lambda: time.monotonic() > end and not installed.ready(), 120, "Pods that are not ready")
        finally:
            os.kill(kubelet, signal.SIGCONT)
        until(installed.ready, 120, "all Pods ready again")
    measure("the node's kubelet stopped for a minute", tally)
    assert tally.failures == []
    assert tally.created <= installed.created()


def answered_for(tally: Tally, seconds: float) -> bool:
    """Whether requests have been answered for so long, without a failure."""
    now = time.monotonic()
    trouble = max([tally.began, *(at for at, _ in list(tally.failures))])
    return now - trouble > seconds and bool(tally.answered) and now - tally.answered[-1] < 1
