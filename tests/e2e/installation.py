"""Stubs and agents on a real cluster, installed by the charts with helm."""

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stub.election.label import ACTIVE_LABEL
from tests.e2e.steady_load import Target
from tests.scenarios.tunnel import cluster_tunnel

CHARTS = Path(__file__).parents[2] / "charts"
STUB = "cluster-tunnel-stub"
AGENT = "cluster-tunnel-agent"
CLUSTER = "blue"
USER = "alice"
GROUP = "developers"

_KILL = 'for p in /proc/[0-9]*; do grep -qa "$1" $p/environ 2>/dev/null && kill -9 ${p#/proc/} && exit 0; done; exit 1'
"""Ends the process that has a variable with this value in its environment."""


@dataclass(frozen=True)
class Installation:
    """Both charts in one namespace.

    Args:
        kubeconfig: the cluster's owner.
        image: of the project, as the cluster's nodes have it.
        namespace: does not exist yet.
        folder: for certificates and kubeconfigs.
    """

    kubeconfig: Path
    image: str
    namespace: str
    folder: Path

    # The owner's side ------------------------------------------------------------------------------

    def kubectl(self, *arguments: str, seconds: float = 60) -> str:
        """Run kubectl as the owner and return its output."""
        return _run("kubectl", "--kubeconfig", str(self.kubeconfig), *arguments, seconds=seconds)

    def get(self, *arguments: str) -> Any:
        """Return what `kubectl get` finds in the namespace."""
        return json.loads(self.kubectl("-n", self.namespace, "get", *arguments, "-o", "json"))

    def install(self) -> None:
        """Make the certificates, and install both charts with helm."""
        self._make_certificates()
        self.kubectl("create", "namespace", self.namespace)
        files = ("server.crt", "server.key", "user-ca.crt", "agent-ca.crt", "denied.json")
        self._make_secret("stub", *((file, file) for file in files))
        pair = (
            ("tls.crt", f"agent-{CLUSTER}.crt"),
            ("tls.key", f"agent-{CLUSTER}.key"),
            ("ca.crt", "server-ca.crt"),
        )
        self._make_secret("agent", *pair)
        self.upgrade_stub()
        self.upgrade_agent()

    def upgrade_stub(self, **values: str) -> None:
        """Install the stubs, or change what is installed, and wait until it is so."""
        least = {
            "certificates.existingSecret": "stub",
            "service.type": "NodePort",
            "settings.default-cluster": CLUSTER,
        }
        self._helm(STUB, least | values)

    def upgrade_agent(self, **values: str) -> None:
        """As `upgrade_stub`, the agents."""
        stubs = f"{{{STUB}-agents.{self.namespace}.svc:8443}}"
        self._helm(AGENT, {"certificate.existingSecret": "agent", "stubs": stubs} | values)

    def _helm(self, chart: str, values: dict[str, str]) -> None:
        repository, _, tag = self.image.rpartition(":")
        images = {"image.repository": repository, "image.tag": tag}
        given = [part for each in (images | values).items() for part in ("--set-string", "=".join(each))]
        helm = shutil.which("helm")
        assert helm is not None, "helm is not on PATH"
        where = ("--kubeconfig", str(self.kubeconfig), "--namespace", self.namespace)
        _run(
            helm,
            "upgrade",
            "--install",
            chart,
            str(CHARTS / chart),
            *where,
            *given,
            "--wait",
            "--timeout",
            "10m",
            seconds=620,
        )

    def uninstall(self) -> None:
        """Take everything away."""
        for chart in (AGENT, STUB):
            subprocess.run(
                [
                    "helm",
                    "uninstall",
                    chart,
                    "--kubeconfig",
                    str(self.kubeconfig),
                    "--namespace",
                    self.namespace,
                ],
                capture_output=True,
                timeout=60,
            )
        self.kubectl("delete", "namespace", self.namespace, "--wait=false", "--ignore-not-found")

    def logs(self) -> str:
        """What stubs and agents have said, for a failure message."""
        lines = []
        for chart in (STUB, AGENT):
            label = f"app.kubernetes.io/name={chart}"
            lines.append(self.kubectl("-n", self.namespace, "logs", "-l", label, "--tail=60", "--prefix"))
        return "\n".join(lines)

    def _make_certificates(self) -> None:
        hosts = [f"{STUB}.{self.namespace}.svc", f"{STUB}-agents.{self.namespace}.svc", self.node_address]
        for words in (
            ("init",),
            ("server", "--host", *hosts),
            ("agent", CLUSTER),
            ("user", USER, "-g", GROUP),
        ):
            cluster_tunnel("certs", *words, "--dir", self.folder)

    def _make_secret(self, name: str, *files: tuple[str, str]) -> None:
        given = [f"--from-file={key}={self.folder / file}" for key, file in files]
        self.kubectl("-n", self.namespace, "create", "secret", "generic", name, *given)

    # The users' side -------------------------------------------------------------------------------

    @property
    def node_address(self) -> str:
        """Where the nodes' ports are reached."""
        nodes = json.loads(self.kubectl("get", "nodes", "-o", "json"))["items"]
        (address,) = [a["address"] for a in nodes[0]["status"]["addresses"] if a["type"] == "InternalIP"]
        return str(address)

    @property
    def port(self) -> int:
        """The port of the users' Service on each node."""
        return int(self.get("service", STUB)["spec"]["ports"][0]["nodePort"])

    def user_kubeconfig(self) -> Path:
        """A kubeconfig that leads through the Service."""
        path = self.folder / "kubeconfig"
        server = f"https://{self.node_address}:{self.port}"
        who = (USER, "--cluster", CLUSTER, "-g", GROUP, "--server", server, "--default")
        cluster_tunnel("kubeconfig", *who, "--dir", self.folder, "-o", path)
        return path

    def let_user_work(self) -> Target:
        """Let the user do everything to ConfigMaps in a new namespace; return where load may go."""
        namespace = f"{self.namespace}-load"
        self.kubectl("create", "namespace", namespace)
        self.kubectl(
            "-n", namespace, "create", "rolebinding", GROUP, "--clusterrole=edit", f"--group={GROUP}"
        )
        path = f"/api/v1/namespaces/{namespace}/configmaps"
        return Target(self.node_address, self.port, path, self.folder, f"user-{USER}")

    def created(self) -> set[str]:
        """The names of the ConfigMaps that load has made."""
        listed = self.kubectl("-n", f"{self.namespace}-load", "get", "configmaps", "-o", "name")
        return {name.removeprefix("configmap/") for name in listed.split() if "/load-" in name}

    # What it looks like ----------------------------------------------------------------------------

    def active_pods(self) -> list[str]:
        """The Pods to which the users' Service leads by their label."""
        pods = self.get("pods", "-l", f"{ACTIVE_LABEL}=true")["items"]
        return [pod["metadata"]["name"] for pod in pods]

    def lease(self) -> dict[str, Any]:
        """The Lease's specification."""
        found: dict[str, Any] = self.get("lease", STUB)["spec"]
        return found

    def pods(self, chart: str) -> list[dict[str, Any]]:
        """The Pods of a chart that are not being deleted."""
        found = self.get("pods", "-l", f"app.kubernetes.io/name={chart}")["items"]
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def ready(self) -> bool:
        """Whether Kubernetes takes all Pods for ready."""
        pods = self.pods(STUB) + self.pods(AGENT)
        conditions = [each for pod in pods for each in pod["status"]["conditions"] if each["type"] == "Ready"]
        return len(conditions) == len(pods) and all(each["status"] == "True" for each in conditions)

    def clusters(self, pod: str) -> dict[str, list[dict[str, Any]]]:
        """Who is connected to a stub."""
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod}:8444/proxy/clusters"
        found: dict[str, list[dict[str, Any]]] = json.loads(self.kubectl("get", "--raw", path))
        return found

    def agents_at_each_stub(self) -> list[int]:
        """How many agents each stub has."""
        names = [pod["metadata"]["name"] for pod in self.pods(STUB)]
        return [len(self.clusters(name).get(CLUSTER, [])) for name in names]

    def kill(self, pod: str, image: str) -> None:
        """Send SIGKILL to the command in a stub's Pod. No process of the Pod can do that to its first one; one of the node can."""
        killer = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"kill-{pod}"},
            "spec": {
                "nodeName": self.get("pod", pod)["spec"]["nodeName"],
                "hostPID": True,
                "restartPolicy": "Never",
                "containers": [
                    {
                        "name": "kill",
                        "image": image,
                        "imagePullPolicy": "IfNotPresent",
                        "command": ["sh", "-c", _KILL, "sh", f"CTUN_POD_NAME={pod}"],
                        "securityContext": {"privileged": True},
                    }
                ],
            },
        }
        path = self.folder / "kill.json"
        path.write_text(json.dumps(killer))
        self.kubectl("-n", self.namespace, "apply", "-f", str(path))
        until(lambda: self._phase(f"kill-{pod}") not in ("Pending", "Running"), 30, "the stub killed")
        assert self._phase(f"kill-{pod}") == "Succeeded"

    def _phase(self, pod: str) -> str:
        return str(self.get("pod", pod)["status"]["phase"])

    def restart(self, *workloads: str) -> None:
        """Restart what is named, together, and wait until it is done."""
        for each in workloads:
            self.kubectl("-n", self.namespace, "rollout", "restart", each)
        for each in workloads:
            self.kubectl("-n", self.namespace, "rollout", "status", each, "--timeout=10m", seconds=620)


def until(true: Callable[[], object], seconds: float, what: str) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.1)


def _run(*command: str, seconds: float) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout
