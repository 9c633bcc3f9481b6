"""Deployments: rollout, scale and what they wait for."""

from typing import Any

from tests.scenarios.catalogue import scenario
from tests.scenarios.kubectl import Kubectl, Same


def _deployment(kubectl: Kubectl, name: str, replicas: int) -> dict[str, Any]:
    pod = kubectl.pod(name, "sleep", "600")
    pod["spec"].pop("restartPolicy")
    labels = {"app": kubectl.named(name)}
    template = {"metadata": {"labels": labels}, "spec": pod["spec"]}
    specification = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    metadata = {"name": kubectl.named(name), "labels": {"play": kubectl.play}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": specification}


@scenario()
def rollout_status_waits_for_the_pods(kubectl: Kubectl) -> None:
    """rollout status returns when the pods of a new Deployment are ready."""
    kubectl.apply(_deployment(kubectl, "fresh", replicas=1))
    target = f"deployment/{kubectl.named('fresh')}"
    done = kubectl.run("rollout", "status", target, "--timeout=30s", same=Same.NOWHERE)
    assert "successfully rolled out" in done.stdout
    kubectl.run("get", "deployment", kubectl.named("fresh"))
    kubectl.run("delete", target)


@scenario()
def rollout_restarts_undoes_and_scales(kubectl: Kubectl) -> None:
    """rollout restart and undo make new revisions; scale changes the number of pods."""
    kubectl.apply(_deployment(kubectl, "rolled", replicas=1))
    target = f"deployment/{kubectl.named('rolled')}"
    _rolled_out(kubectl, target)
    kubectl.run("rollout", "restart", target)
    _rolled_out(kubectl, target)
    kubectl.run("scale", target, "--replicas=2")
    _rolled_out(kubectl, target)
    pods = kubectl.run(
        "get", "pods", f"--selector=app={kubectl.named('rolled')}", "-o", "name", same=Same.NOWHERE
    )
    assert len(pods.stdout.splitlines()) >= 2
    history = kubectl.run("rollout", "history", target)
    assert len([line for line in history.stdout.splitlines() if line[:1].isdigit()]) == 2
    kubectl.run("rollout", "undo", target)
    _rolled_out(kubectl, target)
    kubectl.run("delete", target)


def _rolled_out(kubectl: Kubectl, target: str) -> None:
    kubectl.run("rollout", "status", target, "--timeout=40s", same=Same.NOWHERE)
